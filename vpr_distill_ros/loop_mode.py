"""Mode loop_closure of the localizer: the robot's own past in the place of a map. `LoopCloser` finds the loops."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from std_msgs.msg import Header

from vpr_core.data.poses import pose_from_message
from vpr_core.errors import InputError, VprError
from vpr_core.retrieval.loop_closure import LoopAnswer, LoopCloser, LoopOptions
from vpr_core.types import Pose
from vpr_distill_ros import conversions
from vpr_distill_ros.loading import load_bundle
from vpr_distill_ros.localizer_parameters import LocalizerParameters
from vpr_distill_ros.outputs import Outputs
from vpr_distill_ros.posed_frames import PosedFrame, PosedFrames, add_or_restart
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.sensor_node import Frame
from vpr_distill_ros.stamps import stamp_to_ns

NAME = "loop_closure"
NO_MAP = "mode is loop_closure, in which the robot's own past is searched and no map: set mode to localize for maps"
_MAX_JUMP_M = 10.0
_PLACES_DRAWN = 5000
_CLOSURES_DRAWN = 1000
_DRAW_PERIOD_S = 1.0


@dataclass(frozen=True)
class Waiting:
    """A frame with its pose on its way to the thread that describes it."""

    mode: LoopMode
    posed: PosedFrame[Frame]
    session: int
    odometry_frame: str


@dataclass(frozen=True)
class Ends:
    """Where a node's frames go."""

    submit: Callable[[Waiting], None]
    """Hands `LoopMode.work` an item on the node's thread."""
    skip: Callable[[], None]
    """Counts a frame too near to the last place."""
    drop: Callable[[InputError], None]
    """Counts one that never got its pose."""


def load_closer(values: LocalizerParameters) -> LoopCloser:
    """Raises BundleError, and VprError where the parameters do not go together."""
    if not values.odometry_topic:
        raise VprError(
            "mode loop_closure leaves out what the robot passed within exclude_m of its way, and needs odometry for "
            "it: set odometry_topic"
        )
    of_a_map = ("rerank", "publish_tf", "initialpose_topic", "set_initial_pose_service", "global_pose_topic")
    wanted = {"verify": values.verifies, **{name: getattr(values, name) for name in of_a_map}}
    if wrong := [name for name, value in wanted.items() if value]:
        raise VprError(f"{wrong[0]} needs a map, which mode loop_closure does not have: leave it at its default")
    given = {field.name: getattr(values, field.name) for field in fields(LoopOptions) if field.name != "min_similarity"}
    return LoopCloser(load_bundle(values), LoopOptions(**given, min_similarity=values.threshold))


class LoopMode:
    """Frames wait for their odometry, become places, and what they close is published; called by several threads.

    Raises BundleError, and VprError where the parameters do not go together.
    """

    def __init__(self, node: Node, values: LocalizerParameters, outputs: Outputs, ends: Ends) -> None:
        self.closer = load_closer(values)
        self.odometry_frame = ""
        self.last: LoopAnswer | None = None
        self._node, self._outputs, self._ends = node, outputs, ends
        self._posed: PosedFrames[Frame] = PosedFrames(_MAX_JUMP_M, self._deliver, lambda _, error: ends.drop(error))
        self._lock = threading.Lock()
        self._query_pose = node.create_publisher(PoseStamped, "~/query_pose", 10)
        self._thinned = 0
        self._forget_drawn()

    def close(self) -> None:
        self._node.destroy_publisher(self._query_pose)

    @property
    def loaded(self) -> str:
        """What to log once it is configured."""
        closer, options = self.closer, self.closer.options
        return (
            f"model {closer.bundle.hash}, looking for loops: accepting from similarity {closer.threshold:g}, "
            f"{options.agreement_needed} of {options.agreement_of} queries agreeing; leaving out the last "
            f"{options.exclude_m:g} m and {options.exclude_s:g} s, and what is beyond a drift of {options.max_drift:g}"
            f"; room for {closer.past.most} places in {options.memory_mib:g} MiB, then the older half is thinned"
        )

    @property
    def lost(self) -> str:
        """Where the odometry jumped and from where; empty where its poses are believed."""
        return self._posed.lost

    # Frames and odometry

    def add_frame(self, frame: Frame) -> None:
        self._posed.add_frame(frame)

    def add_odometry(self, message: Odometry) -> None:
        """Take in T_odom_base; raises InputError where it cannot be used."""
        frame = message.header.frame_id
        if not frame:
            raise InputError("the odometry names no frame: expected header.frame_id, such as odom", "frame")
        with self._lock:
            if self.odometry_frame and frame != self.odometry_frame:
                self._let_go(self._posed.restart())
                self._begin_session(f"odometry is in {frame} now, was in {self.odometry_frame}")
            self.odometry_frame = frame
            self._let_go(
                add_or_restart(
                    self._posed,
                    stamp_to_ns(message.header.stamp),
                    pose_from_message(message.pose.pose),
                    lambda: self._begin_session("odometry jumped, or its stamps went back"),
                )
            )

    def clear(self) -> int:
        """After a pause, odometry may go on elsewhere; the number of frames that waited and are let go."""
        with self._lock:
            waiting = self._posed.restart()
            self._begin_session("the node paused")
            return waiting

    def _let_go(self, number: int) -> None:
        for _ in range(number):
            self._ends.drop(InputError("the odometry jumped before the frame had its pose", "jump"))

    def _begin_session(self, why: str) -> None:
        if len(self.closer.past):
            self.closer.begin_session()
            self._forget_drawn()
            self._node.get_logger().warning(
                f"{why}: session {self.closer.session} begins, places of those before are matched without a pose"
            )

    def _deliver(self, posed: PosedFrame[Frame]) -> None:
        if self.closer.wants(posed.pose):
            self._ends.submit(Waiting(self, posed, self.closer.session, self.odometry_frame))
        else:
            self._ends.skip()

    # Answers

    def work(self, item: Waiting, observe: Callable[[], np.ndarray], top_k: int) -> LoopAnswer | None:
        """Ask and keep; publishes the answer. None where the frame is not needed; raises InputError.

        observe: makes the image or the cloud of the frame's message, where it is needed.
        """
        started_s = time.perf_counter()
        frame, pose = item.posed.frame, item.posed.pose
        if item.session != self.closer.session:
            raise InputError("the odometry broke before the frame was described", "jump")
        answer = None
        if self.closer.wants(pose):
            answer = self.closer.add(observe(), frame.stamp_ns, pose, session=item.session, top_k=top_k)
        if answer is None:
            self._ends.skip()
            return None
        self.last = answer
        self._tell_of_memory()
        self._publish(answer, pose, item, (time.perf_counter() - started_s) * 1e3)
        return answer

    def _publish(self, answer: LoopAnswer, pose: Pose, item: Waiting, processing_ms: float) -> None:
        header, frame = item.posed.frame.message.header, item.odometry_frame
        self._query_pose.publish(
            PoseStamped(header=Header(stamp=header.stamp, frame_id=frame), pose=pose_to_message(pose))
        )
        names = {"map_frame": frame, "map_hash": "", "model_hash": self.closer.bundle.hash}
        self._outputs.matches.publish(
            conversions.matches_to_message(answer.recognition, header, **names, processing_ms=processing_ms)
        )
        self._outputs.candidates.publish(
            conversions.candidates_to_message(answer.recognition.matches, header.stamp, frame)
        )
        self._draw(answer, pose, header.stamp, frame)

    def _tell_of_memory(self) -> None:
        past = self.closer.past
        if past.thinned > self._thinned:
            text = f"memory_mib is full: {past.thinned - self._thinned} places were thinned out, {len(past)} are left"
            self._node.get_logger().warning(f"{text}, the oldest at twice the distance")
            self._thinned = past.thinned

    # Drawing

    def _forget_drawn(self) -> None:
        self._way: deque[Pose] = deque(maxlen=_PLACES_DRAWN)
        self._closed: deque[tuple[Pose, Pose]] = deque(maxlen=_CLOSURES_DRAWN)
        self._drawn_s = 0.0

    def _draw(self, answer: LoopAnswer, pose: Pose, stamp: object, frame: str) -> None:
        """The way of this session, its closures so far, and this query's candidates."""
        accepted = answer.recognition.accepted
        self._way.append(pose)
        if accepted is not None and accepted.pose is not None:
            self._closed.append((pose, accepted.pose))
        self._outputs.drawing.show_loops(pose, answer.recognition.matches, list(self._closed), stamp, frame)
        if time.monotonic() - self._drawn_s >= _DRAW_PERIOD_S:
            self._drawn_s = time.monotonic()
            self._outputs.drawing.show_places(list(self._way), frame)
