"""Where the vehicle was at a moment, from poses that were recorded at others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.types import Pose

MAX_GAP_NS = 500_000_000
"""Poses farther apart in time are not interpolated."""
MAX_SPEED_MPS = 50.0
_JITTER_M = 1.0
"""Two poses that are nearer than this are no jump, however small the time between their stamps."""


class Track(Protocol):
    """Poses of a drive, asked for by time."""

    def at(self, stamp_ns: int) -> Pose | str:
        """T_map_base at the stamp, or the reason why there is none."""
        ...

    @property
    def jumps_ns(self) -> np.ndarray:
        """Sorted stamps before which the poses jumped."""
        ...


@dataclass(frozen=True)
class PoseTrack:
    """Poses of one source by sorted stamps; between two that are too far apart for any vehicle, nothing is known."""

    stamps_ns: np.ndarray
    poses: list[Pose]
    max_speed_mps: float = MAX_SPEED_MPS
    max_gap_ns: int = MAX_GAP_NS
    jitter_m: float = _JITTER_M

    def at(self, stamp_ns: int) -> Pose | str:
        pose = interpolate(self.stamps_ns, self.poses, stamp_ns, self.max_gap_ns)
        if pose is None:
            return f"no two poses around it within {self.max_gap_ns / 1e9:g} s"
        right = int(np.searchsorted(self.stamps_ns, stamp_ns))
        # A pose on its stamp may itself be the outlier, so both of its neighbours have to agree with it.
        last = right + 1 if self.stamps_ns[right] == stamp_ns else right
        return "the poses around it jump" if self._jumps[max(right - 1, 0) : last].any() else pose

    @property
    def jumps_ns(self) -> np.ndarray:
        return self.stamps_ns[1:][self._jumps]

    @cached_property
    def _jumps(self) -> np.ndarray:
        """[N - 1] whether the vehicle cannot have gone from a pose to the next."""
        positions_m = np.array([pose.position_m for pose in self.poses], float).reshape(-1, 3)
        step_m = np.linalg.norm(np.diff(positions_m, axis=0), axis=1)
        return step_m > np.maximum(np.diff(self.stamps_ns) / 1e9 * self.max_speed_mps, self.jitter_m)


def track_of(poses: dict[int, Pose], max_speed_mps: float) -> PoseTrack:
    """The track of poses by their stamps, in any order."""
    stamps = sorted(poses)
    return PoseTrack(np.array(stamps, np.int64), [poses[stamp] for stamp in stamps], max_speed_mps)


def interpolate(stamps_ns: np.ndarray, poses: list[Pose], stamp_ns: int, max_gap_ns: int = MAX_GAP_NS) -> Pose | None:
    """Pose at `stamp_ns` between its two neighbours, linear in position and normalised linear in rotation.

    None where the stamp lies outside the poses or between two that are more than `max_gap_ns` apart.
    """
    right = int(np.searchsorted(stamps_ns, stamp_ns))
    if right < len(stamps_ns) and stamps_ns[right] == stamp_ns:
        return poses[right]
    if right in (0, len(stamps_ns)) or stamps_ns[right] - stamps_ns[right - 1] > max_gap_ns:
        return None
    before, after = poses[right - 1], poses[right]
    weight = float(stamp_ns - stamps_ns[right - 1]) / float(stamps_ns[right] - stamps_ns[right - 1])
    position = (1 - weight) * np.array(before.position_m) + weight * np.array(after.position_m)
    q0, q1 = np.array(before.quaternion_xyzw), np.array(after.quaternion_xyzw)
    rotation = (1 - weight) * q0 + weight * (q1 if q0 @ q1 >= 0 else -q1)
    rotation /= np.linalg.norm(rotation)
    return Pose(tuple(map(float, position)), tuple(map(float, rotation)))  # type: ignore[arg-type]


def compose(T_a_b: Pose, T_b_c: Pose) -> Pose:
    """T_a_c."""
    first, second = Rotation.from_quat(T_a_b.quaternion_xyzw), Rotation.from_quat(T_b_c.quaternion_xyzw)
    position_m = np.array(T_a_b.position_m) + first.apply(T_b_c.position_m)
    return _pose(position_m, first * second)


def inverse(T_a_b: Pose) -> Pose:
    """T_b_a."""
    rotation = Rotation.from_quat(T_a_b.quaternion_xyzw).inv()
    return _pose(-rotation.apply(T_a_b.position_m), rotation)


def _pose(position_m: np.ndarray, rotation: Rotation) -> Pose:
    quaternion = rotation.as_quat(canonical=True)
    return Pose(tuple(map(float, position_m)), tuple(map(float, quaternion)))  # type: ignore[arg-type]


def pose_from_message(message: Any) -> Pose:
    """geometry_msgs/Pose to Pose."""
    p, q = message.position, message.orientation
    return Pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def pose_from_stamped(message: Any) -> Pose:
    """nav_msgs/Odometry, geometry_msgs/PoseStamped or PoseWithCovarianceStamped to Pose."""
    # PoseStamped has the position one level further up than the two with a covariance.
    return pose_from_message(message.pose.pose if hasattr(message.pose, "pose") else message.pose)


def pose_from_transform(message: Any) -> Pose:
    """geometry_msgs/Transform to Pose."""
    p, q = message.translation, message.rotation
    return Pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def has_rotation(pose: Pose) -> bool:
    """Whether everything is finite and the quaternion has a length; a message never filled in has none."""
    return pose.is_finite and any(pose.quaternion_xyzw)
