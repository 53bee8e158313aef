"""`vpr-distill distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from vpr_core.commands.training import add_modality, add_training_options, run_training
from vpr_core.training.distillation import Distillation
from vpr_core.training.recipe import Recipe


def define(command: ArgumentParser) -> None:
    """Train a camera or LiDAR network on drives with a teacher's help.

    The teacher is any network that `train-teacher` or `train` wrote. A student trusts it alike on every sample, or with
    --sample_weights by how well it does on each, which `weigh` tells of this teacher and the student trained alone.
    """
    command.add_argument("--teacher", type=Path, required=True, help="checkpoint folder of the teacher")
    command.add_argument(
        "--cache", type=Path, default=None, help="folder to keep the teacher's descriptors in; its own by default"
    )
    command.add_argument(
        "--sample_weights",
        type=Path,
        default=None,
        help="file of `weigh` on the same frames: how much each sample's distillation counts, for distillation.method "
        "structvpr, S, C and SC; without it all count alike",
    )
    command.add_argument(
        "--diagnose_every", type=int, default=10, help="steps between two measurements of both losses' gradients"
    )
    add_training_options(command)
    add_modality(command, "camera", "lidar")
    command.add_class_arguments(Distillation, "distillation")
    command.add_class_arguments(Recipe, skip={"modality", "distillation"})


def run(options: dict[str, Any]) -> None:
    run_training(options)
