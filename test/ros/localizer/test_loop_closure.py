"""The localizer in mode loop_closure: the same closures as offline, for a SLAM back end, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from visualization_msgs.msg import MarkerArray

from vpr_core.data.poses import pose_from_message
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.loop_closure import LoopCloser, LoopOptions
from vpr_core.types import Pose
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import LoadMap, QueryPlace
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
STEP_NS = 400_000_000
LAP = 8
RADIUS_M = 10.0
OPTIONS = {"keyframe_m": 2.0, "exclude_m": 30.0, "exclude_s": 0.0, "max_drift": 0.3, "agreement_needed": 2}
THRESHOLD = 0.999


def on_circle(step: float) -> Pose:
    angle = 2 * math.pi * step / LAP
    return Pose.from_xy_yaw(RADIUS_M * math.cos(angle), RADIUS_M * math.sin(angle), angle + math.pi / 2)


@pytest.fixture
def driven(robot: Callable[..., Any], namespace: str, jpegs: list[bytes]) -> Callable[..., Any]:
    """driven() is a node without a map, which `step(number)` drives round a circle past the pictures of a drive."""

    def make(**parameters: Any) -> Any:
        given = {
            "mode": "loop_closure",
            "odometry_topic": f"{namespace}/odom",
            "map": "none",
            "min_similarity": THRESHOLD,
        }
        node = robot(**given | OPTIONS | parameters)
        node.queries = node.probe.collect(PoseStamped, f"{node.name}/query_pose")
        camera, odometry = node.camera(), node.probe.publisher(Odometry, f"{namespace}/odom", 50)
        # A place is answered once: who asks must be known to the node before, and a response shows that it is, since
        # readers are announced in their order.
        node.wait(lambda: node.state == "active", "the node to be active")

        def move(number: int, x_m: float = 0.0, frame: str = "odom") -> None:
            message = Odometry(child_frame_id="base_link")
            message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS + number * STEP_NS), frame
            message.pose.pose = pose_to_message(on_circle(number))
            message.pose.pose.position.x += x_m
            odometry.publish(message)

        def look(number: int, data: bytes | None = None) -> None:
            camera.publish(node.photograph(data or jpegs[number % LAP], START_NS + number * STEP_NS))

        def answer(number: int) -> Any:
            stamps = {stamp_to_ns(message.header.stamp): message for message in node.matches}
            return stamps.get(START_NS + number * STEP_NS)

        def step(number: int, **moved: Any) -> Any:
            def answered() -> Any:
                look(number)
                move(number, **moved)
                return answer(number)

            return node.wait(answered, f"the answer to image {number}")

        node.step, node.move, node.look, node.answer = step, move, look, answer
        return node

    return make


def test_the_closures_are_those_found_offline(driven: Callable[..., Any], bundle: Path, jpegs: list[bytes]) -> None:
    node = driven()
    closer = LoopCloser(Bundle.load(bundle), LoopOptions(**OPTIONS, min_similarity=THRESHOLD))
    markers = node.probe.collect(MarkerArray, f"{node.name}/markers")
    accepted = 0
    for number in range(2 * LAP):
        told = node.step(number)
        expected = closer.add(decode_image(jpegs[number % LAP]), START_NS + number * STEP_NS, on_circle(number))
        assert expected and (told.map_frame, told.map_hash, told.model_hash) == ("odom", "", closer.bundle.hash)
        assert told.header.frame_id == "camera_optical" and told.accepted == bool(expected.recognition.accepted)
        assert [match.place_id for match in told.matches] == [one.place_id for one in expected.recognition.matches]
        for match, one in zip(told.matches, expected.recognition.matches, strict=True):
            assert match.similarity == pytest.approx(one.similarity, abs=1e-4) and match.reason == one.reason
            assert match.has_pose and match.session == "1" and math.isnan(match.probability)
            assert stamp_to_ns(match.place_stamp) == START_NS + one.place_id * STEP_NS
            there = pose_from_message(match.pose).position_m
            assert there == pytest.approx(on_circle(one.place_id).position_m)
        accepted += told.accepted
    assert accepted == closer.closures == LAP - 1  # the first look of the second lap has nobody to agree with
    node.wait(lambda: len(node.queries) >= 2 * LAP, "the poses of all queries")
    here = {stamp_to_ns(query.header.stamp): query for query in node.queries}[START_NS + 11 * STEP_NS]
    assert here.header.frame_id == "odom"
    assert pose_from_message(here.pose).position_m == pytest.approx(on_circle(11).position_m)
    drawn = node.wait(
        lambda: [one for one in markers if {m.ns for m in one.markers} >= {"spread", "closures"}], "lines"
    )
    assert drawn[-1].markers[0].header.frame_id == "odom"
    values = node.status(
        lambda status, now: now.get("closures") == str(accepted) and status.level == DiagnosticStatus.OK
    )
    assert values["places"] == str(2 * LAP) and values["mode"] == "loop_closure" and values["memory_limit_mib"] == "256"


def test_a_robot_that_stands_adds_no_place(driven: Callable[..., Any], namespace: str, jpegs: list[bytes]) -> None:
    node = driven()
    node.step(0)
    later = iter(range(1, 10**6))

    def stand() -> None:
        number = next(later)
        node.look(number, jpegs[0])
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS + number * STEP_NS), "odom"
        message.pose.pose = pose_to_message(on_circle(0))
        odometry.publish(message)

    odometry = node.probe.publisher(Odometry, f"{namespace}/odom", 50)
    values = node.status(lambda _, now: int(now["frames_skipped"]) >= 3, stand)
    assert values["places"] == "1" and len(node.matches) == 1


def test_a_frozen_or_a_dark_picture_is_no_place(driven: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = driven()
    node.step(0)
    black = cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))[1].tobytes()
    for number, (kind, data) in enumerate({"frozen": jpegs[0], "dark": black}.items(), start=1):

        def send(number: int = number, data: bytes = data) -> None:
            node.look(number, data)
            node.move(number)

        values = node.status(lambda _, now, kind=kind: f"frames_dropped.{kind}" in now, send)
        assert values["places"] == "1" and len(node.matches) == 1
    node.step(3)
    node.status(lambda _, now: now.get("places") == "2")


def test_after_a_jump_the_past_has_no_poses(driven: Callable[..., Any]) -> None:
    node = driven(agreement_needed=1, max_drift=1.0)
    for number in range(LAP):
        node.step(number)
    # A second and more after the last pose that was believed: before, it may be an outlier.
    for number in range(2 * LAP, 3 * LAP):
        told = node.step(number, x_m=5000.0)
    assert "session 2 begins" in node.process.output
    assert told.accepted and told.matches[0].session == "1" and not told.matches[0].has_pose
    assert told.matches[0].place_id == LAP - 1 and told.matches[0].reason == PlaceMatch.ACCEPTED
    told = node.step(3 * LAP, x_m=5000.0, frame="other")
    assert told.map_frame == "other" and not any(match.has_pose for match in told.matches)
    node.status(lambda _, now: now.get("session") == "3")


def test_maps_are_refused_and_the_node_says_why(driven: Callable[..., Any], place_map: Path) -> None:
    node = driven()
    node.step(0)
    loaded = node.call(LoadMap, "load_map", folder=str(place_map))
    assert not loaded.success and "mode is loop_closure" in loaded.message
    asked = node.call(QueryPlace, "query")
    assert not asked.success and "mode is loop_closure" in asked.message
    refused = node.set("exclude_m", 5.0)
    assert not refused.successful and "clean the node up" in refused.reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"odometry_topic": None}, "needs odometry"),
        ({"exclude_m": 0.0}, "exclude_m and exclude_s are both 0"),
        ({"publish_tf": True}, "publish_tf needs a map"),
        ({"agreement_needed": 6}, "agreement of 6 of the last 5"),
        ({"min_similarity": -1.0}, "set min_similarity"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_said_at_configure(
    robot: Callable[..., Any], namespace: str, wrong: dict[str, Any], said: str
) -> None:
    given = {"mode": "loop_closure", "odometry_topic": f"{namespace}/odom", "min_similarity": THRESHOLD, **OPTIONS}
    node = robot(**{name: value for name, value in (given | wrong).items() if value is not None})
    node.process.says("cannot configure")
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and said in status.message)
    assert node.state == "unconfigured"
