"""Recognitions to messages and back, over the wire's own bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from vpr_core.retrieval.filter import Estimate, FilterReason
from vpr_core.types import Match, Pose, Reason, Recognition
from vpr_distill_ros.conversions import (
    FILTER_REASONS,
    candidates_to_message,
    filtered_to_message,
    matches_to_message,
    pose_with_covariance,
    recognition_from_message,
)
from vpr_distill_ros.interfaces import FilteredPlace, PlaceMatch, PlaceMatchArray
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

STAMP_NS = 1_700_000_000_123_456_789
POSE = Pose.from_xy_yaw(12.5, -3.25, math.pi / 3)
RECOGNITION = Recognition(
    STAMP_NS,
    (
        Match(7, "noon", 5_000_000_001, POSE, 0.75, Reason.ACCEPTED, 0.875),
        Match(8, "noon", 6_000_000_000, None, 0.5, Reason.NOT_BEST),
        Match(2, "dusk", 7_000_000_000, POSE, 0.25, Reason.BELOW_SIMILARITY),
    ),
    np.ones(4, np.float32),
    off_map_probability=0.125,
)
HEADER = Header(stamp=ns_to_stamp(STAMP_NS), frame_id="camera_optical")


def message_of(recognition: Recognition) -> PlaceMatchArray:
    message = matches_to_message(
        recognition, HEADER, map_frame="map", map_hash="aa", model_hash="bb", processing_ms=12.5
    )
    return deserialize_message(serialize_message(message), PlaceMatchArray)


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 1_000_000_000, STAMP_NS])
def test_stamps_keep_every_nanosecond(stamp_ns: int) -> None:
    assert stamp_to_ns(ns_to_stamp(stamp_ns)) == stamp_ns


def test_a_recognition_survives_the_wire() -> None:
    back = recognition_from_message(message_of(RECOGNITION))
    assert back.stamp_ns == STAMP_NS
    assert back.matches == RECOGNITION.matches and back.off_map_probability == 0.125


def test_without_a_calibration_a_probability_is_nan_on_the_wire_and_none_here() -> None:
    message = message_of(Recognition(STAMP_NS, RECOGNITION.matches[1:], RECOGNITION.descriptor))
    assert math.isnan(message.off_map_probability) and all(math.isnan(match.probability) for match in message.matches)
    back = recognition_from_message(message)
    assert back.off_map_probability is None and [match.probability for match in back.matches] == [None, None]


def test_the_header_of_the_query_and_the_hashes_are_kept() -> None:
    message = message_of(RECOGNITION)
    assert message.header == HEADER
    assert (message.map_frame, message.map_hash, message.model_hash) == ("map", "aa", "bb")
    assert message.accepted and message.processing_ms == 12.5
    assert [match.has_pose for match in message.matches] == [True, False, True]


def test_nothing_accepted_is_said_so() -> None:
    refused = Recognition(STAMP_NS, RECOGNITION.matches[2:], RECOGNITION.descriptor)
    assert not message_of(refused).accepted
    assert not message_of(Recognition(STAMP_NS, (), RECOGNITION.descriptor)).accepted


@pytest.mark.parametrize("reason", Reason)
def test_reasons_have_the_values_of_the_message(reason: Reason) -> None:
    assert getattr(PlaceMatch, reason.name) == reason.value


@pytest.mark.parametrize("reason", FilterReason)
def test_the_filter_s_answer_survives_the_wire(reason: FilterReason) -> None:
    estimate = Estimate(STAMP_NS, np.array([0.25, 0.5]), 0.25, 1, POSE, 0.5, 0, 0.25, reason, True)
    sent = filtered_to_message(estimate, "map", "aa", "bb")
    back = deserialize_message(serialize_message(sent), FilteredPlace)
    assert (back.header.frame_id, stamp_to_ns(back.header.stamp)) == ("map", STAMP_NS)
    assert (back.place_id, back.probability, back.off_map_probability) == (1, 0.5, 0.25)
    assert (back.runner_up, back.runner_up_probability, back.pose.position.x) == (0, 0.25, 12.5)
    assert back.accepted == (back.reason == FilteredPlace.ACCEPTED) == (reason is FilterReason.ACCEPTED)
    assert (back.map_hash, back.model_hash) == ("aa", "bb")


def test_every_reason_of_the_filter_has_a_number_of_its_own() -> None:
    assert len({*FILTER_REASONS.values()}) == len(FilterReason)


def test_candidates_are_the_matches_with_a_pose_in_their_order() -> None:
    message = candidates_to_message(RECOGNITION.matches, HEADER.stamp, "map")
    assert message.header.frame_id == "map" and stamp_to_ns(message.header.stamp) == STAMP_NS
    assert [(pose.position.x, pose.position.y) for pose in message.poses] == [(12.5, -3.25)] * 2


def test_pose_passes_the_checks_of_nav2() -> None:
    """nav2_ros_common/validate_messages.hpp: named frame, finite, unit quaternion, every covariance in [0, 1e9]."""
    message = pose_with_covariance(POSE, HEADER.stamp, "map", position_stddev_m=5.0, heading_stddev_rad=0.5)
    orientation, covariance = message.pose.pose.orientation, np.array(message.pose.covariance).reshape(6, 6)
    norm = sum(getattr(orientation, axis) ** 2 for axis in "xyzw")
    assert message.header.frame_id == "map"
    assert abs(norm - 1) < 1e-4
    assert np.isfinite(covariance).all() and (covariance >= 0).all() and (covariance <= 1e9).all()
    assert np.array_equal(covariance, np.diag([25.0, 25.0, 25.0, 0.25, 0.25, 0.25]))
    assert message.pose.pose.orientation.z == pytest.approx(math.sin(math.pi / 6))
