"""AdaFusion and its students: published names, shapes and sizes; attention against loops; gradients; batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vpr_core.errors import BundleError, InputError, RecipeError
from vpr_core.losses.metric import batch_hard_triplet
from vpr_core.losses.relational import DistilVPRLoss
from vpr_core.models.adafusion import (
    AdaFusion,
    ChannelAttention,
    PositionAttention,
    adafusion_camera,
    adafusion_lidar,
)
from vpr_core.models.backbones import adafusion_image
from vpr_core.models.minkloc import load_published

PARTS = {
    "v_feature1": 112576, "v_feature2": 295296, "v_feature3": 590592,
    "l_feature1": 28576, "l_feature2": 387328, "l_feature3": 664064,
    "v_attention_pos1": 13848, "v_attention_pos2": 27672, "v_attention_pos3": 27672,
    "v_attention_chn1": 1040, "v_attention_chn2": 2064, "v_attention_chn3": 2064, "v_atten_fusion": 12672,
    "l_attention_pos1": 20760, "l_attention_pos2": 41496, "l_attention_pos3": 82968,
    "l_attention_chn1": 528, "l_attention_chn2": 1040, "l_attention_chn3": 2064, "l_atten_fusion": 12672,
    "vl_atten_fusion": 18594,
}  # fmt: skip


def published(shared: Path) -> dict[str, list[int]]:
    path = shared / "golden" / "state_keys_ada.json"
    if not path.is_file():
        pytest.skip(f"VPR_SHARED: no file {path}")
    keys: dict[str, list[int]] = json.loads(path.read_text())["aavislidarnet3"]["keys"]
    return keys


def images(count: int, height: int = 32, width: int = 48) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def grids(count: int, *cells: int) -> Tensor:
    """A twentieth of the cells occupied."""
    shape = (count, 1, *(cells or (16, 16, 8)))
    return (torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.05).double()


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_names_and_shapes_are_the_published_ones(shared: Path) -> None:
    own = {name: list(value.shape) for name, value in AdaFusion().state_dict().items()}
    keys = published(shared)
    assert sorted(own) == sorted(keys)
    for name, shape in keys.items():
        assert own[name] == shape, name


def test_parameters_are_as_many_as_published() -> None:
    model = AdaFusion()
    assert {name: num_parameters(part) for name, part in model.named_children()} == PARTS
    assert num_parameters(model) == 2345586


def test_published_weights_load(shared: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.rand(shape, generator=generator) for name, shape in published(shared).items()}
    model = AdaFusion()
    report = load_published(model, weights)
    assert sorted(report.loaded) == sorted(weights) and not report.unused
    assert all(torch.equal(value, weights[name].to(value.dtype)) for name, value in model.state_dict().items())
    with pytest.raises(BundleError, match="lacks.*v_feature1.0.bias"):
        load_published(model, {name: value for name, value in weights.items() if name != "v_feature1.0.bias"})


@torch.no_grad()
def test_maps_of_the_published_input_have_the_published_sizes() -> None:
    model = AdaFusion().eval()
    image, grid = torch.rand(1, 3, 300, 400), (torch.rand(1, 1, 72, 72, 48) < 0.01).float()
    sizes = []
    for stage in (model.v_feature1, model.v_feature2, model.v_feature3):
        image = stage(image)
        sizes.append(tuple(image.shape[1:]))
    for stage in (model.l_feature1, model.l_feature2, model.l_feature3):
        grid = stage(grid)
        sizes.append(tuple(grid.shape[1:]))
    assert sizes[:3] == [(64, 75, 100), (128, 37, 50), (128, 18, 25)]
    assert sizes[3:] == [(32, 36, 36, 24), (64, 18, 18, 12), (128, 9, 9, 6)]


@torch.no_grad()
def test_a_descriptor_does_not_depend_on_its_batch_even_where_a_grid_is_empty() -> None:
    torch.manual_seed(0)
    model = AdaFusion().double().eval()
    some_images, some_grids = images(5), grids(5)
    some_grids[1] = 0
    together = model(some_images, some_grids)
    assert {name: tuple(rows.shape) for name, rows in together.items()} == {
        "embedding": (5, 256), "cloud_embedding": (5, 128), "image_embedding": (5, 128)
    }  # fmt: skip
    assert all(torch.isfinite(rows).all() for rows in together.values())
    for rows in (slice(0, 1), slice(1, 2), slice(2, 5)):
        alone = model(some_images[rows], some_grids[rows])
        for name, expected in together.items():
            torch.testing.assert_close(alone[name], expected[rows], rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="4 images and 5 clouds"):
        model(some_images[:4], some_grids)


@torch.no_grad()
def test_halves_are_weighted_each_by_itself() -> None:
    torch.manual_seed(0)
    model = AdaFusion().double().eval()
    found = model(images(3), grids(3))
    halves = torch.stack(found["embedding"].split(128, dim=1), dim=1)
    alone = torch.stack([found["image_embedding"], found["cloud_embedding"]], dim=1)
    weights = (halves * alone).sum(dim=2) / alone.square().sum(dim=2)
    torch.testing.assert_close(halves, weights[:, :, None] * alone)
    assert ((weights > 0) & (weights < 1)).all()
    assert not torch.allclose(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert (weights.std(dim=0) > 0).all(), "the weights are the same for every pair"


@pytest.mark.parametrize("attention_gradient", [False, True])
def test_gradients_reach_every_parameter(attention_gradient: bool) -> None:
    """In eval mode: in training a bias before a batch norm has none, whatever the network."""
    torch.manual_seed(0)
    model = AdaFusion(attention_gradient).double().eval()
    rows = model(images(3), grids(3))["embedding"]
    (rows * torch.linspace(-1, 1, rows.numel(), dtype=torch.float64).view_as(rows)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, f"{name} learns nothing"


def test_the_weights_teach_the_branches_only_where_the_paper_is_followed() -> None:
    for attention_gradient in (False, True):
        torch.manual_seed(0)
        model = AdaFusion(attention_gradient).double().eval()
        stages = [[model.v_feature1, model.v_feature2, model.v_feature3]]
        stages.append([model.l_feature1, model.l_feature2, model.l_feature3])
        maps: list[list[Tensor]] = []
        for x, branch in zip((images(2), grids(2)), stages, strict=True):
            maps.append([])
            for stage in branch:
                x = stage(x)
                maps[-1].append(x)
        model.weights(*maps).sum().backward()
        for branch in stages:
            for stage in branch:
                taught = [p.grad is not None and bool(p.grad.abs().max() > 0) for p in stage.parameters()]
                assert all(taught) if attention_gradient else not any(taught)


def losses_of_training(model: nn.Module, loss_of_step: Callable[[], Tensor], lr: float) -> list[float]:
    """Six steps of Adam; every convolution of the branches has moved."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), lr)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = loss_of_step()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    kernels = [name for name, value in before.items() if "_feature" in name and value.ndim > 1]
    assert kernels and all(not torch.equal(model.state_dict()[name], before[name]) for name in kernels)
    return losses


@pytest.mark.parametrize("attention_gradient", [False, True], ids=["code", "paper"])
def test_both_readings_train_on_the_task(attention_gradient: bool) -> None:
    torch.manual_seed(0)
    model = AdaFusion(attention_gradient).train()
    some_images, some_grids = images(8, 32, 32).float(), grids(8).float()
    same = torch.arange(8)[:, None] // 2 == torch.arange(8) // 2

    def step() -> Tensor:
        rows = model(some_images, some_grids)["embedding"]
        return batch_hard_triplet(rows, same & ~torch.eye(8, dtype=torch.bool), ~same).loss

    losses = losses_of_training(model, step, lr=3e-4)
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_students_learn_from_the_fused_teacher(mode: str) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        teacher = AdaFusion().eval()(images(6).float(), grids(6).float())["embedding"]
    for student, batch in ((adafusion_camera(), images(6).float()), (adafusion_lidar(), grids(6).float())):
        distillation = DistilVPRLoss("SC", mode)  # type: ignore[arg-type]
        losses = losses_of_training(
            student.train(),
            lambda student=student, batch=batch, loss=distillation: loss(student(batch), teacher)[0],  # type: ignore[misc]
            lr=1e-4,
        )
        assert losses[-1] < 0.8 * losses[0], losses


def test_each_parameter_has_one_branch_s_learning_rate() -> None:
    model = AdaFusion()
    of_clouds = {id(parameter) for parameter in model.cloud_parameters()}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in of_clouds) == name.startswith("l_"), name


@torch.no_grad()
@pytest.mark.parametrize(("shape", "stride"), [((5, 7), 1), ((5, 7), 2), ((4, 3, 5), 2)])
def test_position_attention_is_the_naive_one(shape: tuple[int, ...], stride: int) -> None:
    torch.manual_seed(0)
    attention = PositionAttention(3, len(shape), stride).double()
    features = torch.randn(2, 3, *shape, dtype=torch.float64)
    found, mapped = attention(features), attention.qkv_conv(features)
    assert found.shape[2:] == mapped.shape[2:] == tuple(math.ceil(size / stride) for size in shape)
    for item in range(2):
        query, key, value = mapped[item].flatten(1).split((4, 4, 16))
        for place in range(query.shape[1]):
            scores = torch.stack([query[:, place] @ key[:, other] / 4**0.5 for other in range(key.shape[1])])
            shares = scores.exp() / scores.exp().sum()
            expected = sum(shares[other] * value[:, other] for other in range(len(shares)))
            torch.testing.assert_close(found[item].flatten(1)[:, place], expected)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2)])
def test_channel_attention_is_the_naive_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(4, len(shape)).double()
    features = torch.randn(2, 4, *shape, dtype=torch.float64)
    mixed = torch.zeros_like(features)
    for item in range(2):
        for channel in range(4):
            scores = torch.stack([(features[item, channel] * features[item, other]).sum() for other in range(4)])
            shares = scores.exp() / scores.exp().sum()
            mixed[item, channel] = sum(shares[other] * features[item, other] for other in range(4))
    torch.testing.assert_close(attention(features), attention.bottleneck(mixed))


@pytest.mark.parametrize(
    ("build", "batch", "dim", "count"),
    [
        (adafusion_camera, images, 256, 998464 + 128 * 256 + 256),
        (lambda: adafusion_camera(dim=None), images, 128, 998464),
        (lambda: adafusion_camera(width=2), images, 256, 3987584 + 256 * 256 + 256),
        (adafusion_lidar, grids, 256, 1079968 + 128 * 256 + 256),
        (lambda: adafusion_lidar(dim=None), grids, 128, 1079968),
    ],
)
def test_students_are_one_branch_each(
    build: Callable[[], nn.Module], batch: Callable[[int], Tensor], dim: int, count: int
) -> None:
    torch.manual_seed(0)
    model = build().double().eval()
    rows = model(batch(3))
    assert rows.shape == (3, dim) and model.dim == dim and num_parameters(model) == count
    torch.testing.assert_close(rows[1:2], model(batch(3)[1:2]))
    rows.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@torch.no_grad()
def test_a_student_is_the_teacher_s_branch() -> None:
    teacher = AdaFusion().double().eval()
    camera, lidar = adafusion_camera(None).double().eval(), adafusion_lidar(None).double().eval()
    for student, letter in ((camera, "v"), (lidar, "l")):
        names = {name: f"backbone.{name}" for name in teacher.state_dict() if name.startswith(f"{letter}_feature")}
        student.load_state_dict({names[name]: teacher.state_dict()[name] for name in names})
    found = teacher(images(2), grids(2))
    torch.testing.assert_close(camera(images(2)), found["image_embedding"])
    torch.testing.assert_close(lidar(grids(2)), found["cloud_embedding"])


def test_what_is_not_to_be_had_is_refused() -> None:
    with pytest.raises(RecipeError, match="no ImageNet weights"):
        adafusion_image.build(pretrained=True)
    with pytest.raises(RecipeError, match="width of 1 or more, got 0"):
        adafusion_camera(width=0)
