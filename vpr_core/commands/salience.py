"""`vpr-distill salience`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from vpr_core.commands.options import file_ending


def define(command: ArgumentParser) -> None:
    """Draw where the descriptors of several networks look, in images and on clouds. Before and after distillation, say.

    Exact for networks that end in GeM pooling: the share of every place in the descriptor's squared length.
    """
    command.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="folders written by the trainings")
    command.add_argument("--frames", type=Path, required=True, help="frames folder to look at")
    command.add_argument("--count", type=PositiveInt, default=4, help="frames to draw, evenly spread over the drive")
    command.add_argument(
        "--out", type=file_ending(".svg", ".png", ".jpg"), required=True, help="picture to write: .svg, .png or .jpg"
    )


def run(options: dict[str, Any]) -> None:
    import numpy as np

    from vpr_core.data.frames import Frames
    from vpr_core.data.samples import Samples
    from vpr_core.evaluation.salience import salience
    from vpr_core.evaluation.salience_figure import Look, salience_figure
    from vpr_core.training.checkpoint import load_checkpoint
    from vpr_core.training.network_input import NetworkInput, check_sensors

    drive = Frames.load(options["frames"])
    samples = Samples([drive])
    chosen = np.linspace(0, len(drive) - 1, min(options["count"], len(drive))).round().astype(int)
    looks: list[list[Look]] = [[] for _ in chosen]
    for folder in options["checkpoints"]:
        checkpoint = load_checkpoint(folder)
        check_sensors(checkpoint.modality, [drive])
        taken = NetworkInput.from_json(checkpoint.modality, checkpoint.input)
        for row, index in zip(looks, chosen, strict=True):
            found = salience(checkpoint.model, taken.batch(samples, [index]))
            row.append(Look(_title(folder), found, taken.voxel_size_m))
    rows = [
        (
            f"{drive.session}, frame {index}",
            drive.image(index) if drive.has_images else None,
            drive.cloud(index) if drive.frames[index].cloud else None,
        )
        for index in chosen
    ]
    salience_figure(rows, looks).savefig(options["out"], dpi=110)
    print(options["out"])


def _title(folder: Path) -> str:
    """The folder's name, its end where it is too long for a column."""
    name = folder.resolve().name
    return name if len(name) <= 36 else f"...{name[-33:]}"
