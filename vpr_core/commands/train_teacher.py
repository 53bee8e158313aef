"""`vpr-distill train-teacher`."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser

from vpr_core.commands.training import add_modality, add_training_options, add_weights, run_training
from vpr_core.training.recipe import Recipe


def define(command: ArgumentParser) -> None:
    """Train a teacher on drives: of camera and LiDAR together, or a bigger network of one of them."""
    add_training_options(command)
    add_weights(command)
    add_modality(command, "fused", "camera", "lidar")
    command.add_class_arguments(Recipe, skip={"modality", "distillation"})


def run(options: dict[str, Any]) -> None:
    run_training(options)
