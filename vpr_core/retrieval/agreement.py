"""N of the last M answers agree: what to wait for before something is told to the outside that is hard to take back."""

from __future__ import annotations

import math
from collections import deque

from vpr_core.data.poses import compose, inverse
from vpr_core.errors import VprError
from vpr_core.types import Pose

_TURNED = Pose((0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))


class AgreementGate:
    """Counts answers, single-frame or filtered, that say the same place once odometry is taken out.

    needed, of: so many of the last so many answers have to agree with the newest, itself one of them.
    radius_m, heading_rad: how near two answers are, both moved on to now, to agree [m], [rad].
    spacing_m, spacing_rad: of travel or turn between two answers that both count; a standing vehicle's answers count
        once.
    any_heading: answers may have the vehicle the other way round, all of them or none.
    Raises VprError where it could never open.
    """

    def __init__(
        self,
        needed: int = 3,
        of: int = 5,
        *,
        radius_m: float = 5.0,
        heading_rad: float = math.pi / 4,
        spacing_m: float = 2.0,
        spacing_rad: float = 0.35,
        any_heading: bool = False,
    ) -> None:
        if not 1 <= needed <= of:
            raise VprError(f"agreement of {needed} of the last {of} answers was asked for, expected 1 <= needed <= of")
        self.needed, self.radius_m, self.heading_rad = needed, radius_m, heading_rad
        self.spacing_m, self.spacing_rad = spacing_m, spacing_rad
        self._views = (None, _TURNED) if any_heading else (None,)
        self._kept: deque[tuple[Pose | None, Pose]] = deque(maxlen=of)

    def clear(self) -> None:
        """Forget all answers, as after odometry began again."""
        self._kept.clear()

    def add(self, answer: Pose | None, odometry: Pose) -> bool:
        """Whether enough answers agree with this one.

        answer: T_map_base, or None where the frame had none to believe; odometry: T_odom_base at the same stamp.
        """
        if not self._kept or self._has_moved(inverse(self._kept[-1][1]), odometry):
            self._kept.append((answer, odometry))
        return answer is not None and self._agreeing(answer, odometry) >= self.needed

    def _has_moved(self, T_base_odom: Pose, odometry: Pose) -> bool:
        since = compose(T_base_odom, odometry)
        return math.hypot(*since.position_m) >= self.spacing_m or abs(since.yaw_rad) >= self.spacing_rad

    def _agreeing(self, answer: Pose, odometry: Pose) -> int:
        return max(
            sum(
                self._agree(_seen(answer, turned), compose(_seen(kept, turned), compose(inverse(then), odometry)))
                for kept, then in self._kept
                if kept is not None
            )
            for turned in self._views
        )

    def _agree(self, a: Pose, b: Pose) -> bool:
        turn = math.remainder(a.yaw_rad - b.yaw_rad, 2 * math.pi)
        return math.dist(a.position_m, b.position_m) <= self.radius_m and abs(turn) <= self.heading_rad


def _seen(answer: Pose, turned: Pose | None) -> Pose:
    return compose(answer, turned) if turned else answer
