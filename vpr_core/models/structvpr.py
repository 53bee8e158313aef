"""StructVPR's two branches: an RGB image, or the label map of its segmentation, to a global descriptor.

Shen et al., "StructVPR: Distill Structural Knowledge with Weighting Samples for Visual Place Recognition", CVPR 2023.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import RecipeError
from vpr_core.models.aggregators import GlobalMax
from vpr_core.models.backbones import mobilenet_l, mobilenet_v2

Normalize = Literal["levels", "global", "none"]

__all__ = ["MultiLevel", "RgbBranch", "SegmentationBranch", "rgb_branch", "segmentation_branch"]

NUM_LEVELS = 3
"""Multi-level concatenation takes the last three of five stages: 448 = 32 + 96 + 320, 480 = 64 + 96 + 320."""


class MultiLevel(nn.Module):
    """StructVPR Eqs. (1), (2). Feature maps of the last stages, each globally max-pooled, one after the other.

    normalize: "levels" brings each level to unit length, then the whole, so that no level outweighs another; "global"
    the whole alone; "none" neither. Which of them the paper does is lost.
    """

    def __init__(self, normalize: Normalize = "levels") -> None:
        super().__init__()
        if normalize not in get_args(Normalize):
            raise RecipeError(f"normalize is {normalize!r}, expected one of {', '.join(get_args(Normalize))}")
        self.pool = GlobalMax()
        self.normalize = normalize

    def forward(self, maps: list[Tensor]) -> Tensor:
        """maps [B, C_i, H_i, W_i] -> descriptors [B, sum of C_i]."""
        levels = [self.pool(features) for features in maps]
        if self.normalize == "levels":
            levels = [functional.normalize(level) for level in levels]
        descriptors = torch.cat(levels, dim=1)
        return descriptors if self.normalize == "none" else functional.normalize(descriptors)


class RgbBranch(nn.Module):
    """RGB images [B, 3, H, W] in [0, 1] to descriptors [B, 448]: MobileNetV2 without its head. StructVPR's student."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: mobilenet_v2.MobileNetV2, normalize: Normalize = "levels") -> None:
        super().__init__()
        self.backbone = backbone
        self.aggregator = MultiLevel(normalize)
        self.dim = sum(mobilenet_v2.STAGE_CHANNELS[-NUM_LEVELS:])
        self.register_buffer("mean", torch.tensor(mobilenet_v2.IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(mobilenet_v2.IMAGE_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        descriptors: Tensor = self.aggregator(self.backbone.stages((images - self.mean) / self.std)[-NUM_LEVELS:])
        return descriptors


class SegmentationBranch(nn.Module):
    """Label maps [B, C, H, W], see `structvpr.slme`, to descriptors [B, 480]: MobileNet-L. StructVPR's teacher."""

    def __init__(self, backbone: mobilenet_l.MobileNetL, normalize: Normalize = "levels") -> None:
        super().__init__()
        self.backbone = backbone
        self.aggregator = MultiLevel(normalize)
        self.dim = sum(mobilenet_l.STAGE_CHANNELS[-NUM_LEVELS:])

    def forward(self, labels: Tensor) -> Tensor:
        descriptors: Tensor = self.aggregator(self.backbone.stages(labels)[-NUM_LEVELS:])
        return descriptors


def rgb_branch(pretrained: bool = True, normalize: Normalize = "levels") -> RgbBranch:
    """pretrained: begin with ImageNet weights, as both stages of the paper do; raises as `mobilenet_v2.build` does."""
    return RgbBranch(mobilenet_v2.build(pretrained, num_stages=5), normalize)


def segmentation_branch(
    in_channels: int = mobilenet_l.LABEL_CHANNELS, normalize: Normalize = "levels"
) -> SegmentationBranch:
    """in_channels: of the label maps, 6 for the paper's groups. Random weights, as in the paper."""
    return SegmentationBranch(mobilenet_l.build(in_channels), normalize)
