"""Answers and odometry brought together, and the filter's answers from both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from nav_msgs.msg import Odometry

from vpr_core.data.poses import pose_from_message
from vpr_core.errors import InputError
from vpr_core.retrieval.filter import Estimate
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.types import Pose
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.posed_frames import PosedFrame, PosedFrames, add_or_restart
from vpr_distill_ros.stamps import stamp_to_ns

_MAX_JUMP_M = 10.0


@dataclass(frozen=True)
class Followed:
    """An answer, and what the way to it adds."""

    answer: Answer
    estimate: Estimate | None
    """None without filter."""
    odometry: Pose | None
    """T_odom_base at the answer's stamp; None where it is not known."""


class Following:
    """Answers wait here until odometry has passed their stamps; called by several threads.

    sequence: the filter; None where odometry is taken for other ends alone.
    map_hash: answers of another map are let go.
    deliver: gets every answer, also those for which no odometry came. restart: is called where odometry cannot be
    continued, and poses of before and after do not belong together. Both while a lock is held.
    """

    def __init__(
        self,
        sequence: SequenceRecognizer | None,
        map_hash: str,
        deliver: Callable[[Followed], None],
        restart: Callable[[], None],
    ) -> None:
        self._sequence, self._map_hash = sequence, map_hash
        self._deliver, self._restart = deliver, restart
        self._posed: PosedFrames[Answer] = PosedFrames(_MAX_JUMP_M, self._follow, self._follow_blindly)
        self._lock = threading.Lock()

    @property
    def filters(self) -> bool:
        return self._sequence is not None

    def add_answer(self, answer: Answer) -> None:
        with self._lock:
            if answer.recognizer.map_hash == self._map_hash:
                self._posed.add_frame(answer)

    def add_odometry(self, message: Odometry) -> None:
        """Take in T_odom_base; raises InputError where it cannot be used."""
        with self._lock:
            stamp_ns, pose = stamp_to_ns(message.header.stamp), pose_from_message(message.pose.pose)
            add_or_restart(self._posed, stamp_ns, pose, self._begin_again)

    def clear(self) -> None:
        """Forget answers, odometry and belief, as after a pause."""
        with self._lock:
            self._posed.restart()
            self._begin_again()

    def _begin_again(self) -> None:
        if self._sequence is not None:
            self._sequence.reset()
        self._restart()

    def _follow(self, posed: PosedFrame[Answer]) -> None:
        answer = posed.frame
        self._tell(answer, self._posed.at(answer.recognition.stamp_ns), posed.pose)

    def _follow_blindly(self, answer: Answer, error: InputError) -> None:
        self._tell(answer, None, None)

    def _tell(self, answer: Answer, moved_to: Pose | None, odometry: Pose | None) -> None:
        estimate = None
        if self._sequence is not None:
            self._sequence.aim_at(answer.recognizer.target_precision)
            estimate = self._sequence.follow(answer.recognition, moved_to, answer.verification)
        self._deliver(Followed(answer, estimate, odometry))
