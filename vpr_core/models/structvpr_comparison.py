"""What StructVPR compares its distillation with (Sec. 4.4, Table 4): other ways to use a segmentation.

Segmentation alone and RGB alone are the two branches of `models.structvpr`. The paper's text names the others in a
sentence each; what is not in it is inferred, and said where it stands.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import InputError
from vpr_core.models.backbones import mobilenet_l, mobilenet_v2
from vpr_core.models.structvpr import (
    NUM_LEVELS,
    Normalize,
    RgbBranch,
    SegmentationBranch,
    rgb_branch,
    segmentation_branch,
)

__all__ = [
    "SCORES_STRIDE",
    "ConcatFeatures",
    "ConcatInput",
    "MultiTask",
    "Tasks",
    "concat_features",
    "concat_input",
    "multi_task",
]

SCORES_STRIDE = 8
"""Pixels of the image to a place of the multi-task network's segmentation, along either side."""


class ConcatFeatures(nn.Module):
    """Concat-feat: both branches, their descriptors one after the other, 928 = 448 + 480.

    Of unit length where the branches are, which is inferred: both then count alike.
    """

    def __init__(self, rgb: RgbBranch, segmentation: SegmentationBranch) -> None:
        super().__init__()
        self.rgb, self.segmentation = rgb, segmentation
        self.dim = rgb.dim + segmentation.dim

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """images [B, 3, H, W] in [0, 1], their label maps [B, C, H, W] -> descriptors [B, 928]."""
        _check_pairs(images, labels)
        descriptors = torch.cat([self.rgb(images), self.segmentation(labels)], dim=1)
        return descriptors if self.rgb.aggregator.normalize == "none" else functional.normalize(descriptors)


class ConcatInput(nn.Module):
    """Concat-input: one MobileNetV2 on 3 + 6 channels, image and label map one above the other."""

    def __init__(self, rgb: RgbBranch, label_channels: int) -> None:
        """rgb: its first convolution is widened; it keeps its weights for the image and begins at random for labels."""
        super().__init__()
        first = rgb.backbone.features[0]
        assert isinstance(first, nn.Sequential) and isinstance(first[0], nn.Conv2d)
        narrow = first[0]
        wide = nn.Conv2d(3 + label_channels, narrow.out_channels, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(wide.weight, mode="fan_out")
        with torch.no_grad():
            wide.weight[:, :3] = narrow.weight
        first[0] = wide
        self.rgb = rgb
        self.dim = rgb.dim

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """images [B, 3, H, W] in [0, 1], their label maps [B, C, H, W] -> descriptors [B, 448]."""
        _check_pairs(images, labels)
        stacked = torch.cat([(images - self.rgb.mean) / self.rgb.std, labels], dim=1)
        descriptors: Tensor = self.rgb.aggregator(self.rgb.backbone.stages(stacked)[-NUM_LEVELS:])
        return descriptors


class Tasks(NamedTuple):
    """What the multi-task network says of images."""

    descriptors: Tensor
    """[B, 448]."""
    scores: Tensor
    """[B, C, H/8, W/8], upwards rounded: of each group at each place, before the softmax."""


class MultiTask(nn.Module):
    """Multi-task: the RGB branch with a decoder that predicts the segmentation from the same features.

    The decoder is inferred: the last three stages are each brought to `width` channels by a 1x1 convolution, added from
    the coarse to the fine, and classified by a 3x3 and a 1x1 convolution. Only training needs it.
    """

    def __init__(self, rgb: RgbBranch, label_channels: int, width: int = 64) -> None:
        super().__init__()
        self.rgb = rgb
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels in mobilenet_v2.STAGE_CHANNELS[-NUM_LEVELS:]
        )
        self.classify = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, label_channels, 1),
        )
        self.dim = rgb.dim

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """images [B, 3, H, W] in [0, 1] -> descriptors [B, 448], all that a robot needs of it.

        In training both, as {"embedding": descriptors, "segmentation": scores}.
        """
        if self.training:
            tasks = self.both(images)
            return {"embedding": tasks.descriptors, "segmentation": tasks.scores}
        descriptors: Tensor = self.rgb(images)
        return descriptors

    def both(self, images: Tensor) -> Tasks:
        """Descriptors, and scores of the segmentation for a loss beside that of the descriptors."""
        maps = self.rgb.backbone.stages((images - self.rgb.mean) / self.rgb.std)[-NUM_LEVELS:]
        fine, *coarser = [lateral(features) for lateral, features in zip(self.lateral, maps, strict=True)]
        for features in coarser:
            fine = fine + functional.interpolate(features, fine.shape[-2:], mode="bilinear", align_corners=False)
        return Tasks(self.rgb.aggregator(maps), self.classify(fine))


def concat_features(
    pretrained: bool = True, label_channels: int = mobilenet_l.LABEL_CHANNELS, normalize: Normalize = "levels"
) -> ConcatFeatures:
    """pretrained: the RGB branch begins with ImageNet weights; raises as `rgb_branch` does."""
    return ConcatFeatures(rgb_branch(pretrained, normalize), segmentation_branch(label_channels, normalize))


def concat_input(
    pretrained: bool = True, label_channels: int = mobilenet_l.LABEL_CHANNELS, normalize: Normalize = "levels"
) -> ConcatInput:
    """pretrained: the image's part begins with ImageNet weights; raises as `rgb_branch` does."""
    return ConcatInput(rgb_branch(pretrained, normalize), label_channels)


def multi_task(
    pretrained: bool = True, label_channels: int = mobilenet_l.LABEL_CHANNELS, normalize: Normalize = "levels"
) -> MultiTask:
    """pretrained: the RGB branch begins with ImageNet weights; raises as `rgb_branch` does."""
    return MultiTask(rgb_branch(pretrained, normalize), label_channels)


def _check_pairs(images: Tensor, labels: Tensor) -> None:
    if len(images) != len(labels) or images.shape[-2:] != labels.shape[-2:]:
        raise InputError(f"images {list(images.shape)} and label maps {list(labels.shape)} are no pairs")
