"""A frames folder: the keyframes of one drive, as images, clouds and poses that belong together.

frames/
  card.json      schema, what was recorded, counts, drops with reasons, synchronisation error
  frames.csv     one line a frame; the columns of `COLUMNS`, and `query` where not every frame is one
  images/        000000.jpg ... the camera's own bytes
  clouds/        000000.npy ... float32 [N, 4]: x, y, z in metres in the LiDAR frame, intensity
                 or a data set's own files of numbers, as `cloud_layout` of card.json says
  labels/        000000.png ... one class a pixel, where the drive has them
  card.png       the way driven, and what was dropped where
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.images import decode_label
from vpr_core.errors import FramesError, InputError
from vpr_core.files import read_manifest, write_json
from vpr_core.preprocess import decode_image
from vpr_core.types import POSE_COLUMNS, Pose

SCHEMA = 1
MADE_BY = "vpr-distill ingest"
KEYS = ("session", "bag", "map_frame", "image_size", "counts", "drops")
COLUMNS = ("index", "stamp_ns", "image", "cloud", "cloud_stamp_ns", *POSE_COLUMNS, "label")
_QUERY = "query"
_ACCEPTED = (COLUMNS[:-1], COLUMNS, (*COLUMNS, _QUERY))


@dataclass(frozen=True)
class Frame:
    """One keyframe. Paths are relative to the folder; what was not recorded is None."""

    index: int
    stamp_ns: int
    image: str | None
    cloud: str | None = None
    cloud_stamp_ns: int | None = None
    pose: Pose | None = None
    """T_map_base at `stamp_ns`."""
    label: str | None = None
    query: bool = True
    """Whether evaluation asks where it was taken; every frame is a place of the map in any case."""


@dataclass(frozen=True)
class Frames:
    """A frames folder that was read and checked."""

    folder: Path
    card: dict[str, Any]
    frames: tuple[Frame, ...]

    @classmethod
    def load(cls, folder: str | Path) -> Frames:
        """Read and check a folder; raises FramesError naming the first file that is absent or does not fit."""
        folder = Path(folder)
        card = read_manifest(folder, "card.json", SCHEMA, FramesError, MADE_BY, KEYS)
        frames = _read_csv(folder / "frames.csv")
        if len(frames) != card["counts"]["frames"]:
            raise FramesError(
                f"{folder}/frames.csv has {len(frames)} frames, card.json says {card['counts']['frames']}"
            )
        for frame in frames:
            for name in (frame.image, frame.cloud, frame.label):
                if name and not (folder / name).is_file():
                    again = card.get("made_by", MADE_BY)
                    raise FramesError(f"{folder / name} is missing (frame {frame.index}); run `{again}` again")
        return cls(folder, card, frames)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def session(self) -> str:
        """Name of the drive."""
        return self.card["session"]

    @property
    def map_frame(self) -> str:
        """Coordinate frame of the poses; empty where there are none."""
        return self.card["map_frame"]

    @property
    def area(self) -> tuple[str, str]:
        """Drives of one area have their poses in one map frame; drives of different areas have no place in common."""
        return self.card.get("area") or "", self.map_frame

    @property
    def has_images(self) -> bool:
        return self.card["image_size"] is not None

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of every image [px]; raises FramesError where the drive has no camera."""
        if not self.has_images:
            raise FramesError(f"{self.folder} has no images; ingest the bag with --image_topic")
        width, height = self.card["image_size"]
        return width, height

    @property
    def has_poses(self) -> bool:
        return len(self) > 0 and all(frame.pose is not None for frame in self.frames)

    @property
    def has_labels(self) -> bool:
        return len(self) > 0 and all(frame.label is not None for frame in self.frames)

    @cached_property
    def queries(self) -> np.ndarray:
        """bool [N]: which frames evaluation asks for, such as those in a data set's test area; all by default."""
        return np.array([frame.query for frame in self.frames], dtype=bool)

    @property
    def asked(self) -> Frames:
        """The drive with its queries alone."""
        return replace(self, frames=tuple(frame for frame in self.frames if frame.query))

    @cached_property
    def positions_m(self) -> np.ndarray:
        """[N, 3] positions in the map frame; raises FramesError in a folder without poses."""
        poses = [frame.pose for frame in self.frames if frame.pose is not None]
        if len(poses) != len(self):
            raise FramesError(f"{self.folder} has no poses; ingest the bag with --pose_topic")
        return np.array([pose.position_m for pose in poses], dtype=np.float64).reshape(-1, 3)

    def image(self, index: int) -> np.ndarray:
        """RGB uint8 [H, W, 3] of frame `index`."""
        name = self.frames[index].image
        if name is None:
            raise FramesError(f"frame {index} of {self.folder} has no image")
        try:
            return decode_image((self.folder / name).read_bytes())
        except InputError as error:
            raise FramesError(f"{self.folder / name} is damaged ({error}); run `{MADE_BY}` again") from error

    def cloud(self, index: int) -> np.ndarray:
        """float32 [N, 4] (x, y, z [m] in the LiDAR frame, intensity) of frame `index`."""
        name = self.frames[index].cloud
        if name is None:
            raise FramesError(f"frame {index} of {self.folder} has no cloud")
        if Path(name).suffix == ".npy":
            return np.load(self.folder / name)
        return raw_cloud(self.folder / name, self.card.get("cloud_layout"))

    def label(self, index: int) -> np.ndarray:
        """uint8 [H, W], the class of each pixel of frame `index`."""
        name = self.frames[index].label
        if name is None:
            raise FramesError(f"frame {index} of {self.folder} has no label; ingest the bag with --label_topic")
        try:
            return decode_label((self.folder / name).read_bytes())
        except InputError as error:
            raise FramesError(f"{self.folder / name} is damaged ({error}); run `{MADE_BY}` again") from error


def raw_cloud(path: Path, layout: dict[str, Any] | None) -> np.ndarray:
    """float32 [N, 4] (x, y, z, intensity) of a file that holds nothing but its points, one after the other.

    layout: {"dtype": "float64", "columns": 3}, how a number is written and how many make a point; the fourth is the
    intensity, 0 where there are three. Raises FramesError where the file does not hold whole points.
    """
    if layout is None:
        raise FramesError(f"{path} is no .npy file, and card.json has no cloud_layout that says how to read it")
    dtype, columns = np.dtype(layout["dtype"]), int(layout["columns"])
    data = path.read_bytes()
    if not data or len(data) % (dtype.itemsize * columns):
        raise FramesError(f"{path} has {len(data)} bytes, expected points of {columns} {dtype} numbers each")
    points = np.frombuffer(data, dtype).reshape(-1, columns)
    cloud = np.zeros((len(points), 4), np.float32)
    cloud[:, : min(columns, 4)] = points[:, :4]
    return cloud


def write_index(folder: Path, frames: Iterable[Frame], card: dict[str, Any]) -> None:
    """Write frames.csv and card.json; images and clouds lie in the folder already."""
    frames = list(frames)
    with (folder / "frames.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if all(frame.query for frame in frames):
            writer.writerow(COLUMNS)
            writer.writerows(_row(frame) for frame in frames)
        else:
            writer.writerow((*COLUMNS, _QUERY))
            writer.writerows([*_row(frame), int(frame.query)] for frame in frames)
    write_json(folder / "card.json", {"schema": SCHEMA, **card})


def _row(frame: Frame) -> list[Any]:
    pose = frame.pose.cells() if frame.pose else [""] * len(POSE_COLUMNS)
    cloud_stamp = "" if frame.cloud_stamp_ns is None else frame.cloud_stamp_ns
    return [frame.index, frame.stamp_ns, frame.image or "", frame.cloud or "", cloud_stamp, *pose, frame.label or ""]


def _read_csv(path: Path) -> tuple[Frame, ...]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) not in _ACCEPTED:
                raise FramesError(f"{path} has columns {reader.fieldnames}, expected {list(COLUMNS)}")
            return tuple(_frame(row) for row in reader)
    except FileNotFoundError:
        raise FramesError(f"{path} is missing; run `{MADE_BY}` again") from None
    except (ValueError, TypeError) as error:
        raise FramesError(f"{path} does not parse ({error}); run `{MADE_BY}` again") from error


def _frame(row: dict[str, str]) -> Frame:
    return Frame(
        index=int(row["index"]),
        stamp_ns=int(row["stamp_ns"]),
        image=row["image"] or None,
        cloud=row["cloud"] or None,
        cloud_stamp_ns=int(row["cloud_stamp_ns"]) if row["cloud_stamp_ns"] else None,
        pose=Pose.from_cells([row[name] for name in POSE_COLUMNS]),
        label=row.get("label") or None,
        query=_is_query(row.get(_QUERY, "1")),
    )


def _is_query(cell: str | None) -> bool:
    if cell not in ("0", "1"):
        raise ValueError(f"{_QUERY} is {cell!r}, expected 0 or 1")
    return cell == "1"
