"""What the localizer does with what it cannot use or cannot keep up with."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from vpr_core.preprocess import decode_image
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000


def png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()


def test_garbage_is_counted_by_reason_and_the_node_lives(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(image_transport="compressed")
    camera = node.camera()
    picture = decode_image(jpegs[0])
    narrow = picture[:, : picture.shape[1] // 2]
    for message, reason in (
        (node.photograph(b""), "empty"),
        (node.photograph(b"\x00" * 1000), "undecodable"),
        (node.photograph(jpegs[0][: len(jpegs[0]) // 2]), "truncated"),
        (node.photograph(jpegs[0], format_name="16UC1; compressedDepth png"), "encoding"),
        (node.photograph(png(narrow), format_name="png"), "refused"),
    ):
        node.send_until(camera, message, lambda key=f"frames_dropped.{reason}": key in node.values)
    assert not node.matches
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "cannot be used" in status.message)
    node.send_until(camera, node.photograph(jpegs[0]), lambda: node.matches)
    values = node.status(lambda status, _: status.level == DiagnosticStatus.OK)
    kinds = ("empty", "undecodable", "truncated", "encoding", "refused")
    assert int(values["frames_dropped"]) == sum(int(values[f"frames_dropped.{kind}"]) for kind in kinds)
    assert "image dropped: " in node.process.output and "Traceback" not in node.process.output


def test_an_encoding_without_colour_is_dropped(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    depth = node.raw(np.zeros((48, 64), np.uint16), "16UC1")
    camera = node.camera(Image)
    node.send_until(camera, depth, lambda: "image encoding '16UC1' is not one of" in node.process.output)
    node.send_until(camera, node.raw(decode_image(jpegs[0])), lambda: node.matches)
    node.status(lambda _, values: int(values.get("frames_dropped.encoding", "0")) >= 1)


def test_a_flood_queues_nothing_and_every_frame_is_counted(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    camera = node.camera()
    sent = 0

    def flooded() -> bool:
        nonlocal sent
        for _ in range(10):  # faster than any network, slower than DDS forgets
            camera.publish(node.photograph(jpegs[sent % len(jpegs)], START_NS + sent))
            sent += 1
            time.sleep(0.001)
        counts = {name: int(node.values[f"frames_{name}"]) for name in ("received", "superseded", "processed")}
        return counts["received"] > 100 and counts["superseded"] > 0 and counts["processed"] >= 10

    def settled(_: DiagnosticStatus, values: dict[str, str]) -> bool:
        parts = ("frames_processed", "frames_superseded", "frames_dropped")
        return int(values["frames_received"]) == sum(int(values[part]) for part in parts)

    node.probe.until(flooded, "a hundred images received, one superseded and ten answered")
    values = node.status(settled)
    assert values["frames_dropped"] == "0"
    assert 0 < int(values["frames_processed"]) < int(values["frames_received"]) <= sent
    stamps = [stamp_to_ns(message.header.stamp) for message in node.answers(10)]
    assert stamps == sorted(set(stamps))


def test_after_a_stamp_that_goes_back_the_next_is_answered(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    camera = node.camera()
    for count, offset_ns in enumerate((10, 5, 8, 2)):
        message = node.photograph(jpegs[0], START_NS + offset_ns)
        stamp = message.header.stamp
        node.send_until(camera, message, lambda stamp=stamp: node.matches and node.matches[-1].header.stamp == stamp)
        assert len(node.matches) > count
    values = node.status(lambda _, values: int(values["stamps_backwards"]) >= 2)
    assert values["frames_dropped.backwards"] == values["stamps_backwards"]
    assert "image dropped: image is older than the one before it" in node.process.output


def test_stamps_of_zero_are_told_once_counted_and_answered(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    camera = node.camera()
    node.send_until(camera, node.photograph(jpegs[0], 0), lambda: len(node.matches) >= 2)
    assert stamp_to_ns(node.matches[0].header.stamp) == 0 and node.matches[0].accepted
    node.status(lambda _, values: int(values["stamps_zero"]) >= 2 and values["stamps_backwards"] == "0")
    assert node.process.output.count("image stamps are zero") == 1


def test_simulated_time_that_stands_still_or_goes_back_stops_nothing(
    robot: Callable[..., Any], jpegs: list[bytes], namespace: str
) -> None:
    node = robot("-r", f"/clock:={namespace}/clock", use_sim_time=True)
    clock = node.probe.publisher(Clock, f"{namespace}/clock")
    camera = node.camera()
    for second in (50, 10):
        clock.publish(Clock(clock=ns_to_stamp(START_NS + second * 10**9)))
        message = node.photograph(jpegs[1], START_NS + second * 10**9)
        stamp = message.header.stamp
        node.send_until(camera, message, lambda stamp=stamp: node.matches and node.matches[-1].header.stamp == stamp)
    node.status(lambda status, _: status.message.startswith("localized"), lambda: camera.publish(message))


def test_a_bundle_without_a_threshold_is_told(robot: Callable[..., Any]) -> None:
    node = robot(min_similarity=-1)
    node.process.says("the bundle brings no threshold")
    node.process.says("active, ")


def test_a_topic_of_another_type_is_named(robot: Callable[..., Any]) -> None:
    node = robot()
    node.probe.node.create_publisher(PointCloud2, node.image_topic, 10)
    node.process.says("carries sensor_msgs/msg/PointCloud2, expected sensor_msgs/msg/Image or")
    assert node.state == "active"


def test_a_topic_that_nobody_publishes_is_told_with_those_there_are(
    robot: Callable[..., Any], probe: Any, namespace: str
) -> None:
    probe.node.create_publisher(CompressedImage, f"{namespace}/other", 1)
    node = robot()
    node.process.says(f"nobody publishes on {node.image_topic} yet; such topics here: ")
    node.process.says(f"{namespace}/other")


@pytest.mark.parametrize("of", ["image", "odom"])
def test_incompatible_qos_is_told_with_what_to_set_as_long_as_it_is_there(
    robot: Callable[..., Any], passer_by: Callable[[], Any], namespace: str, jpegs: list[bytes], of: str
) -> None:
    reliable = f"qos_overrides.{namespace}/{of}.subscription.reliability:=reliable"
    node = robot("-p", reliable, odometry_topic=f"{namespace}/odom", filter=False, stale_s=1000.0)
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    sender = passer_by()
    sender.node.create_publisher({"image": CompressedImage, "odom": Odometry}[of], f"{namespace}/{of}", best_effort)
    words = f"set qos_overrides.{namespace}/{of}.subscription.reliability to"
    node.process.says(words)
    if of == "odom":  # which is looked at once the sensor sends
        node.send_until(node.camera(), node.photograph(jpegs[0]), lambda: node.matches)
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and words in status.message)
    sender.close()
    node.status(lambda status, _: words not in status.message)


def test_nothing_accepted_for_long_is_lost(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(lost_s=1.0, refuse="dark", stale_s=1000.0, min_similarity=0.9999)
    camera, picture = node.camera(), node.photograph(jpegs[0])
    node.send_until(camera, picture, lambda: node.poses)
    noise = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 8)
    other = node.photograph(cv2.imencode(".jpg", noise)[1].tobytes())
    seen = node.status(
        lambda status, values: values["localization"] == "lost" and "lost: no match is accepted" in status.message,
        meanwhile=lambda: camera.publish(other),
    )
    assert float(seen["last_accepted_age_s"]) > 1.0


def test_silence_is_an_error_on_diagnostics(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(stale_s=0.5)
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "yet" in status.message)
    node.send_until(node.camera(), node.photograph(jpegs[0]), lambda: node.matches)
    values = node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and " s" in status.message)
    assert float(values["last_accepted_age_s"]) > 0 and float(values["latency_p95_ms"]) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_full_traffic_ends_it_cleanly(robot: Callable[..., Any], jpegs: list[bytes], number: int) -> None:
    node = robot()
    camera = node.camera()
    node.send_until(camera, node.photograph(jpegs[0]), lambda: len(node.matches) >= 3)
    # A terminal sends Ctrl-C to the launch system and the node, and the launch system sends it on.
    while node.process.popen.poll() is None:
        node.process.popen.send_signal(number)
        camera.publish(node.photograph(jpegs[0]))
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
