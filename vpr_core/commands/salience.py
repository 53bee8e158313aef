"""`vpr-distill salience`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from vpr_core.commands.options import check_output_file, file_ending, named_path
from vpr_core.errors import VprError

if TYPE_CHECKING:
    from vpr_core.data.frames import Frames
    from vpr_core.evaluation.salience_figure import Look

Row = tuple[str, np.ndarray | None, np.ndarray | None]


def define(command: ArgumentParser) -> None:
    """Draw where the descriptors of several networks look, in images and on clouds: DistilVPR's Fig. 3.

    Exact for networks that end in GeM pooling: the share of every place in the descriptor's squared length. Of several
    networks the overlap of each one's look with the last one's is printed: 1 is the same look, 0 one elsewhere. So a
    student before and after distillation beside its teacher:

    vpr-distill salience --checkpoints alone=runs/alone distilled=runs/distilled teacher=runs/teacher --change
    --frames frames/night --out looks.png
    """
    command.add_argument(
        "--checkpoints", nargs="+", required=True, metavar="[NAME=]FOLDER",
        help="folders written by the trainings; NAME stands above the column, otherwise the folder's name",
    )  # fmt: skip
    command.add_argument("--frames", type=Path, required=True, help="frames folder to look at")
    command.add_argument("--count", type=PositiveInt, default=4, help="frames to draw, evenly spread over the drive")
    command.add_argument(
        "--change", action="store_true", help="also draw where the second network looks more, and less, than the first"
    )
    command.add_argument(
        "--out", type=file_ending(".svg", ".png", ".jpg"), required=True, help="picture to write: .svg, .png or .jpg"
    )


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.evaluation.evaluate import table_text
    from vpr_core.evaluation.salience_figure import salience_figure

    if options["change"] and len(options["checkpoints"]) < 2:
        raise VprError("--change compares the first two of --checkpoints, one is given")
    check_output_file(Path(options["out"]))
    drive = Frames.load(options["frames"])
    chosen = np.linspace(0, len(drive) - 1, min(options["count"], len(drive))).round().astype(int)
    columns = [_looks(*named_path(text), drive, chosen) for text in options["checkpoints"]]
    looks = list(zip(*columns, strict=True))
    rows = [_row(drive, int(index)) for index in chosen]
    salience_figure(rows, looks, options["change"]).savefig(options["out"], dpi=110)
    if len(columns) > 1:
        print(table_text(_overlaps(rows, columns), ("network", "compared_with", "of_image", "of_cloud")))
    print(options["out"])


def _looks(name: str, folder: Path, drive: Frames, chosen: np.ndarray) -> list[Look]:
    """One network on every chosen frame."""
    from vpr_core.data.samples import Samples
    from vpr_core.evaluation.salience import salience
    from vpr_core.evaluation.salience_figure import Look
    from vpr_core.training.checkpoint import load_checkpoint
    from vpr_core.training.network_input import NetworkInput, check_sensors

    checkpoint, samples = load_checkpoint(folder), Samples([drive])
    check_sensors(checkpoint.modality, [drive])
    taken = NetworkInput.from_json(checkpoint.modality, checkpoint.input)
    found = [salience(checkpoint.model, taken.batch(samples, [index])) for index in chosen]
    return [Look(name, one, taken.voxel_size_m) for one in found]


def _row(drive: Frames, index: int) -> Row:
    image = drive.image(index) if drive.has_images else None
    cloud = drive.cloud(index) if drive.frames[index].cloud else None
    return f"{drive.session}, frame {index}", image, cloud


def _overlaps(rows: list[Row], columns: list[list[Look]]) -> list[dict[str, Any]]:
    """How much of its look each network has in common with the last one, the mean of the frames."""
    from vpr_core.evaluation.salience_figure import overlap

    def mean(first: list[np.ndarray | None], second: list[np.ndarray | None]) -> float | None:
        found = [overlap(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
        return float(np.mean(found)) if found else None

    def of_all(column: list[Look]) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
        both = [
            (look.of_image(image), look.of_cloud(cloud)) for look, (_, image, cloud) in zip(column, rows, strict=True)
        ]
        return [image for image, _ in both], [cloud for _, cloud in both]

    *others, last = columns
    images, clouds = of_all(last)
    return [
        {"network": column[0].title, "compared_with": last[0].title, "of_image": mean(of_all(column)[0], images),
         "of_cloud": mean(of_all(column)[1], clouds)}
        for column in others
    ]  # fmt: skip
