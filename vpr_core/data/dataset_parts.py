"""What files of `vpr_core.data.datasets` have in common: options that make sense, squares of a map, files by stamp."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vpr_core.data.plan import SENSORS, Conversion, Sensor
from vpr_core.errors import FramesError
from vpr_core.preprocess import decode_image, resize_image

Row = TypeVar("Row")


@dataclass(frozen=True)
class Boxes:
    """Squares of a map, such as those in which a data set tests."""

    centres_m: tuple[tuple[float, float], ...]
    """x and y of each."""
    half_m: float
    """From a centre to an edge, which is outside."""

    def inside(self, positions_m: np.ndarray) -> np.ndarray:
        """bool [N] of positions [N, 2+]."""
        away_m = np.abs(positions_m[:, None, :2] - np.array(self.centres_m, float).reshape(1, -1, 2))
        return (away_m < self.half_m).all(axis=2).any(axis=1)


def check_options(options: Any, **least: float) -> None:
    """Raise FramesError where an option is below the least that it may be, or those of every data set make no sense."""
    for name, value in {**least, "positive_m": 0, "radius_m": 0}.items():
        given = getattr(options, name)
        if given is not None and not given >= value:
            raise FramesError(f"{name} is {given}, expected {value:g} or more")
    if options.negative_m < options.positive_m:
        raise FramesError(f"negative_m is {options.negative_m}, expected positive_m {options.positive_m} or more")


def check_drive_options(options: Any, **least: float) -> None:
    """The same, and of drives with a camera and a LiDAR."""
    check_options(options, tolerance_s=0, box_half_m=0, image_height=16, **least)
    if not options.sensors or not {*options.sensors} <= {*SENSORS}:
        raise FramesError(f"sensors are {list(options.sensors)}, expected {' or '.join(SENSORS)}, or both")


def stamped_files(folder: Path, *suffixes: str) -> dict[int, Path]:
    """Files of a folder whose name is a number, such as a time stamp, by that number in rising order."""
    if not folder.is_dir():
        return {}
    found = {int(path.stem): path for path in folder.iterdir() if path.suffix in suffixes and path.stem.isdigit()}
    return dict(sorted(found.items()))


def nearest(stamps: np.ndarray, wanted: int, tolerance: int) -> int | None:
    """The one of the sorted int64 `stamps` [N] nearest to `wanted`, the earlier of two; None beyond the tolerance."""
    right = int(np.searchsorted(stamps, wanted))
    around = map(int, stamps[max(right - 1, 0) : right + 1])
    best = min(around, key=lambda stamp: abs(stamp - wanted), default=None)
    return best if best is not None and abs(best - wanted) <= tolerance else None


def picture(path: Path, height: int | None) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an image file, scaled to a height [px] where one is given; raises InputError."""
    image = decode_image(path.read_bytes())
    return image if height is None else resize_image(image, height, round(image.shape[1] * height / image.shape[0]))


def scaled_pictures(path: Path, height: int | None) -> dict[Sensor, Conversion]:
    """The conversion that images like this one need to have the height; none where they have it, or none is given."""
    if height is None or picture(path, None).shape[0] == height:
        return {}
    return {"image": Conversion(lambda source: picture(source, height), f"height {height}")}


def read_table(path: Path, columns: Mapping[str, str], row: Callable[[Mapping[str, str]], Row]) -> list[Row]:
    """The lines of a CSV file, each as `row` makes it of its cells by column.

    columns: those that are needed, and what they hold, such as "a number". Raises FramesError where one is absent, or
    `row` raises ValueError or TypeError for what a cell holds, and names the line.
    """
    line = 1
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if not {*columns} <= {*(reader.fieldnames or ())}:
                raise FramesError(f"{path} has columns {reader.fieldnames}, expected {', '.join(columns)}")
            found = []
            for cells in reader:
                line = reader.line_num
                found.append(row(cells))
        return found
    except (TypeError, ValueError, csv.Error) as error:
        held = ", ".join(f"{what} in {name}" for name, what in columns.items())
        raise FramesError(f"{path}, line {line}, does not parse ({error}): expected {held}") from error


def finite(text: str) -> float:
    """A number of a table; raises ValueError where it is none, or none that is finite."""
    if not np.isfinite(value := float(text)):
        raise ValueError(f"a number is {text}")
    return value


def images_in(folder: Path) -> dict[str, Path]:
    """The JPEG and PNG files of a folder by their names without the ending; none where there is no such folder."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
