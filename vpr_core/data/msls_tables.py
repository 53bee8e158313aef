"""The tables of one side of a city of MSLS: what there is of its frames, and which of them are taken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from vpr_core.data.dataset_parts import finite, images_in, read_table
from vpr_core.errors import FramesError
from vpr_core.types import Pose

View = Literal["Forward", "Backward", "Sideways"]
SIDES = ("database", "query")
_FLAG = {"True": True, "False": False, "1": True, "0": False}
_RAW = {"key": "text", "ca": "degrees", "pano": "True or False"}
_POSTPROCESSED = {"key": "text", "easting": "metres", "northing": "metres"}
Cells = Mapping[str, str]


class Frame(NamedTuple):
    """A frame that is taken."""

    image: Path
    pose: Pose | None
    """x east, y north [m], looking along its yaw."""


class Row(NamedTuple):
    """A frame as tables have it."""

    key: str
    pose: Pose | None
    taken: bool


@dataclass(frozen=True)
class Taken:
    """Which rows are taken; only columns that decide have to be there."""

    panoramas: bool = False
    light: Literal["any", "day", "night"] = "any"
    views: Sequence[View] = ()
    unique: bool = False

    @property
    def columns(self) -> dict[str, str]:
        """What is read of postprocessed.csv, and what it holds."""
        chosen = {"night": self.light != "any", "view_direction": bool(self.views), "unique_cluster": self.unique}
        return _POSTPROCESSED | {name: "what it says" for name, is_read in chosen.items() if is_read}

    def takes(self, cells: Cells) -> bool:
        """Whether a row of postprocessed.csv is taken; raises ValueError where a cell is neither True nor False."""
        return (
            (self.light == "any" or _flag(cells["night"]) == (self.light == "night"))
            and (not self.views or cells["view_direction"] in self.views)
            and (not self.unique or _flag(cells["unique_cluster"]))
        )


@dataclass(frozen=True)
class Side:
    """The database or the queries of a city."""

    frames: Sequence[Frame] = ()
    drops: Mapping[str, int] = field(default_factory=dict)
    """How many frames that should be there are not, by reason."""
    absent: Sequence[str] = ()
    """Files without which there are no frames."""


def read_side(folder: Path, has_poses: bool, subtask: str | None, taken: Taken) -> Side:
    """The frames of CITY/query or CITY/database in the order of its tables.

    has_poses: whether it is a city of train_val, on whose tables `taken` works. subtask: the column of
    subtask_index.csv that says which frames are asked for, None to do without. Raises FramesError where tables do not
    parse or do not fit one another.
    """
    tables = ["raw.csv", "postprocessed.csv"] if has_poses else ["seq_info.csv"]
    tables += ["subtask_index.csv"] if subtask else []
    images = images_in(folder / "images")
    absent = [name for name in tables if not (folder / name).is_file()] + ([] if images else ["images/*.jpg"])
    if absent:
        return Side(absent=absent)
    rows = _with_poses(folder, taken) if has_poses else read_table(folder / tables[0], {"key": "text"}, _unknown)
    asked = _asked(folder, subtask, len(rows), tables[-2]) if subtask else [True] * len(rows)
    frames: list[Frame] = []
    drops: Counter[str] = Counter()
    for row, is_asked in zip(rows, asked, strict=True):
        if row.taken and is_asked and row.key in images:
            frames.append(Frame(images[row.key], row.pose))
        elif row.taken and is_asked:
            drops["no image"] += 1
    return Side(frames, drops)


def _unknown(cells: Cells) -> Row:
    return Row(cells["key"], None, True)


def _with_poses(folder: Path, taken: Taken) -> list[Row]:
    """Of each row of postprocessed.csv, with the compass angle that raw.csv has."""
    raw = dict(read_table(folder / "raw.csv", _RAW, _angle))

    def row(cells: Cells) -> Row:
        x_m, y_m = finite(cells["easting"]), finite(cells["northing"])
        if (key := cells["key"]) not in raw:
            raise ValueError(f"raw.csv has no key {key}")
        yaw_rad, is_panorama = raw[key]
        chosen = taken.takes(cells) and (taken.panoramas or not is_panorama)
        return Row(key, Pose.from_xy_yaw(x_m, y_m, yaw_rad), chosen)

    rows = read_table(folder / "postprocessed.csv", taken.columns, row)
    if len(raw) != len(rows):
        raise FramesError(f"{folder}: raw.csv has {len(raw)} keys, postprocessed.csv {len(rows)}, expected as many")
    return rows


def _angle(cells: Cells) -> tuple[str, tuple[float, bool]]:
    """By key the yaw, counter-clockwise from east, and whether it is a panorama."""
    return cells["key"], (math.radians(90.0 - finite(cells["ca"])), _flag(cells["pano"]))


def _asked(folder: Path, subtask: str, rows: int, of: str) -> list[bool]:
    path = folder / "subtask_index.csv"
    asked = read_table(path, {subtask: "True or False"}, lambda row: _flag(row[subtask]))
    if len(asked) != rows:
        raise FramesError(f"{path} has {len(asked)} rows, {of} has {rows}: expected one for each")
    return asked


def _flag(text: str) -> bool:
    if text not in _FLAG:
        raise ValueError(f"{text!r} is neither True nor False")
    return _FLAG[text]
