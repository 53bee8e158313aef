"""MinkLoc++ and DistilVPR's students: published names, shapes and sizes; loading; batches against single items."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vpr_core.errors import BundleError, InputError
from vpr_core.models.backbones import minkfpn
from vpr_core.models.minkloc import (
    camera_student,
    lidar_student,
    load_published,
    minkloc3d,
    minkloc_rgb,
    minklocmmcat,
)
from vpr_core.models.sparse import batch_clouds

Shapes = dict[str, list[int]]


def teacher() -> nn.Module:
    return minklocmmcat(pretrained=False)


def upstream_multimodal() -> nn.Module:
    return minklocmmcat(image_dim=128, pretrained=False)


def student_2d() -> nn.Module:
    return camera_student(pretrained=False)


def student_3d() -> nn.Module:
    return lidar_student()


def upstream_rgb() -> nn.Module:
    return minkloc_rgb(pretrained=False)


DISTIL = {
    "teacher_minklocmmcat": teacher,
    "student_resnet18_384": student_2d,
    "student_minkloconly_384": student_3d,
}
MINK = {"MinkLocMultimodal": upstream_multimodal, "MinkLoc3D": minkloc3d, "MinkLocRGB": upstream_rgb}
UNUSED = ("model.layer4.", "model.fc.", "imagecosplace.", "imageconvap.", "imagenetvlad.")


def published(shared: Path, family: str, name: str) -> Shapes:
    path = shared / "golden" / f"state_keys_{family}.json"
    if not path.is_file():
        pytest.skip(f"VPR_SHARED: no file {path}")
    keys: Shapes = json.loads(path.read_text())[name]["keys"]
    return keys


def random_weights(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", DISTIL)
def test_names_and_shapes_are_the_published_ones(shared: Path, name: str) -> None:
    keys = published(shared, "distil", name)
    active = {key: shape for key, shape in keys.items() if not any(head in key for head in UNUSED)}
    assert {key: list(value.shape) for key, value in DISTIL[name]().state_dict().items()} == active


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (upstream_multimodal, 3461803),
        (lambda: upstream_multimodal().cloud_fe, 646122),
        (lambda: upstream_multimodal().image_fe, 2815681),
        (lambda: teacher().cloud_fe, 646122),
        (minkloc3d, 1055722),
        (upstream_rgb, 2848577),
        (student_2d, 2881473),
        (student_3d, 998892),
    ],
)
def test_parameters_are_as_many_as_published(build: Callable[[], nn.Module], count: int) -> None:
    assert num_parameters(build()) == count


@pytest.mark.parametrize("name", DISTIL)
def test_distilvpr_weights_load_and_their_unused_heads_are_reported(shared: Path, name: str) -> None:
    weights = random_weights(published(shared, "distil", name))
    model = DISTIL[name]()
    report = load_published(model, weights)
    assert all(torch.equal(value, weights[key].to(value.dtype)) for key, value in model.state_dict().items())
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert sorted([*report.loaded, *report.unused]) == sorted(weights)
    assert bool(report.unused) == (name != "student_minkloconly_384")
    assert all(any(head in key for head in UNUSED) for key in report.unused)


@pytest.mark.parametrize("name", MINK)
def test_upstream_weights_load_under_distilvpr_names(shared: Path, name: str) -> None:
    shapes = published(shared, "mink", name)
    weights = random_weights(shapes)
    model = MINK[name]()
    report = load_published(model, weights)
    assert report.unused == []
    assert len(report.loaded) == len(weights)
    loaded = model.state_dict()
    pairs = {
        "cloud_fe.backbone.bn.1.bn.weight": "cloud_fe.backbone.bns.1.bn.weight",
        "cloud_fe.backbone.bn0.bn.weight": "cloud_fe.backbone.bn0.bn.weight",
        "cloud_fe.backbone.conv1x1.1.kernel": "cloud_fe.backbone.conv1x1s.1.kernel",
        "cloud_fe.pooling.pooling.p": "cloud_fe.pooling.pooling.p",
        "image_fe.resnet_fe.0.weight": "image_fe.model.conv1.weight",
        "image_fe.resnet_fe.1.running_var": "image_fe.model.bn1.running_var",
        "image_fe.resnet_fe.6.0.downsample.0.weight": "image_fe.model.layer3.0.downsample.0.weight",
        "image_fe.fh_conv1x1.4.bias": "image_fe.conv1x1.bias",
        "image_fe.pool.p": "image_fe.image_gem.p",
    }
    checked = [upstream for upstream in pairs if upstream in weights]
    assert len(checked) >= 4
    for upstream in checked:
        assert torch.equal(loaded[pairs[upstream]], weights[upstream])


def test_checkpoints_that_do_not_fit_are_refused() -> None:
    weights = {name: value.clone() for name, value in lidar_student().state_dict().items()}
    with pytest.raises(BundleError, match="lacks.*conv0"):
        load_published(lidar_student(), {name: v for name, v in weights.items() if "conv0" not in name})
    with pytest.raises(BundleError, match="besides"):
        load_published(lidar_student(), weights | {"head.weight": torch.zeros(1)})
    with pytest.raises(BundleError, match="another size: backbone.conv1x1s.0.kernel"):
        load_published(lidar_student(dim=256), weights)


def test_a_descriptor_does_not_depend_on_its_batch(random_sites: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model = teacher().double().eval()
    clouds = [random_sites(count=count, size=16, clouds=1, seed=count)[:, 1:] for count in (150, 400, 60)]
    images = torch.rand(3, 3, 64, 80, dtype=torch.float64)
    together = model(images, batch_clouds(clouds, dtype=torch.float64))
    assert {name: value.shape for name, value in together.items()} == {
        "embedding": (3, 384), "cloud_embedding": (3, 128), "image_embedding": (3, 256)
    }  # fmt: skip
    assert torch.equal(together["embedding"][:, :128], together["cloud_embedding"])
    assert torch.equal(together["embedding"][:, 128:], together["image_embedding"])
    for i, cloud in enumerate(clouds):
        alone = model(images[i : i + 1], batch_clouds([cloud], dtype=torch.float64))
        torch.testing.assert_close(together["embedding"][i], alone["embedding"][0], rtol=0, atol=1e-10)
    with pytest.raises(InputError, match="2 images and 3 clouds"):
        model(images[:2], batch_clouds(clouds, dtype=torch.float64))


@pytest.mark.parametrize("build", [lidar_student, minkloc3d])
def test_single_precision_is_close_to_double(
    random_sites: Callable[..., Tensor], build: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(0)
    model = build().eval()
    clouds = [random_sites(count=3000, size=30, clouds=1, seed=seed)[:, 1:] for seed in range(2)]
    single = model(batch_clouds(clouds))
    double = model.double()(batch_clouds(clouds, dtype=torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-6)


def test_students_learn_to_tell_two_places_apart(random_sites: Callable[..., Tensor]) -> None:
    """Every parameter gets a gradient, and a few steps lower a loss."""
    torch.manual_seed(0)
    model = lidar_student(dim=16, planes=(8, 8, 16))
    batch = batch_clouds([random_sites(count=200, size=12, clouds=1, seed=seed)[:, 1:] for seed in range(4)])
    target = torch.eye(4, 16)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = (model(batch) - target).square().mean()
        loss.backward()
        losses.append(float(loss.detach()))
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("num_top_down", "stride"), [(0, 8), (1, 4), (3, 1)])
def test_every_level_up_halves_the_stride(random_sites: Callable[..., Tensor], num_top_down: int, stride: int) -> None:
    backbone = minkfpn.build(16, planes=(8, 16, 16), num_top_down=num_top_down)
    out = backbone(batch_clouds([random_sites(clouds=1)[:, 1:]]))
    assert out.stride == stride
    assert out.features.shape == (len(out.coordinates), 16)


def test_plans_of_a_backbone_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        minkfpn.build(planes=(8, 16), layers=(1, 1, 1))
    with pytest.raises(ValueError, match="do not fit"):
        minkfpn.build(num_top_down=4)
