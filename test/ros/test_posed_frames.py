"""Frames that wait for odometry when a clock is set back: none gets the pose of another moment."""

from __future__ import annotations

from dataclasses import dataclass

from vpr_core.errors import InputError
from vpr_core.types import Pose
from vpr_distill_ros.posed_frames import PosedFrame, PosedFrames, add_or_restart

SECOND_NS = 1_000_000_000
SPEED_MPS = 10.0


@dataclass(frozen=True)
class Frame:
    stamp_ns: int


class Clock:
    """Frames and odometry of a vehicle that drives along x; the clock may be set while it does."""

    def __init__(self) -> None:
        self.delivered: list[tuple[float, float]] = []
        """Stamp [s] and x [m]."""
        self.dropped: list[tuple[float, str]] = []
        self.restarts = 0
        self.posed: PosedFrames[Frame] = PosedFrames(10.0, self._deliver, self._drop)

    def _deliver(self, posed: PosedFrame[Frame]) -> None:
        self.delivered.append((posed.frame.stamp_ns / SECOND_NS, posed.pose.position_m[0]))

    def _drop(self, frame: Frame, error: InputError) -> None:
        self.dropped.append((frame.stamp_ns / SECOND_NS, str(error)))

    def _restarted(self) -> None:
        self.restarts += 1

    def frame(self, stamp_s: float) -> None:
        self.posed.add_frame(Frame(round(stamp_s * SECOND_NS)))

    def odometry(self, *stamps_s: float, ahead_s: float = 0.0) -> None:
        """ahead_s: what the clock was set back by before."""
        for stamp_s in stamps_s:
            pose = Pose(((stamp_s + ahead_s) * SPEED_MPS, 0.0, 0.0))
            add_or_restart(self.posed, round(stamp_s * SECOND_NS), pose, self._restarted)


def test_a_frame_of_before_waits_in_vain_when_odometry_goes_back() -> None:
    drive = Clock()
    drive.odometry(9.8, 9.9, 10.0)
    drive.frame(10.03)
    drive.odometry(5.1, 5.2, ahead_s=5.0)
    assert drive.restarts == 1 and not drive.delivered
    ((stamp_s, reason),) = drive.dropped
    assert stamp_s == 10.03 and "the clock went back" in reason
    drive.odometry(*(5.3 + 0.1 * step for step in range(60)), ahead_s=5.0)
    drive.frame(11.05)
    assert drive.delivered == [(11.05, 160.5)], "the same vehicle, five seconds on"


def test_frames_that_go_back_first_wait_for_odometry_to_follow() -> None:
    drive = Clock()
    drive.odometry(*(0.1 * step for step in range(1, 101)))
    drive.frame(9.95)
    drive.frame(5.05)
    drive.frame(5.15)
    assert [stamp_s for stamp_s, _ in drive.delivered] == [9.95], "x at the earlier 5.05 s was 50.5 m, and is 100.5 m"
    drive.odometry(5.0, 5.1, 5.2, ahead_s=5.0)
    assert [(stamp_s, round(x_m, 6)) for stamp_s, x_m in drive.delivered[1:]] == [(5.05, 100.5), (5.15, 101.5)]
    assert not drive.dropped and drive.restarts == 1


def test_where_odometry_goes_on_a_late_frame_was_late() -> None:
    drive = Clock()
    drive.odometry(*(0.1 * step for step in range(1, 101)))
    drive.frame(9.95)
    drive.frame(8.05)
    drive.odometry(*(0.1 * step for step in range(101, 115)))
    assert [(stamp_s, round(x_m, 6)) for stamp_s, x_m in drive.delivered] == [(9.95, 99.5), (8.05, 80.5)]
    drive.frame(11.35)
    assert len(drive.delivered) == 3 and not drive.dropped and not drive.restarts


def test_what_waits_too_long_is_dropped_and_restart_forgets_that_it_waited() -> None:
    drive = Clock()
    drive.odometry(9.9, 10.0)
    drive.frame(9.95)
    for step in range(20):
        drive.frame(3.0 + 0.1 * step)
    assert len(drive.dropped) == 4 and drive.posed.restart() == 16
    drive.odometry(3.0, 3.1, ahead_s=7.0)
    drive.frame(3.05)
    assert [stamp_s for stamp_s, _ in drive.delivered] == [9.95, 3.05]
