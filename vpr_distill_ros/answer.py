"""What the localizer made of one frame, and where that puts the vehicle."""

from __future__ import annotations

from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from vpr_core.retrieval.filter import Estimate
from vpr_core.retrieval.gate import are_near
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Pose, Recognition
from vpr_distill_ros import conversions
from vpr_distill_ros.interfaces import PlaceMatchArray


@dataclass(frozen=True)
class Answer:
    """Places for one image or cloud."""

    header: Header
    """Of the image or cloud."""
    recognition: Recognition
    recognizer: PlaceRecognizer
    processing_ms: float
    verification: Verification | None = None
    """None where the candidates were not verified."""

    @property
    def stamp(self) -> Time:
        return self.header.stamp

    @property
    def stamp_ns(self) -> int:
        """Of the moment of the pose that it gives: the query's, or later where a sweep's middle is meant."""
        verified = self.verification.verified if self.verification else None
        return verified.stamp_ns if verified else self.recognition.stamp_ns

    def message(self) -> PlaceMatchArray:
        return conversions.matches_to_message(
            self.recognition,
            self.header,
            map_frame=self.recognizer.map_frame,
            map_hash=self.recognizer.map_hash,
            model_hash=self.recognizer.model_hash,
            processing_ms=self.processing_ms,
        )

    def pose(
        self, estimate: Estimate | None, position_stddev_m: float, heading_stddev_rad: float
    ) -> PoseWithCovarianceStamped | None:
        """Where the vehicle is, None where nothing is accepted or verification does not bear it out.

        estimate: of the filter, in place of the frame's own match; None without filter.
        The deviations are those of a place's pose; a registered pose brings its own covariance.
        """
        place = self._place(estimate)
        if place is None:
            return None
        map_frame = self.recognizer.map_frame
        if self.verification is None:
            return conversions.pose_with_covariance(place, self.stamp, map_frame, position_stddev_m, heading_stddev_rad)
        verified = self.verification.verified
        if verified is None or not are_near(verified.T_map_base, place):
            return None
        return conversions.verified_pose(verified, map_frame)

    def _place(self, estimate: Estimate | None) -> Pose | None:
        if estimate is not None:
            return estimate.pose if estimate.accepted else None
        best = self.recognition.accepted
        return best.pose if best else None
