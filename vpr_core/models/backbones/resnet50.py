"""ResNet-50 without its last stage: a camera backbone for teachers bigger than their students.

DistilVPR has a teacher "MinkLoc++2D-big" and does not say what is big in it; ResNet-34 is the option that its code has
beside ResNet-18.
"""

from __future__ import annotations

from vpr_core.models.backbones import resnet
from vpr_core.models.backbones.resnet import IMAGE_MEAN, IMAGE_STD

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "build"]


def build(pretrained: bool = True) -> resnet.ResNet:
    """The backbone, with ImageNet weights (IMAGENET1K_V1) where `pretrained`; raises as `resnet.build` does."""
    return resnet.build(pretrained, depth=50)
