"""Poses in a map's frame from odometry that drifts, and from the poses that a localizer believed in along the way.

A robot has no ground truth, but before and after a place that it did not recognise it mostly knew where it was: that
pose, carried on along odometry, says where the unrecognised image was taken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.data.poses import MAX_SPEED_MPS, PoseTrack, compose, has_rotation, inverse, pose_from_stamped, track_of
from vpr_core.data.stamps import StampOrder, header_stamp_ns
from vpr_core.errors import BagError
from vpr_core.types import Pose

REACH_M = 50.0
"""How far a believed pose is carried: odometry that drifts by 2 % is then 1 m off."""
AGREE_M = 10.0
"""Two believed poses agree where, the way between them taken out, they are so near: what counts as one place."""


@dataclass(frozen=True)
class Anchor:
    """A moment at which the vehicle's pose in the map is known."""

    way_m: float
    """Driven until then."""
    T_map_odom: Pose


@dataclass(frozen=True)
class AnchoredTrack:
    """Odometry moved to the map by the nearest anchor along the way."""

    odometry: PoseTrack
    way_m: np.ndarray
    """[N] driven until each pose of the odometry."""
    anchors: list[Anchor]

    def at(self, stamp_ns: int) -> Pose | str:
        T_odom_base = self.odometry.at(stamp_ns)
        if isinstance(T_odom_base, str):
            return T_odom_base
        here_m = np.interp(stamp_ns, self.odometry.stamps_ns, self.way_m)
        nearest = min(self.anchors, key=lambda anchor: abs(anchor.way_m - here_m))
        if abs(nearest.way_m - here_m) > REACH_M:
            return f"no believed pose within {REACH_M:g} m of way"
        return compose(nearest.T_map_odom, T_odom_base)

    @property
    def jumps_ns(self) -> np.ndarray:
        return self.odometry.jumps_ns


class AnchoredPoses:
    """Takes a topic of believed poses in the map's frame, such as /localizer/pose, and one of odometry."""

    def __init__(
        self,
        believed: str,
        odometry: str,
        drops: Counter[str],
        irregular: Counter[str],
        max_speed_mps: float = MAX_SPEED_MPS,
    ) -> None:
        self._names, self._max_speed_mps = (believed, odometry), max_speed_mps
        self._drops = drops
        self._orders = {name: StampOrder(name, drops, irregular) for name in self._names}
        self._poses: dict[str, dict[int, Pose]] = {name: {} for name in self._names}
        self._used = 0
        self.map_frame = self.base_frame = ""

    @property
    def card(self) -> dict[str, Any]:
        believed, odometry = self._names
        return {"source": "anchored", "believed": believed, "odometry": odometry, "anchors": self._used}

    def take(self, topic: str, message: Any) -> None:
        pose, stamp_ns = pose_from_stamped(message), header_stamp_ns(message)
        if not has_rotation(pose):
            self._drops[f"{topic}: pose is not finite, or its rotation is zero"] += 1
        elif self._orders[topic].accept(stamp_ns):
            self._poses[topic][stamp_ns] = pose
            if topic == self._names[0]:
                self.map_frame = self.map_frame or message.header.frame_id
            else:
                self.base_frame = self.base_frame or getattr(message, "child_frame_id", "").lstrip("/")

    def track(self) -> AnchoredTrack:
        believed, odometry = self._names
        track = track_of(self._poses[odometry], self._max_speed_mps)
        positions_m = np.array([pose.position_m for pose in track.poses]).reshape(-1, 3)
        way_m = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(positions_m, axis=0), axis=1))])
        anchors = self._anchors(track, way_m) if len(track.poses) else []
        self._used = len(anchors)
        if not anchors:
            raise BagError(
                f"{believed} holds {len(self._poses[believed])} poses and {odometry} {len(track.poses)}: no two poses "
                "agree by the odometry between them, so nothing says where the vehicle was; name a topic of poses in "
                "the map's frame"
            )
        return AnchoredTrack(track, way_m, anchors)

    def _anchors(self, odometry: PoseTrack, way_m: np.ndarray) -> list[Anchor]:
        """The believed poses that the one before or the one after agrees with."""
        known = []
        for stamp_ns, T_map_base in sorted(self._poses[self._names[0]].items()):
            T_odom_base = odometry.at(stamp_ns)
            if isinstance(T_odom_base, Pose):
                T_map_odom = compose(T_map_base, inverse(T_odom_base))
                known.append((float(np.interp(stamp_ns, odometry.stamps_ns, way_m)), T_odom_base, T_map_odom))
        agree = [
            _apart_m(compose(a[2], b[1]), compose(b[2], b[1])) <= AGREE_M
            for a, b in zip(known[:-1], known[1:], strict=True)
        ]
        kept = [before or after for before, after in zip([False, *agree], [*agree, False], strict=True)]
        if alone := len(kept) - sum(kept):
            self._drops[f"{self._names[0]}: alone in its opinion"] += alone
        return [Anchor(way, T) for (way, _, T), is_kept in zip(known, kept, strict=True) if is_kept]


def _apart_m(first: Pose, second: Pose) -> float:
    return float(np.linalg.norm(np.subtract(first.position_m, second.position_m)[:2]))
