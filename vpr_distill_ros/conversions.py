"""A recognition to the messages that announce it, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from std_msgs.msg import Header

from vpr_core.data.poses import pose_from_message
from vpr_core.retrieval.filter import Estimate, FilterReason
from vpr_core.retrieval.verification import Verified
from vpr_core.types import Match, Pose, Reason, Recognition
from vpr_distill_ros.interfaces import FilteredPlace, PlaceMatch, PlaceMatchArray
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

FILTER_REASONS = {
    FilterReason.ACCEPTED: FilteredPlace.ACCEPTED,
    FilterReason.BELOW_TARGET: FilteredPlace.BELOW_TARGET,
    FilterReason.AMBIGUOUS: FilteredPlace.AMBIGUOUS,
    FilterReason.OFF_MAP: FilteredPlace.OFF_MAP,
    FilterReason.UNSUPPORTED: FilteredPlace.NOT_SEEN,
    FilterReason.NO_ODOMETRY: FilteredPlace.NO_ODOMETRY,
}


def matches_to_message(
    recognition: Recognition, header: Header, *, map_frame: str, map_hash: str, model_hash: str, processing_ms: float
) -> PlaceMatchArray:
    """header: of the sensor message that was the query; its stamp and frame_id are kept."""
    return PlaceMatchArray(
        header=header,
        map_frame=map_frame,
        map_hash=map_hash,
        model_hash=model_hash,
        accepted=recognition.accepted is not None,
        off_map_probability=_or_nan(recognition.off_map_probability),
        processing_ms=float(processing_ms),
        matches=[_match_to_message(match) for match in recognition.matches],
    )


def _match_to_message(match: Match) -> PlaceMatch:
    message = PlaceMatch(
        place_id=int(match.place_id),
        session=match.session,
        place_stamp=ns_to_stamp(match.place_stamp_ns),
        similarity=float(match.similarity),
        probability=_or_nan(match.probability),
        accepted=match.accepted,
        reason=int(match.reason),
        has_pose=match.pose is not None,
    )
    if match.pose is not None:
        message.pose = pose_to_message(match.pose)
    return message


def recognition_from_message(message: PlaceMatchArray) -> Recognition:
    """What a PlaceMatchArray says; the descriptor is not in it and comes back empty."""
    matches = tuple(
        Match(
            place_id=match.place_id,
            session=match.session,
            place_stamp_ns=stamp_to_ns(match.place_stamp),
            pose=pose_from_message(match.pose) if match.has_pose else None,
            similarity=match.similarity,
            reason=Reason(match.reason),
            probability=_or_none(match.probability),
        )
        for match in message.matches
    )
    return Recognition(
        stamp_to_ns(message.header.stamp), matches, np.empty(0, np.float32), _or_none(message.off_map_probability)
    )


def filtered_to_message(estimate: Estimate, map_frame: str, map_hash: str, model_hash: str) -> FilteredPlace:
    """What the filter believes after one image or cloud."""
    return FilteredPlace(
        header=Header(stamp=ns_to_stamp(estimate.stamp_ns), frame_id=map_frame),
        map_hash=map_hash,
        model_hash=model_hash,
        accepted=estimate.accepted,
        reason=FILTER_REASONS[estimate.reason],
        place_id=int(estimate.place_id),
        probability=float(estimate.probability),
        off_map_probability=float(estimate.p_off_map),
        runner_up=int(estimate.runner_up),
        runner_up_probability=float(estimate.runner_up_probability),
        pose=pose_to_message(estimate.pose),
    )


def filtered_from_message(message: FilteredPlace) -> dict[str, Any]:
    """What a FilteredPlace says, as `estimate_to_record` has it."""
    reasons = {number: reason.value for reason, number in FILTER_REASONS.items()}
    return {
        "place_id": message.place_id,
        "probability": round(message.probability, 6),
        "p_off_map": round(message.off_map_probability, 6),
        "accepted": message.accepted,
        "reason": reasons[message.reason],
        "runner_up": message.runner_up,
        "runner_up_probability": round(message.runner_up_probability, 6),
        "position": list(pose_from_message(message.pose).position_m),
    }


def _or_nan(probability: float | None) -> float:
    return math.nan if probability is None else float(probability)


def _or_none(probability: float) -> float | None:
    return None if math.isnan(probability) else probability


def candidates_to_message(matches: Iterable[Match], stamp: Time, map_frame: str) -> PoseArray:
    """Poses of the matches that have one, in their order: the vehicle's hypotheses in the map frame."""
    poses = [pose_to_message(match.pose) for match in matches if match.pose is not None]
    return PoseArray(header=Header(stamp=stamp, frame_id=map_frame), poses=poses)


def pose_with_covariance(
    pose: Pose, stamp: Time, map_frame: str, position_stddev_m: float, heading_stddev_rad: float
) -> PoseWithCovarianceStamped:
    """The place's pose as the vehicle's, with a diagonal covariance (x, y, z [m^2], roll, pitch, yaw [rad^2])."""
    message = PoseWithCovarianceStamped(header=Header(stamp=stamp, frame_id=map_frame))
    message.pose.pose = pose_to_message(pose)
    variances = [float(position_stddev_m) ** 2] * 3 + [float(heading_stddev_rad) ** 2] * 3
    message.pose.covariance = np.diag(variances).reshape(36)
    return message


def verified_pose(verified: Verified, map_frame: str) -> PoseWithCovarianceStamped:
    """A registered pose, its stamp and its whole covariance, of which elements beside the diagonal are negative."""
    stamp = ns_to_stamp(verified.stamp_ns)
    message = PoseWithCovarianceStamped(header=Header(stamp=stamp, frame_id=map_frame))
    message.pose.pose = pose_to_message(verified.T_map_base)
    message.pose.covariance = verified.covariance.reshape(36)
    return message
