"""The localizer as a process: lifecycle, answers, services, and what it does with what it cannot use."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from vpr_core.data.frames import Frames
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_distill_msgs.msg import PlaceMatch, PlaceMatchArray
from vpr_distill_msgs.srv import LoadMap, QueryPlace
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
ACCEPT_ALL, ACCEPT_NONE = -0.99, 1.0


class Robot:
    """A localizer process and all that it publishes."""

    def __init__(self, process: Any, probe: Any, namespace: str) -> None:
        self.process, self.probe = process, probe
        self.name = f"{namespace}/localizer"
        self.image_topic = f"{namespace}/image"
        self.matches = probe.collect(PlaceMatchArray, f"{self.name}/matches")
        self.poses = probe.collect(PoseWithCovarianceStamped, f"{self.name}/pose")
        self.candidates = probe.collect(PoseArray, f"{self.name}/candidates")
        self._diagnostics = probe.collect(DiagnosticArray, f"{namespace}/diagnostics")

    def call(self, service_type: Any, name: str, **fields: Any) -> Any:
        return self.probe.call(service_type, f"{self.name}/{name}", **fields)

    def change(self, transition: int) -> bool:
        return self.call(ChangeState, "change_state", transition=Transition(id=transition)).success

    @property
    def state(self) -> str:
        return self.call(GetState, "get_state").current_state.label

    def set(self, name: str, value: Any) -> Any:
        (result,) = self.call(
            SetParameters, "set_parameters", parameters=[Parameter(name, value=value).to_parameter_msg()]
        ).results
        return result

    def camera(self, message_type: type = CompressedImage, qos: QoSProfile | int = 50) -> Any:
        return self.probe.publisher(message_type, self.image_topic, qos)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Poll until the condition holds; where it never does, show what the node says of itself."""
        try:
            return self.probe.until(condition, what)
        except BaseException:
            print(self.process.output, *self._diagnostics[-1:], sep="\n")
            raise

    def status(self, reached: Callable[[DiagnosticStatus, dict[str, str]], Any]) -> dict[str, str]:
        """Wait until /diagnostics reports what `reached(status, values)` asks for; the values."""

        def newest() -> dict[str, str] | None:
            if not self._diagnostics:
                return None
            status = self._diagnostics[-1].status[0]
            values = {pair.key: pair.value for pair in status.values}
            return values if reached(status, values) else None

        return self.wait(newest, "a diagnostics message")

    @property
    def values(self) -> dict[str, str]:
        """The newest figures on /diagnostics."""
        return self.status(lambda *_: True)

    def answers(self, count: int) -> list[PlaceMatchArray]:
        self.wait(lambda: len(self.matches) >= count, f"{count} answers")
        return self.matches


@pytest.fixture
def robot(start: Callable[..., Any], probe: Any, namespace: str, bundle: Path, place_map: Path) -> Callable[..., Robot]:
    """robot(**parameters) starts a localizer in the test's namespace; bundle and map are given unless overridden."""

    def make(*arguments: str, **parameters: Any) -> Robot:
        values = {
            "bundle": bundle,
            "map": place_map,
            "image_topic": f"{namespace}/image",
            "min_similarity": ACCEPT_ALL,
            "diagnostics_period_s": 0.1,
            **parameters,
        }
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        remapped = ["-r", f"__ns:={namespace}", "-r", f"/diagnostics:={namespace}/diagnostics"]
        process = start("localizer", "--ros-args", *remapped, *words, *arguments)
        return Robot(process, probe, namespace)

    return make


@pytest.fixture(scope="session")
def jpegs(frames: Path) -> list[bytes]:
    """The pictures that the map was made of, by place."""
    drive = Frames.load(frames)
    return [(frames / str(frame.image)).read_bytes() for frame in drive.frames]


def photograph(data: bytes, stamp_ns: int = START_NS, format_name: str = "jpeg") -> CompressedImage:
    message = CompressedImage(format=format_name)
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = "camera_optical"
    message.data.frombytes(data)
    return message


def raw(rgb: np.ndarray, encoding: str = "rgb8") -> Image:
    height, width = rgb.shape[:2]
    message = Image(encoding=encoding, height=height, width=width, step=rgb.nbytes // height)
    message.header.stamp = ns_to_stamp(START_NS)
    message.data.frombytes(rgb.tobytes())
    return message


def send_until(publisher: Any, message: Any, reached: Callable[[], Any], robot: Robot) -> None:
    """Best-effort input may lose a message: repeat it until its effect shows."""

    def again() -> bool:
        if not reached():
            publisher.publish(message)
        return bool(reached())

    robot.wait(again, "an effect of the message")


def test_live_answers_are_those_of_the_recognizer(
    robot: Callable[..., Robot], jpegs: list[bytes], bundle: Path, place_map: Path
) -> None:
    node = robot()
    recognizer = PlaceRecognizer.load(bundle, place_map, min_similarity=ACCEPT_ALL)
    camera = node.camera()
    for index, data in enumerate(jpegs[:5]):
        send_until(camera, photograph(data, START_NS + index), lambda count=index: len(node.matches) > count, node)
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
    robot: Callable[..., Robot], jpegs: list[bytes], place_map: Path
) -> None:
    node = robot(top_k=3, position_stddev_m=2.0)
    places = PlaceMap.load(place_map)
    send_until(node.camera(), photograph(jpegs[2]), lambda: node.poses and node.candidates, node)
    pose, expected = node.poses[0], places.places[2].pose
    assert expected is not None
    assert (pose.header.frame_id, stamp_to_ns(pose.header.stamp)) == (places.map_frame, START_NS)
    position = pose.pose.pose.position
    assert (position.x, position.y, position.z) == pytest.approx(expected.position_m)
    assert pose.pose.covariance[0] == pytest.approx(4.0)
    assert len(node.candidates[0].poses) == len(node.answers(1)[0].matches) == 3
    assert node.candidates[0].header == pose.header


def test_nothing_accepted_gives_no_pose(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot(min_similarity=ACCEPT_NONE)
    shape = decode_image(jpegs[0]).shape
    noise = raw(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    send_until(node.camera(Image), noise, lambda: len(node.matches) >= 3, node)
    assert not any(message.accepted for message in node.matches)
    assert {match.reason for message in node.matches for match in message.matches} == {PlaceMatch.BELOW_SIMILARITY}
    node.status(lambda status, _: status.level == DiagnosticStatus.WARN and "uncertain" in status.message)
    assert node.candidates and not node.poses


def test_a_map_without_poses_names_places_and_keeps_silent_of_poses(
    robot: Callable[..., Robot], jpegs: list[bytes], place_map: Path, tmp_path: Path
) -> None:
    known = PlaceMap.load(place_map)
    unposed = tuple(dataclasses.replace(place, pose=None) for place in known.places)
    dataclasses.replace(known, places=unposed, map_frame="").save(tmp_path / "unposed")
    node = robot(map=tmp_path / "unposed")
    send_until(node.camera(), photograph(jpegs[1]), lambda: len(node.matches) >= 3, node)
    assert node.matches[0].accepted and node.matches[0].matches[0].place_id == 1
    assert node.matches[0].map_frame == "" and not node.matches[0].matches[0].has_pose
    assert not node.poses and not node.candidates


@pytest.mark.parametrize("transport", ["raw", "auto"])
def test_uncompressed_images_are_answered_alike(
    robot: Callable[..., Robot], jpegs: list[bytes], transport: str
) -> None:
    node = robot(image_transport=transport)
    rgb = decode_image(jpegs[3])
    send_until(node.camera(Image), raw(np.ascontiguousarray(rgb[:, :, ::-1]), "bgr8"), lambda: node.matches, node)
    assert node.matches[0].matches[0].place_id == 3
    assert node.matches[0].matches[0].similarity == pytest.approx(1.0, abs=1e-3)


def test_lifecycle_by_services(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot(autostart="false")
    assert node.state == "unconfigured"
    camera = node.probe.node.create_publisher(CompressedImage, node.image_topic, 10)
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.state == "inactive"
    assert camera.get_subscription_count() == 0
    for round_number in (1, 2):
        assert node.change(Transition.TRANSITION_ACTIVATE) and node.state == "active"
        answered = len(node.matches)
        send_until(camera, photograph(jpegs[0]), lambda before=answered: len(node.matches) > before, node)
        assert node.change(Transition.TRANSITION_DEACTIVATE) and node.state == "inactive", round_number
        node.probe.until(lambda: camera.get_subscription_count() == 0, "the end of the subscription")
    assert node.change(Transition.TRANSITION_CLEANUP) and node.state == "unconfigured"
    assert "no map" in node.call(QueryPlace, "query", image=photograph(jpegs[0])).message
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
    assert node.change(Transition.TRANSITION_ACTIVE_SHUTDOWN) and node.state == "finalized"
    assert node.process.signalled() == 0 and "Traceback" not in node.process.output


@pytest.mark.parametrize("fault", ["map of another model", "no bundle", "no map", "bundle absent", "map damaged"])
def test_what_cannot_be_loaded_leaves_the_node_up_and_says_why(
    robot: Callable[..., Robot], place_map: Path, other_map: Path, tmp_path: Path, fault: str
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "map.json").write_text("{")
    parameters = {
        "map of another model": {"map": other_map},
        "no bundle": {"bundle": "''"},
        "no map": {"map": "''"},
        "bundle absent": {"bundle": tmp_path / "absent"},
        "map damaged": {"map": damaged},
    }[fault]
    node = robot(**parameters)
    node.process.says("cannot configure: ")
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and status.message.startswith("no map: "))
    assert node.state == "unconfigured"
    if "map" in parameters:
        assert node.set("map", str(place_map)).successful
        assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
        node.status(lambda status, _: "no image" in status.message)
    assert node.process.signalled() == 0 and "Traceback" not in node.process.output


def test_load_map_replaces_the_map_or_keeps_the_old_one(
    robot: Callable[..., Robot], jpegs: list[bytes], place_map: Path, other_map: Path, tmp_path: Path
) -> None:
    known = PlaceMap.load(place_map)
    shorter = dataclasses.replace(known, places=known.places[:4], descriptors=known.descriptors[:4])
    shorter.save(tmp_path / "shorter")
    node = robot()
    node.process.says("active")
    for folder, reason in ((other_map, "was made with model"), (tmp_path / "absent", "absent"), ("", "no map")):
        response = node.call(LoadMap, "load_map", folder=str(folder))
        assert not response.success and reason in response.message
        assert node.call(QueryPlace, "query", image=photograph(jpegs[0])).result.map_hash == known.hash
    response = node.call(LoadMap, "load_map", folder=str(tmp_path / "shorter"))
    assert response.success and response.places == 4
    assert response.map_hash == PlaceMap.load(tmp_path / "shorter").hash != known.hash
    result = node.call(QueryPlace, "query", image=photograph(jpegs[0]), max_candidates=100).result
    assert result.map_hash == response.map_hash and len(result.matches) == 4
    (value,) = node.call(GetParameters, "get_parameters", names=["map"]).values
    assert value.string_value == str(tmp_path / "shorter")


def test_query_by_service(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot(top_k=4)
    node.process.says("active")
    assert "no live image" in node.call(QueryPlace, "query").message
    sent = node.call(QueryPlace, "query", image=photograph(jpegs[2]), max_candidates=2)
    assert sent.success and sent.message == ""
    assert [sent.result.matches[0].place_id, len(sent.result.matches)] == [2, 2]
    broken = node.call(QueryPlace, "query", image=photograph(b"no picture"))
    assert not broken.success and "decode" in broken.message and not broken.result.matches
    send_until(node.camera(), photograph(jpegs[1], START_NS + 7), lambda: node.matches, node)
    live = node.call(QueryPlace, "query")
    assert live.success and stamp_to_ns(live.result.header.stamp) == START_NS + 7
    assert [live.result.matches[0].place_id, len(live.result.matches)] == [1, 4]


def test_parameters_that_may_change_apply_at_once(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot()
    node.process.says("active")
    assert node.set("top_k", 2).successful
    assert len(node.call(QueryPlace, "query", image=photograph(jpegs[0])).result.matches) == 2
    for name, value, reason in (
        ("top_k", 0, "out of range"),
        ("bundle", "/other", "configured"),
        ("modality", "lidar", "not supported"),
        ("autostart", False, "read-only"),
    ):
        result = node.set(name, value)
        assert not result.successful and reason in result.reason
    assert len(node.call(QueryPlace, "query", image=photograph(jpegs[0])).result.matches) == 2


def test_garbage_is_counted_by_reason_and_the_node_lives(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot(image_transport="compressed")
    camera = node.camera()
    shape = decode_image(jpegs[0]).shape
    narrow = np.ascontiguousarray(np.zeros((shape[0], shape[1] // 2, 3), np.uint8))
    for message, reason in (
        (photograph(b""), "empty"),
        (photograph(b"\x00" * 1000), "undecodable"),
        (photograph(jpegs[0][: len(jpegs[0]) // 2]), "truncated"),
        (photograph(jpegs[0], format_name="16UC1; compressedDepth png"), "encoding"),
        (photograph(png(narrow), format_name="png"), "refused"),
    ):
        send_until(camera, message, lambda key=f"frames_dropped.{reason}": key in node.values, node)
    assert not node.matches
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "cannot be used" in status.message)
    send_until(camera, photograph(jpegs[0]), lambda: node.matches, node)
    values = node.status(lambda status, _: status.level == DiagnosticStatus.OK)
    kinds = ("empty", "undecodable", "truncated", "encoding", "refused")
    assert int(values["frames_dropped"]) == sum(int(values[f"frames_dropped.{kind}"]) for kind in kinds)
    assert "image dropped: " in node.process.output and "Traceback" not in node.process.output


def png(rgb: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()


def test_an_encoding_without_colour_is_dropped(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot()
    depth = raw(np.zeros((48, 64), np.uint16), "16UC1")
    camera = node.camera(Image)
    send_until(camera, depth, lambda: "image encoding '16UC1' is not one of" in node.process.output, node)
    send_until(camera, raw(decode_image(jpegs[0])), lambda: node.matches, node)
    node.status(lambda _, values: int(values.get("frames_dropped.encoding", "0")) >= 1)


def test_a_flood_queues_nothing_and_every_frame_is_counted(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot()
    camera = node.camera()
    sent = 0

    def flooded() -> bool:
        nonlocal sent
        for _ in range(10):  # faster than any network, slower than DDS forgets
            camera.publish(photograph(jpegs[sent % len(jpegs)], START_NS + sent))
            sent += 1
            time.sleep(0.001)
        return int(node.values["frames_received"]) > 100 and int(node.values["frames_superseded"]) > 0

    def settled(_: DiagnosticStatus, values: dict[str, str]) -> bool:
        parts = ("frames_processed", "frames_superseded", "frames_dropped")
        return int(values["frames_received"]) == sum(int(values[part]) for part in parts)

    node.probe.until(flooded, "a hundred images received and one superseded")
    values = node.status(settled)
    assert values["frames_dropped"] == "0"
    assert 0 < int(values["frames_processed"]) < int(values["frames_received"]) <= sent
    stamps = [stamp_to_ns(message.header.stamp) for message in node.answers(10)]
    assert stamps == sorted(set(stamps))


def test_stamps_that_go_back_are_told_once_and_answered(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot()
    camera = node.camera()
    for count, offset_ns in enumerate((10, 5, 8, 2)):
        message = photograph(jpegs[0], START_NS + offset_ns)
        stamp = message.header.stamp
        send_until(camera, message, lambda stamp=stamp: node.matches and node.matches[-1].header.stamp == stamp, node)
        assert len(node.matches) > count
    node.status(lambda _, values: int(values["stamps_backwards"]) >= 2)
    assert node.process.output.count("image stamps went back") == 1


def test_a_topic_of_another_type_is_named(robot: Callable[..., Robot]) -> None:
    node = robot()
    node.probe.node.create_publisher(PointCloud2, node.image_topic, 10)
    node.process.says("carries sensor_msgs/msg/PointCloud2, expected sensor_msgs/msg/Image or")
    assert node.state == "active"


def test_incompatible_qos_is_told_with_what_to_set(robot: Callable[..., Robot], namespace: str) -> None:
    node = robot("-p", f"qos_overrides.{namespace}/image.subscription.reliability:=reliable")
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.probe.node.create_publisher(CompressedImage, node.image_topic, best_effort)
    node.process.says(f"set qos_overrides.{namespace}/image.subscription.reliability to")


def test_silence_is_an_error_on_diagnostics(robot: Callable[..., Robot], jpegs: list[bytes]) -> None:
    node = robot(stale_s=0.5)
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "yet" in status.message)
    send_until(node.camera(), photograph(jpegs[0]), lambda: node.matches, node)
    values = node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and " s" in status.message)
    assert float(values["last_accepted_age_s"]) > 0 and float(values["latency_p95_ms"]) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_full_traffic_ends_it_cleanly(robot: Callable[..., Robot], jpegs: list[bytes], number: int) -> None:
    node = robot()
    camera = node.camera()
    send_until(camera, photograph(jpegs[0]), lambda: len(node.matches) >= 3, node)
    # A terminal sends Ctrl-C to the launch system and the node, and the launch system sends it on.
    while node.process.popen.poll() is None:
        node.process.popen.send_signal(number)
        camera.publish(photograph(jpegs[0]))
        time.sleep(0.02)
    assert node.process.ends() == 0, node.process.output
    assert "Traceback" not in node.process.output and "rror" not in node.process.output


@pytest.mark.parametrize("name", ["localizer", "match_recorder"])
def test_missing_messages_are_named_with_the_command_that_builds_them(
    start: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    (tmp_path / "vpr_distill_msgs").mkdir()
    (tmp_path / "vpr_distill_msgs" / "__init__.py").touch()
    process = start(name, env={"PYTHONPATH": str(tmp_path)})
    assert process.ends() == 1
    assert "colcon build --base-paths . vpr_distill_msgs" in process.output
    assert len(process.output.strip().splitlines()) == 1, process.output
