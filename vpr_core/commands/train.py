"""`vpr-distill train`."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser

from vpr_core.commands.training import add_modality, add_training_options, add_weights, run_training
from vpr_core.training.recipe import Recipe


def define(command: ArgumentParser) -> None:
    """Train a network of one sensor alone on drives by triplets, or one on the classes of pixels."""
    add_training_options(command)
    add_weights(command)
    add_modality(command, "camera", "lidar", "labels", "segmented")
    command.add_argument(
        "--distillation",
        type=dict | None,
        default=None,
        help="left aside, so that a recipe of `distill` trains the same student alone",
    )
    command.add_class_arguments(Recipe, skip={"modality", "distillation"})


def run(options: dict[str, Any]) -> None:
    run_training({**options, "distillation": None})
