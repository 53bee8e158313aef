"""The local features of all places of a map, as one file in the map's folder.

place_map/features.bin
  one line of JSON, filled up with blanks   schema, map hash, features, weights, size, sections, sha256 of the rest
  counts        uint32 [N]         features of each place
  points        uint16 [T, 2]      x and y in 1/64 px
  scores        float16 [T]
  descriptors   uint8 or float16 [T, D]

It is mapped into memory, so that only the places that are looked at are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import MapError
from vpr_core.retrieval.local_features import FeatureKind, LocalFeatures, load_features, reduced
from vpr_core.retrieval.map_arrays import read_map_arrays, write_map_arrays
from vpr_core.retrieval.place_map import PlaceMap

SCHEMA = 1
FILE = "features.bin"
MADE_BY = "vpr-distill map --features sift"
_STEPS = 64
"""Of a pixel: LONGEST_PX of them fit in 16 bits."""

Progress = Callable[[int], object]
"""Called with the number of frames just done."""


@dataclass(frozen=True)
class PlaceFeatures:
    """The features of a map's places, read as they are asked for; the number of a place is its row."""

    kind: str
    """One of `local_features.NAMES`."""
    weights: str
    """File or folder of the weights where the map was made; "" for features without."""
    weights_hash: str
    size: tuple[int, int]
    """Width and height of the images that they were taken of [px]."""
    are_bits: bool
    starts: np.ndarray
    """int64 [N + 1]: where the features of each place begin, and the end of the last."""
    points: np.ndarray
    scores: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, place_id: int) -> LocalFeatures:
        rows = slice(int(self.starts[place_id]), int(self.starts[place_id + 1]))
        points = self.points[rows].astype(np.float32) / _STEPS
        return LocalFeatures(self.size, points, self.scores[rows], self.descriptors[rows], self.are_bits)

    @property
    def bytes_per_place(self) -> float:
        """On the disk, and in memory once it was looked at."""
        arrays = (self.points, self.scores, self.descriptors)
        return sum(array.nbytes for array in arrays) / max(len(self), 1)

    @classmethod
    def load(cls, folder: str | Path, map_hash: str) -> PlaceFeatures:
        """Read those of the map in a folder; raises MapError where they are absent, damaged or of another map."""
        path = Path(folder) / FILE
        absent, otherwise = "no local features to re-rank with", ", or set rerank to 0"
        header, at = read_map_arrays(path, SCHEMA, map_hash, absent, MADE_BY, otherwise)
        counts, *arrays = _mapped(path, at, _sections(header))
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        width, height = header["size"]
        told = (header["features"], header["weights"], header["weights_hash"], (width, height), header["are_bits"])
        return cls(*told, starts, *arrays)


def store_features(
    folder: str | Path, frames: str | Path, spec: str, device: str = "cpu", progress: Progress | None = None
) -> PlaceFeatures:
    """Take the features of the drive that the map in `folder` was just made of, and store them there.

    spec: see `local_features.load_features`. Raises VprError as that does, MapError where the map is none of these
    frames or of a LiDAR.
    """
    place_map, drive, kind = PlaceMap.load(folder), Frames.load(frames), load_features(spec, device)
    if place_map.image_size is None:
        raise MapError(f"{folder} is a map of clouds: local features are of images, which a camera bundle has")
    if [place.stamp_ns for place in place_map.places] != [frame.stamp_ns for frame in drive.frames]:
        raise MapError(f"{folder} was not made of {drive.folder} alone: their stamps differ")
    found = []
    for index in range(len(drive)):
        found.append(kind.of(drive.image(index), place_map.image_size))
        if progress:
            progress(1)
    write_features(folder, place_map.hash, kind, place_map.image_size, found)
    return PlaceFeatures.load(folder, place_map.hash)


def write_features(
    folder: str | Path, map_hash: str, kind: FeatureKind, image_size: tuple[int, int], found: Sequence[LocalFeatures]
) -> Path:
    """Write the features of a map's places, in their order; an older file stays whole until all is on the disk."""
    arrays = packed(found)
    body = b"".join(array.tobytes() for array in arrays)
    descriptors = arrays[-1]
    header = {
        "schema": SCHEMA,
        "map_hash": map_hash,
        "features": kind.name,
        "weights": str(kind.weights.resolve()) if kind.weights else "",
        "weights_hash": kind.weights_hash,
        "size": list(reduced(image_size)),
        "are_bits": found[0].are_bits,
        "descriptors": [descriptors.dtype.name, descriptors.shape[1]],
        "places": len(found),
        "points": len(descriptors),
    }
    return write_map_arrays(Path(folder) / FILE, header, body)


def packed(found: Sequence[LocalFeatures]) -> list[np.ndarray]:
    """Counts, points, scores and descriptors of several images as they are stored."""
    points = np.concatenate([features.points for features in found])
    return [
        np.array([len(features) for features in found], np.uint32),
        np.clip(np.round(points * _STEPS), 0, 65535).astype(np.uint16),
        np.concatenate([features.scores for features in found]).astype(np.float16),
        np.concatenate([features.descriptors for features in found]),
    ]


Section = tuple[tuple[int, ...], np.dtype[Any]]


def _sections(header: dict[str, Any]) -> list[Section]:
    name, width = header["descriptors"]
    total = header["points"]
    return [
        ((header["places"],), np.dtype(np.uint32)),
        ((total, 2), np.dtype(np.uint16)),
        ((total,), np.dtype(np.float16)),
        ((total, width), np.dtype(name)),
    ]


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape)) * dtype.itemsize


def _mapped(path: Path, at: int, sections: list[Section]) -> Iterator[np.ndarray]:
    for shape, dtype in sections:
        size = _size(shape, dtype)
        yield np.memmap(path, dtype, "r", at, shape) if size else np.zeros(shape, dtype)
        at += size


def load_kind(folder: str | Path, stored: PlaceFeatures, device: str = "cpu") -> FeatureKind:
    """The features of a map, ready to be taken of a query.

    Weights are looked for in the map's folder first, under the name that they had, and then where they were when the
    map was made. Raises MapError where they are in neither, or are others; VprError as `load_features`.
    """
    if not stored.weights:
        return load_features(stored.kind, device)
    there = Path(stored.weights)
    beside = Path(folder) / there.name
    path = beside if beside.exists() else there
    if not path.exists():
        raise MapError(
            f"the weights of {stored.kind} are neither {beside} nor {there}: copy them into the map's folder"
        )
    kind = load_features(f"{stored.kind}={path}", device)
    if kind.weights_hash != stored.weights_hash:
        raise MapError(
            f"{path} holds other weights ({kind.weights_hash}) than those that the map's {stored.kind} were made with "
            f"({stored.weights_hash}): take those, or make the features again with `vpr-distill map --features`"
        )
    return kind
