"""Poses of a running odometry: sorted, checked, and interpolated at the stamps of other sensors."""

from __future__ import annotations

import bisect
import math

import numpy as np

from vpr_core.data.poses import MAX_SPEED_MPS, PoseTrack
from vpr_core.errors import InputError
from vpr_core.types import Pose

_KEPT_NS = 10_000_000_000
# A message that comes late belongs between those before it; one this much older means that the clock went back.
_LATE_NS = 1_000_000_000
# A pose off by far that lasts no longer is an outlier, and what follows may go on from the last pose before it.
_OUTLIER_S = 1.0


class LivePoses:
    """The last 10 s of believed poses T_map_base.

    A pose is believed where it lies within `max_jump_m` of the one before it, plus what 50 m/s would have covered
    meanwhile. After one that does not, `lost` holds until poses come back to where the believed ones end within a
    second (an outlier), or `restart` is called.
    """

    def __init__(self, max_jump_m: float) -> None:
        self._max_jump_m = max_jump_m
        self._stamps_ns: list[int] = []
        self._poses: list[Pose] = []
        self._last: tuple[int, Pose] | None = None
        self._jump = ""
        self.times_clock_went_back = 0

    @property
    def lost(self) -> str:
        """Where the poses jumped and from where; empty where they are believed."""
        return self._jump

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest believed pose; -1 before the first."""
        return self._stamps_ns[-1] if self._stamps_ns else -1

    def restart(self) -> None:
        """Believe the next pose wherever it is; poses before it are forgotten."""
        self._stamps_ns.clear()
        self._poses.clear()
        self._last, self._jump = None, ""

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """Take a pose in. Raises InputError where it is not believed: kinds "stamp", "pose", "repeated", "jump"."""
        if stamp_ns <= 0:
            raise InputError("odometry has a header stamp of zero", "stamp")
        if not pose.is_finite or abs(np.linalg.norm(pose.quaternion_xyzw) - 1) > 0.01:
            raise InputError(f"{pose} is no pose: expected finite numbers and a rotation of length 1", "pose")
        if self._stamps_ns and stamp_ns < self._stamps_ns[-1] - _LATE_NS:
            self._begin_again()
        place = bisect.bisect_left(self._stamps_ns, stamp_ns)
        if place < len(self._stamps_ns) and self._stamps_ns[place] == stamp_ns:
            raise InputError(f"odometry has the stamp {stamp_ns} ns twice", "repeated")
        self._check_distance(stamp_ns, pose)
        self._stamps_ns.insert(place, stamp_ns)
        self._poses.insert(place, pose)
        if place == len(self._poses) - 1:
            self._last = (stamp_ns, pose)
        self._forget()

    def at(self, stamp_ns: int) -> Pose | str:
        """The pose at a stamp, or the reason why there is none, as `vpr_core.data.poses.PoseTrack` finds it."""
        place = bisect.bisect_left(self._stamps_ns, stamp_ns)
        around = slice(max(place - 2, 0), place + 2)  # whatever it looks at
        if not self._stamps_ns[around]:
            return "no pose is known"
        return PoseTrack(np.array(self._stamps_ns[around], np.int64), self._poses[around]).at(stamp_ns)

    def _begin_again(self) -> None:
        """Stamps of before and after the clock went back must not mix; the last position still tells a jump."""
        self._stamps_ns.clear()
        self._poses.clear()
        self.times_clock_went_back += 1

    def _check_distance(self, stamp_ns: int, pose: Pose) -> None:
        if self._last is None:
            return
        last_ns, last = self._last
        seconds = abs(stamp_ns - last_ns) / 1e9 if self._stamps_ns else 0.0
        if self._jump:
            seconds = min(seconds, _OUTLIER_S)
        away_m = math.dist(pose.position_m, last.position_m)
        if away_m > self._max_jump_m + MAX_SPEED_MPS * seconds:
            if not self._jump:
                self._jump = f"from {_rounded(last)} to {_rounded(pose)}, {away_m:.1f} m in {seconds:.2f} s"
            raise InputError(f"odometry jumped {self._jump}", "jump")
        self._jump = ""

    def _forget(self) -> None:
        keep = bisect.bisect_left(self._stamps_ns, self._stamps_ns[-1] - _KEPT_NS)
        del self._stamps_ns[:keep], self._poses[:keep]


def _rounded(pose: Pose) -> str:
    return "({:.1f}, {:.1f}, {:.1f})".format(*pose.position_m)
