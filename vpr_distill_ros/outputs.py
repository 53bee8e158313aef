"""What becomes of the localizer's answers: its topics, and what other nodes are handed."""

from __future__ import annotations

import time
from collections.abc import Callable

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode

from vpr_core.retrieval.filter import Estimate
from vpr_core.types import Match
from vpr_distill_ros import conversions
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.counters import since
from vpr_distill_ros.following import Followed, Following
from vpr_distill_ros.handover import Handover
from vpr_distill_ros.interfaces import FilteredPlace, PlaceMatchArray
from vpr_distill_ros.localizer_parameters import LocalizerParameters
from vpr_distill_ros.markers import Drawing
from vpr_distill_ros.sensor_node import LOG_PERIOD_S


class Outputs:
    """~/matches, ~/candidates, ~/filtered, ~/pose, what is drawn, and the handover while a map is loaded.

    settle: is told of every answer whether it is accepted, once that is settled.
    """

    def __init__(self, node: LifecycleNode, settle: Callable[[bool], None]) -> None:
        self._node, self._tell_settled = node, settle
        self.matches = node.create_lifecycle_publisher(PlaceMatchArray, "~/matches", 10)
        self.candidates = node.create_lifecycle_publisher(PoseArray, "~/candidates", 10)
        self._filtered = node.create_lifecycle_publisher(FilteredPlace, "~/filtered", 10)
        self._pose = node.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", 10)
        self.drawing = Drawing(node)
        self.handover: Handover | None = None
        self._accepted_s: float | None = None
        self.last_best: Match | None = None
        self.last_estimate: Estimate | None = None
        self.last_stale_age_s: float | None = None

    @property
    def accepted_age_s(self) -> float | None:
        """Time since an answer was accepted; None before the first."""
        return since(self._accepted_s)

    def open_handover(self, values: LocalizerParameters, map_frame: str) -> None:
        """Raises VprError as `Handover` does."""
        self.handover = Handover(self._node, values, map_frame)

    def use_map(self, map_hash: str, map_frame: str) -> None:
        """Answers are of another map from now on."""
        self.last_estimate = None
        if self.handover is not None:
            self.handover.use_map(map_hash, map_frame)

    def pause(self) -> None:
        """Forget what was answered."""
        self._accepted_s = self.last_best = self.last_estimate = self.last_stale_age_s = None
        if self.handover is not None:
            self.handover.begin()

    def close_handover(self) -> None:
        if self.handover is not None:
            self.handover.close()
            self.handover = None

    # Answers

    def publish(self, answer: Answer, following: Following | None) -> None:
        """The candidates, and the pose unless the filter of `following` has a say in it; of what is stale no pose."""
        self.matches.publish(answer.message())
        self.last_stale_age_s = answer.stale_age_s
        matches, map_frame = answer.hypotheses, answer.recognizer.map_frame
        if answer.recognizer.has_poses:
            self.candidates.publish(conversions.candidates_to_message(matches, answer.stamp, map_frame))
            self.drawing.show_candidates(matches, answer.stamp, map_frame)
        self.last_best = answer.recognition.accepted or matches[0]
        if answer.verification is not None and answer.verification.verified is None:
            text = f"not verified: {answer.verification.reason}"
            self._node.get_logger().info(text, throttle_duration_sec=LOG_PERIOD_S)
        if answer.stale_age_s is not None:
            self.last_estimate, following = None, None
            if self.handover is not None:
                self.handover.doubt()
        if following is None or not following.filters:
            self._settle(answer, None, answer.recognition.accepted is not None)
        if following is not None:
            following.add_answer(answer)

    def publish_followed(self, followed: Followed) -> None:
        """An answer has its odometry, or will have none."""
        answer, estimate, handover = followed.answer, followed.estimate, self.handover
        if estimate is not None:
            self.last_estimate = estimate
            recognizer = answer.recognizer
            hashes = (recognizer.map_hash, recognizer.model_hash)
            self._filtered.publish(conversions.filtered_to_message(estimate, recognizer.map_frame, *hashes))
            self._settle(answer, estimate, estimate.accepted)
        if handover is not None:
            pose = self._pose_of(answer, estimate) if answer.knows_heading else None
            handover.add(pose, followed.odometry, answer.recognizer.map_hash)

    def restart(self) -> None:
        """Odometry began again."""
        if self.handover is not None:
            self.handover.clear()

    def broadcast(self, message: Odometry) -> None:
        """Odometry that was followed; raises InputError as `Handover.broadcast` does."""
        if self.handover is not None:
            self.handover.broadcast(message)

    def _settle(self, answer: Answer, estimate: Estimate | None, is_accepted: bool) -> None:
        self._tell_settled(is_accepted)
        if is_accepted:
            self._accepted_s = time.monotonic()
        pose = self._pose_of(answer, estimate)
        if pose is not None:
            self._pose.publish(pose)

    def _pose_of(self, answer: Answer, estimate: Estimate | None) -> PoseWithCovarianceStamped | None:
        names = ("position_stddev_m", "heading_stddev_rad")
        return answer.pose(estimate, *(float(self._node.get_parameter(name).value) for name in names))
