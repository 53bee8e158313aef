"""What every file of models/backbones keeps to."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import RecipeError
from vpr_core.models import backbones
from vpr_core.models.encoder import backbone_names, build_image_encoder
from vpr_core.models.sparse import batch_clouds


def module(name: str) -> ModuleType:
    return importlib.import_module(f"vpr_core.models.backbones.{name}")


IMAGE = backbone_names()
OTHER = [name for _, name, _ in pkgutil.iter_modules(backbones.__path__) if name not in IMAGE]
LABEL = [name for name in OTHER if hasattr(module(name), "LABEL_CHANNELS")]
CLOUD = [name for name in OTHER if name not in LABEL]


def test_backbones_are_found() -> None:
    assert {"adafusion_image", "efficientnet_lite0", "mobilenet_v2", "resnet", "resnet34", "resnet50", "vgg16"} <= set(
        IMAGE
    )
    assert {"adafusion_voxel", "minkfpn"} == set(CLOUD)
    assert {"mobilenet_l"} == set(LABEL)


@pytest.mark.parametrize("name", IMAGE)
def test_an_image_backbone_makes_an_encoder(name: str) -> None:
    assert len(module(name).IMAGE_MEAN) == len(module(name).IMAGE_STD) == 3
    assert all(0 < value < 1 for value in (*module(name).IMAGE_MEAN, *module(name).IMAGE_STD))
    torch.manual_seed(0)
    encoder = build_image_encoder(name, dim=8, pretrained=False)
    images = torch.rand(4, 3, 48, 64)
    features = encoder.backbone(images)
    assert features.shape == (4, module(name).build(pretrained=False).out_channels, 3, 4), "expected stride 16"
    assert encoder(images).shape == (4, 8)
    assert build_image_encoder(name, pretrained=False).dim == features.shape[1]
    learns_every_parameter(encoder, encoder(images))
    same_alone(encoder, images)


@pytest.mark.parametrize("name", LABEL)
def test_a_label_backbone_learns(name: str) -> None:
    torch.manual_seed(0)
    channels = module(name).LABEL_CHANNELS
    backbone = module(name).build()
    with pytest.raises(RecipeError, match=f"'{name}' is not for images: known are adafusion_image"):
        build_image_encoder(name, pretrained=False)
    assert module(name).build(channels + 1)(torch.rand(2, channels + 1, 64, 64)).shape[1] == backbone.out_channels
    labels = functional.one_hot(torch.randint(channels, (4, 64, 96)), channels).movedim(-1, 1).float()
    features = backbone(labels)
    assert features.shape == (4, backbone.out_channels, 2, 3), "expected stride 32"
    # Without its own mean, which takes a bias before a norm away, so that every parameter counts.
    learns_every_parameter(backbone.eval(), backbone(labels))
    same_alone(backbone, labels)


@pytest.mark.parametrize("name", CLOUD)
def test_a_cloud_backbone_learns(name: str, random_sites: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    backbone = module(name).build()
    with pytest.raises(RecipeError, match=f"'{name}' is not for images: known are adafusion_image"):
        build_image_encoder(name, pretrained=False)
    if name == "minkfpn":
        clouds = batch_clouds([random_sites(count=100, size=12, clouds=1, seed=seed)[:, 1:] for seed in range(2)])
        features = backbone(clouds).features
        learns_every_parameter(backbone, features)
    else:
        grids = (torch.rand(2, 1, 16, 16, 16) < 0.1).float()
        features = backbone(grids)
        learns_every_parameter(backbone, features)
        same_alone(backbone, grids)
    assert features.shape[1] == backbone.out_channels


def learns_every_parameter(model: nn.Module, output: Tensor) -> None:
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, f"{name} learns nothing"


@torch.no_grad()
def same_alone(model: nn.Module, batch: Tensor) -> None:
    model.eval()
    torch.testing.assert_close(model(batch)[1:2], model(batch[1:2]), rtol=1e-4, atol=1e-5)
