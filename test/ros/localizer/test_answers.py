"""What the localizer publishes for which image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from vpr_core.preprocess import decode_image
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_ros.stamps import stamp_to_ns

START_NS = 1_700_000_000_000_000_000
ACCEPT_ALL = -0.99
ACCEPT_NONE = 1.0


def test_live_answers_are_those_of_the_recognizer(
    robot: Callable[..., Any], jpegs: list[bytes], bundle: Path, place_map: Path
) -> None:
    node = robot()
    recognizer = PlaceRecognizer.load(bundle, place_map, min_similarity=ACCEPT_ALL)
    camera = node.camera()
    for index, data in enumerate(jpegs[:5]):
        node.send_until(camera, node.photograph(data, START_NS + index), lambda count=index: len(node.matches) > count)
    for message in node.matches:
        index = stamp_to_ns(message.header.stamp) - START_NS
        offline = recognizer.recognize(decode_image(jpegs[index]), START_NS + index)
        assert [match.place_id for match in message.matches] == [match.place_id for match in offline.matches]
        assert [match.similarity for match in message.matches] == pytest.approx(
            [match.similarity for match in offline.matches], abs=1e-4
        )
        assert message.matches[0].place_id == index and message.matches[0].reason == PlaceMatch.ACCEPTED
        assert message.header.frame_id == "camera_optical"
        assert (message.map_hash, message.model_hash) == (recognizer.map_hash, recognizer.model_hash)
        assert message.processing_ms > 0


def test_an_accepted_match_gives_a_pose_and_all_matches_candidates(
    robot: Callable[..., Any], jpegs: list[bytes], place_map: Path
) -> None:
    node = robot(top_k=3, position_stddev_m=2.0)
    places = PlaceMap.load(place_map)
    node.send_until(node.camera(), node.photograph(jpegs[2]), lambda: node.poses and node.candidates)
    pose, expected = node.poses[0], places.places[2].pose
    assert expected is not None
    assert (pose.header.frame_id, stamp_to_ns(pose.header.stamp)) == (places.map_frame, START_NS)
    position = pose.pose.pose.position
    assert (position.x, position.y, position.z) == pytest.approx(expected.position_m)
    assert pose.pose.covariance[0] == pytest.approx(4.0)
    assert len(node.candidates[0].poses) == len(node.answers(1)[0].matches) == 3
    assert node.candidates[0].header == pose.header


def test_nothing_accepted_gives_no_pose(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(min_similarity=ACCEPT_NONE)
    shape = decode_image(jpegs[0]).shape
    noise = node.raw(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    node.send_until(node.camera(Image), noise, lambda: len(node.matches) >= 3)
    assert not any(message.accepted for message in node.matches)
    assert {match.reason for message in node.matches for match in message.matches} == {PlaceMatch.BELOW_SIMILARITY}
    node.status(lambda status, _: status.level == DiagnosticStatus.WARN and "uncertain" in status.message)
    assert node.candidates and not node.poses


def test_a_map_without_poses_names_places_and_keeps_silent_of_poses(
    robot: Callable[..., Any], jpegs: list[bytes], place_map: Path, tmp_path: Path
) -> None:
    known = PlaceMap.load(place_map)
    unposed = tuple(dataclasses.replace(place, pose=None) for place in known.places)
    dataclasses.replace(known, places=unposed, map_frame="").save(tmp_path / "unposed")
    node = robot(map=tmp_path / "unposed")
    node.send_until(node.camera(), node.photograph(jpegs[1]), lambda: len(node.matches) >= 3)
    assert node.matches[0].accepted and node.matches[0].matches[0].place_id == 1
    assert node.matches[0].map_frame == "" and not node.matches[0].matches[0].has_pose
    assert not node.poses and not node.candidates


@pytest.mark.parametrize("transport", ["raw", "auto"])
def test_uncompressed_images_are_answered_alike(robot: Callable[..., Any], jpegs: list[bytes], transport: str) -> None:
    node = robot(image_transport=transport)
    rgb = decode_image(jpegs[3])
    node.send_until(node.camera(Image), node.raw(np.ascontiguousarray(rgb[:, :, ::-1]), "bgr8"), lambda: node.matches)
    assert node.matches[0].matches[0].place_id == 3
    assert node.matches[0].matches[0].similarity == pytest.approx(1.0, abs=1e-3)
