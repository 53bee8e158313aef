"""What a map consists of: its sessions, and what each of them takes on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vpr_core.data.mounting import extrinsics
from vpr_core.errors import MapError
from vpr_core.retrieval import place_clouds, place_features
from vpr_core.retrieval.other_way import SESSION_ENDING
from vpr_core.retrieval.place_clouds import AT_BASE, PlaceClouds
from vpr_core.retrieval.place_features import PlaceFeatures
from vpr_core.retrieval.place_map import Place, PlaceMap, places_csv
from vpr_core.types import Pose

_CLOUD_POINT_BYTES = 6


@dataclass(frozen=True)
class Stored:
    """A map's folder as it was read, with what lies beside the places."""

    folder: Path
    place_map: PlaceMap
    clouds: PlaceClouds | None = None
    features: PlaceFeatures | None = None
    refused: tuple[str, ...] = ()
    """Why a file beside the places is not taken: damaged, or of the map that was there before."""

    @classmethod
    def load(cls, folder: str | Path) -> Stored:
        """Raises MapError where the map is absent or damaged."""
        folder = Path(folder)
        place_map = PlaceMap.load(folder)
        refused: list[str] = []
        clouds = _beside(folder / place_clouds.FILE, PlaceClouds.load, place_map.hash, refused)
        features = _beside(folder / place_features.FILE, PlaceFeatures.load, place_map.hash, refused)
        return cls(folder, place_map, clouds, features, tuple(refused))

    @property
    def has_other_way(self) -> bool:
        """Whether it has places as a vehicle sees them that comes the other way."""
        return any(SESSION_ENDING in place.session for place in self.place_map.places)

    def lidar_mounting(self, card: dict[str, Any]) -> Pose:
        """T_base_lidar of its clouds; without those as the card of a drive's frames tells, or where the poses are.

        Raises FramesError on a bad card.
        """
        return self.clouds.options.T_base_lidar if self.clouds else extrinsics(card, "lidar") or AT_BASE


_Part = TypeVar("_Part")


def _beside(path: Path, load: Callable[[Path, str], _Part], map_hash: str, refused: list[str]) -> _Part | None:
    """What a file holds; None where it is not there, or where it cannot be taken, which is told to `refused`."""
    if not path.is_file():
        return None
    try:
        return load(path.parent, map_hash)
    except MapError as error:
        refused.append(str(error))
        return None


@dataclass(frozen=True)
class Session:
    """One drive of a map; sizes in bytes."""

    name: str
    places: int
    first_ns: int
    last_ns: int
    length_m: float
    """Way along its places in x, y and z; NaN without poses."""
    descriptors: int
    clouds: int
    features: int
    poses: int
    """Its lines of places-<hash>.csv."""

    def row(self) -> dict[str, Any]:
        """As a row of a table, with dates in UTC."""
        days = [
            str(np.datetime64(stamp_ns, "ns").astype("datetime64[m]")) for stamp_ns in (self.first_ns, self.last_ns)
        ]
        return {
            "session": self.name,
            "places": self.places,
            "length_m": None if math.isnan(self.length_m) else round(self.length_m),
            "first_utc": days[0],
            "last_utc": days[1],
            "descriptors_mib": mib(self.descriptors),
            "clouds_mib": mib(self.clouds) if self.clouds else None,
            "features_mib": mib(self.features) if self.features else None,
        }


def mib(size: int) -> float:
    """Bytes in MiB, to the KiB."""
    return round(size / 2**20, 3)


def sessions_of(stored: Stored) -> list[Session]:
    """The sessions of a map in the order of their first places."""
    rows: dict[str, list[int]] = {}
    for row, place in enumerate(stored.place_map.places):
        rows.setdefault(place.session, []).append(row)
    each = place_bytes(stored)
    return [_session(name, stored, of, each[of].sum(axis=0)) for name, of in rows.items()]


def _session(name: str, stored: Stored, rows: list[int], sizes: np.ndarray) -> Session:
    places = [stored.place_map.places[row] for row in rows]
    stamps = [place.stamp_ns for place in places]
    return Session(name, len(rows), min(stamps), max(stamps), _length_m(places), *map(int, sizes))


def _length_m(places: list[Place]) -> float:
    points = [place.pose.position_m for place in places if place.pose is not None]
    return sum(map(math.dist, points, points[1:])) if len(points) == len(places) else math.nan


def place_bytes(stored: Stored) -> np.ndarray:
    """int64 [N, 4]: bytes of each place's descriptor, cloud, local features and line of places-<hash>.csv."""
    descriptors = stored.place_map.descriptors
    sizes = np.zeros((len(descriptors), 4), np.int64)
    sizes[:, 0] = descriptors.shape[1] * descriptors.itemsize
    if stored.clouds is not None:
        sizes[:, 1] = np.diff(stored.clouds.starts) * _CLOUD_POINT_BYTES
    if stored.features is not None:
        arrays = (stored.features.points, stored.features.scores, stored.features.descriptors)
        sizes[:, 2] = np.diff(stored.features.starts) * sum(array.strides[0] for array in arrays)
    sizes[:, 3] = [len(line.encode()) + 1 for line in places_csv(stored.place_map.places).splitlines()[1:]]
    return sizes
