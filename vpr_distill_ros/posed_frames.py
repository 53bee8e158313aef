"""Frames, or what was made of them, that wait until the odometry has passed their stamp, and then have a pose."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from vpr_core.errors import InputError
from vpr_core.retrieval.live_poses import LivePoses
from vpr_core.types import Pose

# Poses are interpolated over half a second at most: at 30 frames/s no more frames than this wait for a good odometry.
_WAITING = 16
_BACK_NS = 1_000_000_000
"""A stamp so much older than the one before it tells that the clock went back, as `LivePoses` has it."""
_OUTLIER_NS = 1_000_000_000
"""Odometry that has not come back after so long goes on from where it is now."""


class Stamped(Protocol):
    """Whatever was taken at a moment."""

    @property
    def stamp_ns(self) -> int: ...


Item = TypeVar("Item", bound=Stamped)


@dataclass(frozen=True)
class PosedFrame(Generic[Item]):
    """A frame and where the vehicle stood at its stamp."""

    frame: Item
    pose: Pose


class PosedFrames(Generic[Item]):
    """Brings frames and odometry together; called by several threads.

    Where the clock is set back, be it told by frames or by odometry first, no frame gets the pose that another moment
    had under its stamp.
    deliver: gets every frame that has its pose. drop: gets every frame that never will, and why. Both are called while
    a lock is held, and must not wait.
    """

    def __init__(
        self, max_jump_m: float, deliver: Callable[[PosedFrame[Item]], None], drop: Callable[[Item, InputError], None]
    ) -> None:
        self._track = LivePoses(max_jump_m)
        self._deliver, self._drop = deliver, drop
        self._waiting: deque[Item] = deque()
        self._newest_frame_ns = -1
        self._held_until_ns: int | None = None
        """Frames tell that the clock went back: they wait until odometry does too, or has gone on to here."""
        self._lock = threading.Lock()

    @property
    def lost(self) -> str:
        """Where the odometry jumped and from where; empty where its poses are believed."""
        return self._track.lost

    @property
    def times_clock_went_back(self) -> int:
        return self._track.times_clock_went_back

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest believed pose; -1 before the first."""
        return self._track.newest_ns

    def at(self, stamp_ns: int) -> Pose | None:
        """The pose at another stamp than a frame's, for `deliver`; None where it is not known."""
        pose = self._track.at(stamp_ns)
        return None if isinstance(pose, str) else pose

    def add_frame(self, frame: Item) -> None:
        with self._lock:
            if frame.stamp_ns <= 0:
                self._drop(frame, InputError("its header stamp is zero, and so it has no pose", "stamp"))
                return
            if frame.stamp_ns < self._newest_frame_ns - _BACK_NS and self._held_until_ns is None:
                self._drop_ahead_of(frame.stamp_ns)
                self._held_until_ns = self._track.newest_ns + _BACK_NS
                self._newest_frame_ns = -1
            self._newest_frame_ns = max(self._newest_frame_ns, frame.stamp_ns)
            self._waiting.append(frame)
            self._match()
            while len(self._waiting) > _WAITING:
                self._drop(self._waiting.popleft(), self._without_pose())

    def add_pose(self, stamp_ns: int, pose: Pose) -> None:
        """Take in a pose of the odometry; raises InputError as `LivePoses.add` does."""
        with self._lock:
            went_back = self._track.times_clock_went_back
            try:
                self._track.add(stamp_ns, pose)
            finally:
                if self._track.times_clock_went_back > went_back:
                    self._drop_ahead_of(stamp_ns)
                    self._held_until_ns, self._newest_frame_ns = None, -1
            if self._held_until_ns is not None and stamp_ns > self._held_until_ns:
                self._held_until_ns = None
            self._match()

    def _drop_ahead_of(self, stamp_ns: int) -> None:
        """Frames of before the clock went back to this would get the poses of another moment."""
        ahead = [frame for frame in self._waiting if frame.stamp_ns > stamp_ns + _BACK_NS]
        self._waiting = deque(frame for frame in self._waiting if frame.stamp_ns <= stamp_ns + _BACK_NS)
        for frame in ahead:
            self._drop(frame, self._without_pose("the clock went back before a pose of its time came"))

    def restart(self) -> int:
        """Believe the odometry where it is now; the number of frames that waited and are let go."""
        with self._lock:
            self._track.restart()
            return self._let_go()

    def close(self) -> int:
        """Let the frames go that still wait; their number."""
        with self._lock:
            return self._let_go()

    def _match(self) -> None:
        if self._held_until_ns is not None:
            return
        for _ in range(len(self._waiting)):
            frame = self._waiting.popleft()
            if frame.stamp_ns > self._track.newest_ns:
                self._waiting.append(frame)
                continue
            pose = self._track.at(frame.stamp_ns)
            if isinstance(pose, str):
                self._drop(frame, self._without_pose(pose))
            else:
                self._deliver(PosedFrame(frame, pose))

    def _without_pose(self, reason: str = "no pose of its time came") -> InputError:
        if self._track.lost:
            return InputError(f"the odometry jumped {self._track.lost}", "jump")
        return InputError(f"{reason}, in the odometry", "jump" if "jump" in reason else "no_odometry")

    def _let_go(self) -> int:
        number = len(self._waiting)
        self._waiting.clear()
        self._held_until_ns, self._newest_frame_ns = None, -1
        return number


def add_or_restart(posed: PosedFrames[Any], stamp_ns: int, pose: Pose, restarted: Callable[[], None]) -> int:
    """Add a pose where odometry may break and go on elsewhere; the number of frames that are let go for it.

    A jump that lasts no longer than a second is an outlier, refused as `PosedFrames.add_pose` does with InputError.
    After a longer one, and where its stamps went back, `restarted` is called: poses of before and after do not belong
    together.
    """
    went_back, let_go = posed.times_clock_went_back, 0
    try:
        posed.add_pose(stamp_ns, pose)
    except InputError as error:
        if error.kind != "jump" or stamp_ns - posed.newest_ns <= _OUTLIER_NS:
            raise
        let_go = posed.restart()
        restarted()
        posed.add_pose(stamp_ns, pose)
    finally:
        if posed.times_clock_went_back > went_back:
            restarted()
    return let_go
