"""The camera encoder: a backbone, and an aggregator that makes one descriptor of a wanted width of its map."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import RecipeError
from vpr_core.models import backbones
from vpr_core.models.aggregators import GeM, GlobalMax, NetVLAD

Aggregator = Literal["gem", "max", "netvlad"]


class ImageEncoder(nn.Module):
    """RGB image [B, 3, H, W] in [0, 1] to a descriptor [B, D]; unit length where `normalize`.

    The image branch of MinkLoc++ and the camera student of DistilVPR have this form, with GeM.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dim: int | None,
        normalize: bool,
        aggregator: Aggregator = "gem",
        clusters: int = 64,
    ) -> None:
        super().__init__()
        channels = int(backbone.out_channels)  # type: ignore[arg-type]
        self.backbone = backbone
        # A 1x1 convolution brings a map to the wanted width before it is pooled; NetVLAD narrows what it made itself.
        narrowed = dim if aggregator != "netvlad" else None
        self.conv1x1 = nn.Conv2d(channels, narrowed, 1) if narrowed else nn.Identity()
        self.aggregator = aggregator
        # Under its own name, which parameters then say.
        self.add_module(aggregator, _aggregator(aggregator, channels, dim, clusters))
        self.normalize = normalize
        self.dim = dim or (clusters * channels if aggregator == "netvlad" else channels)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def pooling(self) -> nn.Module:
        """The aggregator: of maps [B, C, h, w] to descriptors [B, D]."""
        return self.get_submodule(self.aggregator)

    def local_features(self, image: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] -> what is aggregated, [B, C, h, w]."""
        features: Tensor = self.conv1x1(self.backbone((image - self.mean) / self.std))
        return features

    def forward(self, image: Tensor) -> Tensor:
        descriptor: Tensor = self.pooling(self.local_features(image))
        return functional.normalize(descriptor) if self.normalize else descriptor


def _aggregator(name: Aggregator, channels: int, dim: int | None, clusters: int) -> nn.Module:
    if name == "netvlad":
        return NetVLAD(channels, clusters, dim)
    return GeM() if name == "gem" else GlobalMax()


def backbone_names() -> list[str]:
    """Names that `backbone` may take: the modules of `vpr_core.models.backbones` that are for images."""
    return [name for name in _modules() if hasattr(_module(name), "IMAGE_MEAN")]


def build_image_encoder(
    backbone: str = "efficientnet_lite0",
    dim: int | None = None,
    pretrained: bool = True,
    normalize: bool = False,
    aggregator: Aggregator = "gem",
    clusters: int = 64,
) -> ImageEncoder:
    """An image encoder on the backbone of that file name.

    dim: width D of the descriptor; None keeps the backbone's own width, of NetVLAD that times `clusters`.
    Raises RecipeError where there is no such image backbone, its weights are not to be had, or there is no such
    aggregator.
    """
    if aggregator not in get_args(Aggregator):
        raise RecipeError(f"aggregator is {aggregator!r}, expected one of {', '.join(get_args(Aggregator))}")
    module = _image_backbone(backbone)
    return ImageEncoder(
        module.build(pretrained), module.IMAGE_MEAN, module.IMAGE_STD, dim, normalize, aggregator, clusters
    )


def _image_backbone(name: str) -> ModuleType:
    if name not in backbone_names():
        reason = f"backbone {name!r} is not for images" if name in _modules() else f"unknown backbone {name!r}"
        raise RecipeError(f"{reason}: known are {', '.join(backbone_names())}")
    return _module(name)


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(backbones.__path__))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{backbones.__name__}.{name}")
