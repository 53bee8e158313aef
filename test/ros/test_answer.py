"""Where an answer puts the vehicle: by its match, by the filter, by what was checked, or nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from std_msgs.msg import Header

from vpr_core.data.frames import Frames
from vpr_core.retrieval.filter import Estimate, FilterReason
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Pose
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.stamps import ns_to_stamp

STAMP_NS = 1_700_000_000_000_000_000
DEVIATIONS = 5.0, 0.35
NOTHING_FITS = Verification(None, "none of 5 candidates fits", ())


@pytest.fixture(scope="module")
def recognizer(bundle: Path, place_map: Path) -> PlaceRecognizer:
    return PlaceRecognizer.load(bundle, place_map, min_similarity=-0.99)


def answer(recognizer: PlaceRecognizer, frames: Path, verification: Verification | None, **options: bool) -> Answer:
    header = Header(stamp=ns_to_stamp(STAMP_NS), frame_id="camera_optical")
    recognition = recognizer.recognize(Frames.load(frames).image(3), STAMP_NS)
    return Answer(header, recognition, recognizer, 1.0, verification, **options)


def believed(reason: FilterReason = FilterReason.ACCEPTED) -> Estimate:
    return Estimate(STAMP_NS, np.ones(1), 0.0, 0, Pose((9.0, 8.0, 0.0)), 0.999, 0, 0.0, reason, True)


def test_along_odometry_the_filter_s_place_stands_where_no_candidate_fits(
    recognizer: PlaceRecognizer, frames: Path
) -> None:
    alone = answer(recognizer, frames, NOTHING_FITS)
    assert alone.recognition.accepted and alone.pose(None, *DEVIATIONS) is None
    message = alone.pose(believed(), *DEVIATIONS)
    assert message is not None and (message.pose.pose.position.x, message.pose.pose.position.y) == (9.0, 8.0)
    assert message.header.stamp == ns_to_stamp(STAMP_NS) and message.header.frame_id == "map"
    assert message.pose.covariance[0] == DEVIATIONS[0] ** 2
    assert alone.pose(believed(FilterReason.UNSUPPORTED), *DEVIATIONS) is None
    assert answer(recognizer, frames, NOTHING_FITS, only_verified=True).pose(believed(), *DEVIATIONS) is None


def test_what_was_not_checked_is_where_its_place_is(recognizer: PlaceRecognizer, frames: Path) -> None:
    unchecked = answer(recognizer, frames, None)
    accepted, message = unchecked.recognition.accepted, unchecked.pose(None, *DEVIATIONS)
    assert accepted and accepted.pose and message is not None
    assert message.pose.pose.position.x == accepted.pose.position_m[0]
    followed = unchecked.pose(believed(), *DEVIATIONS)
    assert followed is not None and followed.pose.pose.position.x == 9.0
