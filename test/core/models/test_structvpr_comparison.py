"""The networks of StructVPR's Table 4 beside its branches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import InputError
from vpr_core.models.structvpr import rgb_branch
from vpr_core.models.structvpr_comparison import ConcatInput, concat_features, concat_input, multi_task


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Images and label maps of two frames."""
    torch.manual_seed(0)
    groups = torch.randint(6, (2, 64, 96))
    return torch.rand(2, 3, 64, 96), functional.one_hot(groups, 6).movedim(-1, 1).float()


def test_widths_are_the_paper_s(batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    with torch.no_grad():
        for model, width in ((concat_features(False), 928), (concat_input(False), 448)):
            descriptors = model.eval()(images, labels)
            assert model.dim == width and descriptors.shape == (2, width)
            torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2))
        assert multi_task(False).eval()(images).shape == (2, 448)


@torch.no_grad()
def test_concatenated_features_are_those_of_the_branches(batch: tuple[Tensor, Tensor]) -> None:
    model = concat_features(False).eval()
    descriptors = model(*batch)
    halves = (model.rgb(batch[0]), model.segmentation(batch[1]))
    for half, expected in zip(descriptors.split([448, 480], dim=1), halves, strict=True):
        torch.testing.assert_close(half * 2**0.5, expected)
    plain = concat_features(False, normalize="none").eval()
    torch.testing.assert_close(plain(*batch), torch.cat([plain.rgb(batch[0]), plain.segmentation(batch[1])], dim=1))


@torch.no_grad()
def test_of_empty_label_maps_concatenated_input_is_the_rgb_branch(batch: tuple[Tensor, Tensor]) -> None:
    """Its weights for the image are those that it began with."""
    images, labels = batch
    rgb = rgb_branch(pretrained=False).eval()
    expected = rgb(images)
    model = ConcatInput(rgb, label_channels=6).eval()
    torch.testing.assert_close(model(images, torch.zeros_like(labels)), expected)
    assert not torch.allclose(model(images, labels), expected, atol=1e-3)


def test_several_tasks_share_their_features(batch: tuple[Tensor, Tensor]) -> None:
    images = batch[0].clone()
    images[:, :, :32] *= 0.2
    target = torch.zeros(2, 8, 12, dtype=torch.long)
    target[:, :4] = 2  # what is dark
    model = multi_task(False, label_channels=6)
    model.eval()
    found = model.both(images)
    assert found.scores.shape == (2, 6, 8, 12)
    torch.testing.assert_close(found.descriptors, model(images))
    model.train()
    learns_every_parameter(model, *model.both(images))
    losses = []
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model.both(images).scores, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses


def learns_every_parameter(model: nn.Module, *outputs: Tensor) -> None:
    sum((output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum() for output in outputs).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name} learns nothing"


@pytest.mark.parametrize("build", [concat_features, concat_input])
def test_images_and_labels_have_to_be_pairs(build, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    with pytest.raises(InputError, match="are no pairs"):
        build(pretrained=False)(images, labels[:1])
    with pytest.raises(InputError, match="are no pairs"):
        build(pretrained=False)(images, labels[..., ::2])
