"""What the localizer made of one frame, and where that puts the vehicle."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from vpr_core.data.poses import compose
from vpr_core.retrieval.filter import Estimate
from vpr_core.retrieval.gate import are_near
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Match, Pose, Reason, Recognition
from vpr_distill_ros import conversions
from vpr_distill_ros.interfaces import PlaceMatchArray

_YAW = 35
"""Of the variance about z among the 36 numbers of a pose's covariance."""


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
    only_verified: bool = False
    """Whether a pose that no check bears out is none, also where the filter believes it."""
    stale_age_s: float | None = None
    """How old the image or cloud was when it was looked at, where that is too old to be believed; None where not."""
    turns: tuple[Pose | None, ...] | None = None
    """By match T_place_base, how the vehicle stands to the place, None where that is not known; None for a camera that
    is where the map's was, or a LiDAR."""

    def stale(self, age_s: float) -> Answer:
        """The same, refused: it says where the vehicle was so long ago."""
        matches = tuple(replace(match, reason=Reason.STALE) for match in self.recognition.matches)
        return replace(self, recognition=replace(self.recognition, matches=matches), stale_age_s=age_s)

    @property
    def stamp(self) -> Time:
        return self.header.stamp

    @property
    def stamp_ns(self) -> int:
        """Of the moment of the pose that it gives: the query's, or later where a sweep's middle is meant."""
        verified = self.verification.verified if self.verification else None
        return verified.stamp_ns if verified else self.recognition.stamp_ns

    @property
    def knows_heading(self) -> bool:
        """Whether what the accepted match says of the vehicle is a pose, and not only where it is."""
        return self.turns is None or self._turn is not None

    @property
    def hypotheses(self) -> tuple[Match, ...]:
        """The matches, each with the vehicle's pose by it in place of the place's, or none where it is not known."""
        matches = self.recognition.matches
        if self.turns is None:
            return matches
        return tuple(
            replace(match, pose=compose(match.pose, turn) if match.pose and turn else None)
            for match, turn in zip(matches, self.turns, strict=True)
        )

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

        What the filter believes stands by itself where no candidate fits, unless `only_verified`.
        estimate: of the filter, in place of the frame's own match; None without filter.
        The deviations are those of a place's pose; a registered pose brings its own covariance. Where the heading is
        not known it is the place's, with a deviation of half a turn.
        """
        place = self._place(estimate)
        if place is None:
            return None
        map_frame = self.recognizer.map_frame
        verified = self.verification.verified if self.verification else None
        if self.verification is None or (verified is None and estimate is not None and not self.only_verified):
            deviations = position_stddev_m, heading_stddev_rad
            message = conversions.pose_with_covariance(place, self.stamp, map_frame, *deviations)
            if not self.knows_heading:
                message.pose.covariance[_YAW] = math.pi**2
            return message
        if verified is None or not are_near(verified.T_map_base, place):
            return None
        return conversions.verified_pose(verified, map_frame)

    def _place(self, estimate: Estimate | None) -> Pose | None:
        if estimate is not None:
            return estimate.pose if estimate.accepted else None
        best = self.recognition.accepted
        turn = self._turn
        return compose(best.pose, turn) if best and best.pose and turn else best.pose if best else None

    @property
    def _turn(self) -> Pose | None:
        """Of the accepted match."""
        turns = zip(self.recognition.matches, self.turns or (), strict=False)
        return next((turn for match, turn in turns if match.accepted), None)
