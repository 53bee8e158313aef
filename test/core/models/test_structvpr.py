"""StructVPR's branches: sizes by construction, pooling by hand, published weights by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.errors import RecipeError
from vpr_core.models.aggregators import GlobalMax, NetVLAD
from vpr_core.models.backbones import mobilenet_l, mobilenet_v2
from vpr_core.models.structvpr import MultiLevel, rgb_branch, segmentation_branch
from vpr_core.structvpr.slme import weighted_one_hot


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_widths_and_sizes_are_the_paper_s() -> None:
    rgb, segmentation = rgb_branch(pretrained=False), segmentation_branch()
    assert (rgb.dim, segmentation.dim) == (448, 480)
    assert parameters(segmentation) == 1195880
    assert parameters(segmentation_branch(in_channels=1)) == 1195880 - 5 * (9 + 1 + 2 + 16)
    # torchvision's MobileNetV2 without the last 1x1 convolution with its norm, and the classifier.
    assert parameters(rgb) == 3504872 - (320 * 1280 + 2 * 1280) - 1281 * 1000


def test_maps_lie_at_the_strides_of_five_stages() -> None:
    images = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        rgb = mobilenet_v2.build(pretrained=False, num_stages=5).eval().stages(images)
        labels = mobilenet_l.build().eval().stages(torch.rand(1, 6, 96, 128))
    for maps, channels in ((rgb, (16, 24, 32, 96, 320)), (labels, (16, 32, 64, 96, 320))):
        shapes = [(1, width, 96 // 2 ** (i + 1), 128 // 2 ** (i + 1)) for i, width in enumerate(channels)]
        assert [tuple(features.shape) for features in maps] == shapes


@pytest.mark.parametrize("normalize", ["levels", "global", "none"])
def test_levels_are_pooled_by_their_maximum_one_after_the_other(normalize: str) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(2, width, *size, generator=generator) for width, size in ((3, (4, 5)), (2, (2, 2)), (4, (1, 3)))
    ]
    descriptors = MultiLevel(normalize)(maps)  # type: ignore[arg-type]
    for row in range(2):
        levels = [torch.tensor([channel.max() for channel in features[row]]) for features in maps]
        if normalize == "levels":
            levels = [level / level.norm() for level in levels]
        whole = torch.cat(levels)
        torch.testing.assert_close(descriptors[row], whole if normalize == "none" else whole / whole.norm())


def test_branches_describe_images_and_label_maps() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(2, 3, 64, 96), torch.randint(19, (2, 64, 96))
    with torch.no_grad():
        for model, batch in (
            (rgb_branch(pretrained=False), images),
            (segmentation_branch(), weighted_one_hot(labels, "cityscapes_19")),
            (segmentation_branch(19, "global"), weighted_one_hot(labels, "cityscapes_19", "unclustered")),
        ):
            descriptors = model.eval()(batch)
            assert descriptors.shape == (2, model.dim)
            torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2))
            torch.testing.assert_close(model(batch[1:]), descriptors[1:], rtol=1e-4, atol=1e-5)


def test_the_rgb_branch_takes_images_between_0_and_1() -> None:
    model = rgb_branch(pretrained=False).eval()
    images = torch.rand(1, 3, 64, 64)
    seen: list[Tensor] = []
    model.backbone.features[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(images)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(seen[0][0], (images[0] - mean) / std)
    assert "mean" not in model.state_dict()


@pytest.mark.parametrize("num_stages", [4, 5])
def test_published_imagenet_weights_load_by_their_names(
    num_stages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    whole = {name: torch.rand(shape, generator=generator) for name, shape in torchvision_shapes().items()}
    torch.save(whole, tmp_path / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth")
    loaded = mobilenet_v2.build(pretrained=True, num_stages=num_stages).state_dict()
    named = {name for name in loaded if not name.endswith("num_batches_tracked")}
    last = 18 if num_stages == 5 else 14
    assert named == {name for name in whole if name.startswith("features.") and int(name.split(".")[1]) < last}
    assert all(torch.equal(loaded[name], whole[name]) for name in named)


def torchvision_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's MobileNetV2, from the layout in the paper's Table 2."""
    shapes: dict[str, tuple[int, ...]] = {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}

    def conv(name: str, norm: str, shape: tuple[int, ...]) -> None:
        shapes[f"{name}.weight"] = shape
        shapes.update({f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")})

    conv("features.0.0", "features.0.1", (32, 3, 3, 3))
    before, index = 32, 1
    for expansion, channels, count in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3),
                                       (6, 320, 1)):  # fmt: skip
        for _ in range(count):
            name, wide, step = f"features.{index}.conv", before * expansion, 0
            if expansion > 1:
                conv(f"{name}.0.0", f"{name}.0.1", (wide, before, 1, 1))
                step = 1
            conv(f"{name}.{step}.0", f"{name}.{step}.1", (wide, 1, 3, 3))
            conv(f"{name}.{step + 1}", f"{name}.{step + 2}", (channels, wide, 1, 1))
            before, index = channels, index + 1
    conv("features.18.0", "features.18.1", (1280, 320, 1, 1))
    return shapes


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(RecipeError, match="1 to 5 stages, got 6"):
        mobilenet_v2.build(pretrained=False, num_stages=6)
    with pytest.raises(RecipeError, match="1 input channel or more, got 0"):
        mobilenet_l.build(0)
    with pytest.raises(RecipeError, match="normalize is 'l1', expected one of levels, global, none"):
        segmentation_branch(normalize="l1")  # type: ignore[arg-type]


def test_global_max() -> None:
    features = torch.arange(24.0).view(1, 2, 3, 4)
    assert GlobalMax()(features).tolist() == [[11.0, 23.0]]


def naive_vlad(features: Tensor, weights: Tensor, centres: Tensor) -> Tensor:
    """features [P, C], weights [P, K]: a loop over places and clusters."""
    sums = torch.zeros_like(centres)
    for x, row in zip(features, weights, strict=True):
        for k, weight in enumerate(row):
            sums[k] += weight * (x - centres[k])
    flat = torch.cat([row / row.norm() for row in sums])
    return flat / flat.norm()


def test_netvlad_against_a_naive_loop() -> None:
    torch.manual_seed(3)
    vlad, features = NetVLAD(5, clusters=4), torch.randn(2, 5, 3, 6)
    with torch.no_grad():
        descriptors = vlad(features)
        for row in range(2):
            places = functional.normalize(features[row].flatten(1).T)
            weights = (places @ vlad.assignment.weight.flatten(1).T + vlad.assignment.bias).softmax(dim=1)
            torch.testing.assert_close(descriptors[row], naive_vlad(places, weights, vlad.centres))
    assert vlad.dim == 20 and descriptors.shape == (2, 20)


def test_netvlad_s_map_is_of_the_whole() -> None:
    torch.manual_seed(3)
    vlad, features = NetVLAD(5, clusters=4, dim=7), torch.randn(2, 5, 3, 6)
    whole = NetVLAD(5, clusters=4)
    whole.load_state_dict({name: value for name, value in vlad.state_dict().items() if "projection" not in name})
    torch.testing.assert_close(vlad(features), whole(features) @ vlad.projection.weight.T)
    assert vlad.dim == 7


def test_netvlad_does_not_depend_on_where_things_are() -> None:
    torch.manual_seed(3)
    vlad, features = NetVLAD(5, clusters=4), torch.randn(1, 5, 3, 6)
    moved = features.flatten(2)[:, :, torch.randperm(18)].view(1, 5, 6, 3)
    torch.testing.assert_close(vlad(features), vlad(moved))


def test_netvlad_starts_from_the_clusters_of_features() -> None:
    """Features around four directions: each is assigned to its own, and the ratio of the weights is the paper's."""
    torch.manual_seed(4)
    directions = torch.eye(6)[:4]
    features = (directions.repeat(50, 1) + 0.05 * torch.randn(200, 6)) * 3
    vlad = NetVLAD(6, clusters=4)
    vlad.start_from(features, seed=1)
    unit = functional.normalize(features)
    logits = (unit @ vlad.assignment.weight.flatten(1).T + vlad.assignment.bias).detach()
    assert len(set(logits.argmax(dim=1)[:4].tolist())) == 4
    assert (logits.argmax(dim=1).view(50, 4) == logits.argmax(dim=1)[:4]).all()
    best, second = logits.topk(2, dim=1).values.unbind(1)
    assert (best - second).mean().exp().item() == pytest.approx(100, rel=1e-3)
    before = vlad.centres.clone()
    vlad.start_from(features, seed=1)
    assert torch.equal(vlad.centres, before)


def test_netvlad_learns_every_parameter() -> None:
    torch.manual_seed(3)
    vlad = NetVLAD(5, clusters=4)
    (vlad(torch.randn(2, 5, 3, 6)) * torch.linspace(-1, 1, 20)).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in vlad.parameters())
