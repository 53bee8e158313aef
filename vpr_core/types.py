"""Poses, matches and their vocabulary, shared by every layer.

Coordinate frames follow REP-103 and REP-105: `map` is fixed to the world, `base` is the vehicle (x forward, y left,
z up). A transform `T_map_base` takes coordinates in `base` to coordinates in `map`. Time is `stamp_ns`, nanoseconds
since the epoch of the sensor's header stamp.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POSE_COLUMNS = ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")
"""How a pose stands in every CSV file of this package."""


@dataclass(frozen=True)
class Pose:
    """T_map_base: position [m] and unit quaternion (x, y, z, w) of the vehicle in the map frame."""

    position_m: tuple[float, float, float]
    quaternion_xyzw: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    @classmethod
    def from_cells(cls, cells: Sequence[str]) -> Pose | None:
        """A pose from the cells of `POSE_COLUMNS`; None where the first is empty. Raises ValueError on other text."""
        if not cells[0]:
            return None
        x, y, z, qx, qy, qz, qw = map(float, cells)
        return cls((x, y, z), (qx, qy, qz, qw))

    def cells(self) -> list[str]:
        """The pose as text under `POSE_COLUMNS`, rounded to a nanometre, the same on every machine."""
        return [repr(round(float(value), 9)) for value in (*self.position_m, *self.quaternion_xyzw)]

    @classmethod
    def from_xy_yaw(cls, x_m: float, y_m: float, yaw_rad: float) -> Pose:
        return cls((x_m, y_m, 0.0), (0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)))

    @property
    def yaw_rad(self) -> float:
        """Heading about z, counter-clockwise from the map's x axis, in (-pi, pi]."""
        x, y, z, w = self.quaternion_xyzw
        return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite([*self.position_m, *self.quaternion_xyzw]).all())


class Reason(enum.IntEnum):
    """Why a match is accepted or not. The values are those of vpr_distill_msgs/PlaceMatch."""

    ACCEPTED = 0
    BELOW_SIMILARITY = 1
    NOT_BEST = 2
    BELOW_TARGET = 3
    AMBIGUOUS = 4
    OFF_MAP = 5
    NOT_VERIFIED = 6
    STALE = 7


@dataclass(frozen=True)
class Match:
    """One place of the map proposed for one query."""

    place_id: int
    session: str
    place_stamp_ns: int
    pose: Pose | None
    """Where the vehicle stood when the place was recorded; None in a map without poses."""
    similarity: float
    """Cosine of the two descriptors, in [-1, 1]."""
    reason: Reason
    probability: float | None = None
    """That this place is right, in [0, 1]; None where the map is not calibrated."""
    inliers: int | None = None  # points that its picture shares with the query's, where places were re-ranked

    @property
    def accepted(self) -> bool:
        return self.reason is Reason.ACCEPTED


@dataclass(frozen=True)
class Recognition:
    """What one query gave: its matches, most similar first."""

    stamp_ns: int
    matches: tuple[Match, ...]
    descriptor: np.ndarray
    """[D] float32, unit length."""
    off_map_probability: float | None = None
    """That the map has no place for the query, in [0, 1]; None where that is not calibrated."""
    light: tuple[float, ...] = ()
    """Of the image, see `retrieval.light`; empty of a cloud, and where the map is not calibrated."""

    @property
    def accepted(self) -> Match | None:
        """The match to believe, or None where every one is refused."""
        return next((match for match in self.matches if match.accepted), None)
