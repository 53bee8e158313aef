"""The localizer with odometry: what the way adds to each image, and what it says when odometry is bad or absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.types import Pose
from vpr_distill_msgs.msg import FilteredPlace, PlaceMatch
from vpr_distill_msgs.srv import LoadMap
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
STEP_NS = 500_000_000
MODEL = ObservationModel(offset=-5.0, per_similarity=0.0, per_standing=4.0, off_map_log_ratio=0.0, evidence_m=2.0)
# A map's frame turned and moved against odometry's, whose own is arbitrary.
T_odom_map = Pose.from_xy_yaw(500.0, -80.0, 2.0)
NO_PLACE_ALONE = 1.0


def dimmed(jpeg: bytes) -> np.ndarray:
    """A picture of the map, darker, so that its similarity to its own place is below 1."""
    return np.ascontiguousarray(decode_image(jpeg) // 2)


@pytest.fixture(scope="module")
def fitted_map(place_map: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map with an observation model."""
    folder = Path(shutil.copytree(place_map, tmp_path_factory.mktemp("filter") / "map"))
    MODEL.save(folder)
    return folder


@pytest.fixture
def driven(robot: Callable[..., Any], namespace: str, fitted_map: Path, frames: Path, jpegs: list[bytes]) -> Any:
    """driven(**parameters) is a localizer with odometry, which `step(index)` drives along the map's own frames."""
    poses = [frame.pose for frame in Frames.load(frames).frames]
    darker = [dimmed(data) for data in jpegs]

    def make(*arguments: str, **parameters: Any) -> Any:
        given = {"map": fitted_map, "odometry_topic": f"{namespace}/odom", **parameters}
        node = robot(*arguments, **given)
        node.T_odom_map = T_odom_map
        node.filtered = node.probe.collect(FilteredPlace, f"{node.name}/filtered")
        camera, odometry = node.camera(Image), node.probe.publisher(Odometry, f"{namespace}/odom", 50)

        def send(index: int) -> None:
            place = poses[index]
            assert place
            message = Odometry(child_frame_id="base_link")
            message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS + index * STEP_NS), "odom"
            message.pose.pose = pose_to_message(compose(node.T_odom_map, place))
            photograph(index)
            odometry.publish(message)

        def photograph(index: int) -> None:
            image = node.raw(darker[index])
            image.header.stamp = ns_to_stamp(START_NS + index * STEP_NS)
            camera.publish(image)

        def step(index: int, answers: list[Any] | None = None) -> Any:
            """Send an image and where odometry was until the answer to them comes; the answer."""
            wanted = node.filtered if answers is None else answers

            def answered() -> Any:
                send(index)
                stamps = {stamp_to_ns(message.header.stamp): message for message in wanted}
                return stamps.get(START_NS + index * STEP_NS)

            return node.wait(answered, f"the answer to image {index}")

        node.step, node.send, node.photograph_place = step, send, photograph
        return node

    return make


def test_places_along_a_drive_are_accepted_where_single_images_are_not(
    driven: Callable[..., Any], bundle: Path, fitted_map: Path, frames: Path, jpegs: list[bytes]
) -> None:
    node = driven(min_similarity=NO_PLACE_ALONE)
    drive = Frames.load(frames)
    sequence = SequenceRecognizer.of(PlaceRecognizer.load(bundle, fitted_map), fitted_map)
    for index in range(5):
        told = node.step(index)
        frame = drive.frames[index]
        expected = sequence.recognize(dimmed(jpegs[index]), START_NS + index * STEP_NS, frame.pose)[1]
        assert told.place_id == expected.place_id == index and told.header.frame_id == "map"
        assert told.probability == pytest.approx(expected.probability, abs=1e-3)
        assert told.accepted == expected.accepted and (told.reason == FilteredPlace.ACCEPTED) == told.accepted
    assert told.accepted and told.map_hash == node.matches[-1].map_hash
    assert not any(message.accepted for message in node.matches)
    node.wait(lambda: node.poses and stamp_to_ns(node.poses[-1].header.stamp) == START_NS + 4 * STEP_NS, "a pose")
    position, place = node.poses[-1].pose.pose.position, drive.frames[4].pose
    assert place and (position.x, position.y) == pytest.approx(place.position_m[:2])
    values = node.status(
        lambda status, values: status.level == DiagnosticStatus.OK and values["filtered_place"] == "4",
        meanwhile=lambda: node.send(4),
    )
    assert (values["localization"], values["filter"], values["filtered_reason"]) == ("localized", "on", "accepted")
    assert float(values["filtered_probability"]) > 0.99


def test_along_odometry_too_acceptance_follows_the_target(driven: Callable[..., Any]) -> None:
    node = driven(min_similarity=NO_PLACE_ALONE)
    for index in range(4):
        told = node.step(index)
    assert told.accepted and 0.99 <= told.probability < 1.0
    for target, is_accepted in ((1.0, False), (0.9, True), (0.0, True)):
        assert node.set("target_precision", target).successful
        index += 1
        told = node.step(index)
        assert told.accepted == is_accepted and told.place_id == index
        assert (told.reason == FilteredPlace.BELOW_TARGET) != is_accepted


def test_what_is_stale_tells_the_filter_nothing(driven: Callable[..., Any], namespace: str) -> None:
    node = driven("-r", f"/clock:={namespace}/clock", use_sim_time=True, stale_s=5.0)
    clock = node.probe.publisher(Clock, f"{namespace}/clock")

    def at(now_ns: int) -> None:
        clock.publish(Clock(clock=ns_to_stamp(now_ns)))
        node.send(0)

    def stale() -> int:
        return sum(message.matches[0].reason == PlaceMatch.STALE for message in node.matches)

    node.wait(lambda: stale() > 10 or at(START_NS + 8 * 10**9), "stale answers")
    before = len(node.filtered)
    node.wait(lambda: stale() > 20 or at(START_NS + 8 * 10**9), "more of them")
    assert len(node.filtered) == before and not node.matches[-1].accepted
    node.wait(lambda: len(node.filtered) > before or at(START_NS), "an answer along the way")


def test_without_odometry_nothing_is_accepted_and_that_is_said(driven: Callable[..., Any]) -> None:
    node = driven()
    node.wait(lambda: node.photograph_place(3) or node.filtered, "an answer without odometry")
    assert node.filtered[0].reason == FilteredPlace.NO_ODOMETRY and not node.filtered[0].accepted
    assert node.matches[0].accepted and not node.poses
    values = node.status(
        lambda status, _: "no odometry on" in status.message, meanwhile=lambda: node.photograph_place(3)
    )
    assert values["localization"] == "no input" and values["odometry_age_s"] == "never"


def test_odometry_that_jumps_for_good_begins_anew(driven: Callable[..., Any]) -> None:
    node = driven()
    for index in range(3):
        assert node.step(index).place_id == index
    # Odometry that was restarted elsewhere: for a second that may be an outlier, then it goes on from there.
    node.T_odom_map = Pose.from_xy_yaw(-700.0, 300.0, 0.0)
    node.send(3)
    node.status(lambda _, values: int(values.get("odometry_dropped.jump", 0)), meanwhile=lambda: node.send(3))
    for index in range(6, 10):
        told = node.step(index)
    assert told.accepted and told.place_id == 9
    assert all(stamp_to_ns(message.header.stamp) == START_NS + message.place_id * STEP_NS
               for message in node.filtered if message.accepted)  # fmt: skip
    node.status(lambda _, values: values["localization"] == "localized", meanwhile=lambda: node.send(9))


def test_off_and_without_odometry_each_image_stands_alone(driven: Callable[..., Any], place_map: Path) -> None:
    node = driven(map=place_map, filter=False)
    node.step(0, answers=node.poses)
    assert node.matches[0].accepted and not node.filtered
    assert node.values["filter"] == "off" and node.values["filtered_reason"] == ""


def test_a_map_without_a_model_is_refused_with_the_command(driven: Callable[..., Any], place_map: Path) -> None:
    node = driven()
    node.process.says("active")
    response = node.call(LoadMap, "load_map", folder=str(place_map))
    assert not response.success and "`vpr-distill fit-filter`" in response.message
    assert [node.step(index).place_id for index in range(3)][-1] == 2


def test_what_cannot_go_together_is_refused(robot: Callable[..., Any], namespace: str, place_map: Path) -> None:
    robot(map=place_map, odometry_topic=f"{namespace}/odom").process.says("made by `vpr-distill fit-filter`")
    robot(initialpose_topic="/initialpose").process.says("initialpose_topic cannot do without odometry")
    robot(agreement_needed=6).process.says("agreement of 6 of the last 5 answers")
