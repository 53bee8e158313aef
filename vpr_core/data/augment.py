"""Augmentation of training images, as in MinkLoc++: colour jitter and a random erased rectangle, no mirror image."""

from __future__ import annotations

import kornia.augmentation as K
from torch import nn


def image_augmentation() -> nn.Module:
    """A module on [B, 3, H, W] in [0, 1]; it draws from torch's random state, each image its own."""
    return K.AugmentationSequential(
        K.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1, p=1.0),
        K.RandomErasing(scale=(0.1, 0.4), ratio=(0.3, 3.3), value=0.0, p=0.5),
        data_keys=["input"],
    )
