"""The camera encoder: backbone, optional 1x1 convolution to a wanted width, GeM pooling."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional

from vpr_core.errors import RecipeError
from vpr_core.models import backbones
from vpr_core.models.aggregators import GeM


class ImageEncoder(nn.Module):
    """RGB image [B, 3, H, W] in [0, 1] to a descriptor [B, D]; unit length where `normalize`.

    The image branch of MinkLoc++ and the camera student of DistilVPR have this form.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], dim: int | None, normalize: bool
    ) -> None:
        super().__init__()
        channels = int(backbone.out_channels)  # type: ignore[arg-type]
        self.backbone = backbone
        self.conv1x1 = nn.Conv2d(channels, dim, 1) if dim else nn.Identity()
        self.gem = GeM()
        self.normalize = normalize
        self.dim = dim or channels
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.conv1x1(self.backbone((image - self.mean) / self.std))
        descriptor = self.gem(features)
        return functional.normalize(descriptor) if self.normalize else descriptor


def backbone_names() -> list[str]:
    """Names that `backbone` may take: the modules of `vpr_core.models.backbones` that are for images."""
    return [name for name in _modules() if hasattr(_module(name), "IMAGE_MEAN")]


def build_image_encoder(
    backbone: str = "efficientnet_lite0", dim: int | None = None, pretrained: bool = True, normalize: bool = False
) -> ImageEncoder:
    """An image encoder on the backbone of that file name.

    dim: width D of the descriptor; None keeps the backbone's own width.
    Raises RecipeError where there is no such image backbone or its weights are not to be had.
    """
    module = _image_backbone(backbone)
    return ImageEncoder(module.build(pretrained), module.IMAGE_MEAN, module.IMAGE_STD, dim, normalize)


def _image_backbone(name: str) -> ModuleType:
    if name not in backbone_names():
        reason = f"backbone {name!r} is not for images" if name in _modules() else f"unknown backbone {name!r}"
        raise RecipeError(f"{reason}: known are {', '.join(backbone_names())}")
    return _module(name)


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(backbones.__path__))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{backbones.__name__}.{name}")
