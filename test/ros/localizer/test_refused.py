"""What the localizer refuses: counted by kind, told on /diagnostics, over with the next good frame."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage, PointCloud2

from vpr_core.preprocess import decode_image
from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import ByLight, Logistic, MatchModel, Threshold
from vpr_core.retrieval.place_map import PlaceMap
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import QueryPlace

START_NS = 1_700_000_000_000_000_000
HALF_SECOND_NS = 500_000_000
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def jpeg(levels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", np.clip(levels, 0, 255).astype(np.uint8))[1].tobytes()


def noise(level: float, sigma: float, like: bytes) -> bytes:
    """What a camera of that size sends that sees nothing."""
    return jpeg(level + np.random.default_rng(0).normal(0, sigma, decode_image(like).shape))


def says(level: bytes, words: str) -> Callable[[DiagnosticStatus, dict[str, str]], bool]:
    return lambda status, _: status.level == level and words in status.message


class Drive:
    """A camera whose stamps go on with every picture."""

    def __init__(self, node: Any, camera: Any) -> None:
        self._node, self._camera = node, camera
        self._stamps_ns = itertools.count(START_NS, HALF_SECOND_NS)

    def sends(self, pictures: Iterator[bytes]) -> Callable[[], None]:
        """To be called for each picture."""
        return lambda: self._camera.publish(self._node.photograph(next(pictures), next(self._stamps_ns)))

    def until(self, pictures: Iterator[bytes], reached: Callable[[], Any], what: str) -> None:
        send = self.sends(pictures)
        self._node.wait(lambda: reached() or send(), what)

    def until_dropped(self, kind: str, pictures: Iterator[bytes]) -> None:
        self.until(pictures, lambda: f"frames_dropped.{kind}" in self._node.values, f"a picture dropped as {kind}")

    def until_answered(self, pictures: Iterator[bytes]) -> None:
        before = len(self._node.matches)
        self.until(pictures, lambda: len(self._node.matches) > before, "an answer")


@pytest.mark.parametrize(
    ("kind", "level", "sigma", "words"),
    [
        ("dark", 16, 12, "image is dark: "),
        ("white", 253, 3, "image is white: "),
        ("covered", 90, 6, "image is covered: "),
    ],
)
def test_a_camera_that_sees_nothing_is_told_and_over_with_the_next_good_picture(
    robot: Callable[..., Any], jpegs: list[bytes], kind: str, level: float, sigma: float, words: str
) -> None:
    node = robot(stale_s=1000.0)
    drive = Drive(node, node.camera())
    drive.until_answered(itertools.cycle(jpegs))
    nothing = itertools.cycle([noise(level, sigma + number / 10, jpegs[0]) for number in range(3)])
    drive.until_dropped(kind, nothing)
    node.status(says(WARN, f"uncertain: images cannot be used: {words}"), drive.sends(nothing))
    assert node.set("stale_s", 0.2).successful
    values = node.status(says(ERROR, f"images cannot be used: {words}"), drive.sends(nothing))
    assert values["localization"] == "no input"
    assert node.set("stale_s", 1000.0).successful
    drive.until_answered(itertools.cycle(jpegs))
    values = node.status(says(OK, "localized"))
    kinds = [key for key in values if key.startswith("frames_dropped.")]
    assert kinds == [f"frames_dropped.{kind}"]
    assert f"image dropped: {words}" in node.process.output and "Traceback" not in node.process.output


def test_a_frozen_camera_is_told_until_its_picture_changes(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(stale_s=1000.0)
    drive = Drive(node, node.camera())
    drive.until_answered(itertools.cycle(jpegs))
    drive.until_dropped("frozen", itertools.repeat(jpegs[1]))
    node.status(says(WARN, "image is frozen: the same to the last bit for"), drive.sends(itertools.repeat(jpegs[1])))
    live = node.call(QueryPlace, "query")
    assert not live.success and "image is frozen" in live.message
    drive.until_answered(itertools.cycle(jpegs[2:4]))
    node.status(says(OK, "localized"))


def test_what_shall_be_taken_all_the_same_is_left_out_of_a_parameter(
    robot: Callable[..., Any], jpegs: list[bytes]
) -> None:
    node = robot(refuse="dark covered")
    drive = Drive(node, node.camera())
    drive.until(itertools.repeat(jpegs[1]), lambda: len(node.matches) > 8, "answers to the same picture")
    black = noise(10, 5, jpegs[0])
    drive.until_dropped("dark", itertools.repeat(black))
    refused = node.set("refuse", "dark fog")
    assert not refused.successful and "refuse has fog: expected any of dark white" in refused.reason
    assert node.set("refuse", "").successful
    drive.until_answered(itertools.repeat(black))
    assert set(node.values) & {"frames_dropped.frozen", "frames_dropped.covered"} == set()


def test_a_query_with_such_an_image_says_so(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    for picture, words in ((noise(10, 5, jpegs[0]), "image is dark: "), (noise(90, 5, jpegs[0]), "image is covered: ")):
        asked = node.call(QueryPlace, "query", image=node.photograph(picture))
        assert not asked.success and words in asked.message
    for _ in range(3):
        assert node.call(QueryPlace, "query", image=node.photograph(jpegs[0])).success


def test_half_clouds_are_told_until_whole_ones_come(lidar_robot: Callable[..., Any], clouds: list[np.ndarray]) -> None:
    node = lidar_robot(stale_s=1000.0)
    lidar, stamps_ns = node.lidar(), itertools.count(START_NS, HALF_SECOND_NS)
    drive = itertools.cycle(clouds)

    def send(half: bool = False) -> None:
        points = next(drive)
        lidar.publish(node.cloud(points[points[:, 1] > 0] if half else points, next(stamps_ns)))

    node.wait(lambda: len(node.matches) >= 12 or send(), "a dozen answers")
    node.wait(lambda: "frames_dropped.half_cloud" in node.values or send(half=True), "half a cloud dropped")
    node.status(says(WARN, "clouds cannot be used: cloud is only a part: "), lambda: send(half=True))
    answered = len(node.matches)
    node.wait(lambda: len(node.matches) > answered or send(), "an answer")
    node.status(says(OK, "localized"))


def test_two_cameras_on_one_topic_are_refused_until_one_is_left(
    robot: Callable[..., Any], passer_by: Callable[[], Any], jpegs: list[bytes]
) -> None:
    node = robot(stale_s=1000.0)
    drive = Drive(node, node.camera())
    drive.until_answered(itertools.cycle(jpegs))
    node.status(says(OK, "localized"))
    second = passer_by()
    rear = Drive(node, second.publisher(CompressedImage, node.image_topic, 50))
    ahead, behind = drive.sends(itertools.cycle(jpegs[:2])), rear.sends(itertools.cycle(jpegs[-2:]))
    words = f"2 publishers send on {node.image_topic}, which may not be one sensor"
    values = node.status(says(WARN, f"uncertain: images cannot be used: {words}"), lambda: (ahead(), behind()))
    assert int(values["frames_dropped.publishers"]) > 0
    asked = node.call(QueryPlace, "query")
    assert not asked.success and words in asked.message
    assert node.set("refuse", "dark").successful
    node.status(says(WARN, f"localized; {words}"), lambda: (ahead(), behind()))
    assert node.set("refuse", "dark publishers").successful
    second.close()
    node.status(says(OK, "localized"), ahead)


def test_a_lidar_on_a_camera_s_topic_disturbs_nothing(
    robot: Callable[..., Any], passer_by: Callable[[], Any], jpegs: list[bytes]
) -> None:
    node = robot(stale_s=1000.0)
    drive = Drive(node, node.camera())
    passer_by().node.create_publisher(PointCloud2, node.image_topic, 10)
    pictures, refused_from_s = itertools.cycle(jpegs), time.monotonic() + 7.0
    drive.until(pictures, lambda: time.monotonic() > refused_from_s, "the time after which two cameras are refused")
    drive.until_answered(pictures)
    assert "frames_dropped.publishers" not in node.values and "Traceback" not in node.process.output


def test_stamps_that_go_back_are_refused_and_time_goes_on_from_there(
    robot: Callable[..., Any], jpegs: list[bytes]
) -> None:
    node = robot(stale_s=1000.0)
    camera, stamps_ns = node.camera(), itertools.count(START_NS, -HALF_SECOND_NS)
    pictures = itertools.cycle(jpegs)

    def send_back() -> None:
        camera.publish(node.photograph(next(pictures), next(stamps_ns)))

    words = "images cannot be used: image is older than the one before it, by 0.500 s of its stamp"
    values = node.status(says(WARN, f"uncertain: {words}"), send_back)
    assert int(values["frames_dropped.backwards"]) > 0
    asked = node.call(QueryPlace, "query")
    assert not asked.success and "image is older than the one before it" in asked.message
    assert len(node.matches) <= 1, "none but the first"
    Drive(node, camera).until_answered(pictures)
    node.status(says(WARN, "localized; image stamps went back"))
    assert node.set("refuse", "dark").successful
    answered = len(node.matches)
    node.wait(lambda: len(node.matches) > answered + 3 or send_back(), "answers to stamps that go back")
    assert "Traceback" not in node.process.output


@pytest.fixture
def bounded_map(place_map: Path, tmp_path: Path) -> Path:
    """A map calibrated by distance alone: pictures as near as its own are right, those far from all are off the map."""
    folder = Path(shutil.copytree(place_map, tmp_path / "calibrated"))
    places = PlaceMap.load(folder)
    near = Logistic((-1.5, 0.0, 0.0, 0.0, 0.0), (1.0,) * 5, (-20.0, 0.0, 0.0, 0.0, 0.0), 0.0)
    model, far = MatchModel(ByLight(near, near), 10.0, 0.5), Logistic((-1.5,), (1.0,), (20.0,), 0.0)
    off_map, no_light = ByLight(far, far), LightShift.fit(np.zeros((1, 3)), np.zeros((1, 0)))
    thresholds = (Threshold(0.99, 0.99, 100, 0, 0.97, 0.99),)
    Calibration(
        places.hash, places.model_hash, 10.0, 15.0, 0.1, no_light, model, model, off_map, (0.0,) * 9, thresholds
    ).save(folder, {})  # fmt: skip
    return folder


def test_a_picture_off_the_map_is_refused_as_that_and_diagnostics_says_so(
    robot: Callable[..., Any], jpegs: list[bytes], bounded_map: Path
) -> None:
    node = robot(map=bounded_map, min_similarity=-1.0, stale_s=1000.0)
    drive = Drive(node, node.camera())
    elsewhere = [jpeg(np.kron(np.random.default_rng(seed).integers(0, 255, (12, 16, 3)), np.ones((20, 20, 1))))
                 for seed in (1, 2)]  # fmt: skip
    drive.until_answered(itertools.cycle(elsewhere))
    refused = node.matches[-1]
    assert not refused.accepted and refused.off_map_probability > 0.5
    assert {match.reason for match in refused.matches} == {PlaceMatch.OFF_MAP}
    values = node.status(says(WARN, "uncertain: no match is accepted (off map)"))
    assert values["last_reason"] == "off map" and not node.poses
    drive.until(itertools.cycle(jpegs), lambda: node.matches[-1].accepted, "an accepted answer")
    values = node.status(says(OK, "localized"))
    assert values["last_reason"] == "accepted"
