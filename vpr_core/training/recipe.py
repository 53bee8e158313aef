"""A training recipe: every choice of a run, saved with each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from vpr_core.errors import RecipeError


@dataclass(frozen=True)
class Recipe:
    """How a camera encoder is trained by batch-hard triplet, as MinkLoc++ and DistilVPR train.

    Args:
        backbone: a file name in vpr_core/models/backbones.
        dim: width of the descriptor; null keeps the backbone's own.
        pretrained: start from ImageNet weights.
        normalize: unit-length descriptors in training; retrieval compares unit descriptors in any case.
        image_height: network input [px]; the width follows from the camera's aspect.
        batch_size: frames in a batch, half as many places.
        steps: optimiser steps.
        learning_rate: of Adam; it falls to a tenth after two thirds of the steps.
        weight_decay: of Adam.
        margin: of the triplet.
        positive_m: frames this near show the same place [m].
        negative_m: frames farther apart than this are different places [m].
        augment: colour jitter and erased rectangles.
        seed: of weights, batches and augmentation.
    """

    backbone: str = "efficientnet_lite0"
    dim: int | None = None
    pretrained: bool = True
    normalize: bool = False
    image_height: int = 120
    batch_size: int = 48
    steps: int = 140
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    margin: float = 0.2
    positive_m: float = 10.0
    negative_m: float = 50.0
    augment: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 4 or self.batch_size % 2:
            raise RecipeError(
                f"batch_size is {self.batch_size}, expected an even number from 4 up: frames come in pairs"
            )
        if self.steps < 0 or self.image_height < 32 or self.learning_rate <= 0:
            raise RecipeError("steps must be 0 or more, image_height 32 or more, learning_rate above 0")
        if not 0 < self.positive_m <= self.negative_m:
            raise RecipeError(
                f"positive_m {self.positive_m} must be above 0 and not above negative_m {self.negative_m}"
            )
