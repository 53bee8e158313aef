"""The localizer with a LiDAR: what it answers, what it counts, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from vpr_core.retrieval.query import query_bag
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import LoadMap, QueryPlace
from vpr_distill_ros.stamps import stamp_to_ns

START_NS = 1_700_000_000_000_000_000
ACCEPT_ALL = -0.99
SENSOR = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def test_live_answers_are_those_of_the_recognizer(
    lidar_robot: Callable[..., Any], clouds: list[np.ndarray], lidar_bundle: Path, lidar_map: Path
) -> None:
    node = lidar_robot()
    recognizer = PlaceRecognizer.load(lidar_bundle, lidar_map, min_similarity=ACCEPT_ALL)
    lidar = node.lidar(SENSOR)
    for index, points in enumerate(clouds[:5]):
        node.send_until(lidar, node.cloud(points, START_NS + index), lambda count=index: len(node.matches) > count)
    for message in node.matches:
        index = stamp_to_ns(message.header.stamp) - START_NS
        offline = recognizer.recognize(clouds[index], START_NS + index)
        assert [match.place_id for match in message.matches] == [match.place_id for match in offline.matches]
        assert [match.similarity for match in message.matches] == pytest.approx(
            [match.similarity for match in offline.matches], abs=1e-4
        )
        assert message.matches[0].place_id == index and message.matches[0].reason == PlaceMatch.ACCEPTED
        assert message.header.frame_id == "lidar"
        assert (message.map_hash, message.model_hash) == (recognizer.map_hash, recognizer.model_hash)
    node.wait(lambda: node.poses and node.candidates, "a pose")
    node.status(lambda status, _: status.level == DiagnosticStatus.OK and status.hardware_id == node.cloud_topic)
    assert "clouds through numpy" in node.process.output


def test_a_replayed_bag_is_answered_as_the_offline_query_answers_it(
    lidar_robot: Callable[..., Any], start: Callable[..., Any], namespace: str, bag: Path, lidar_bundle: Path,
    lidar_map: Path, figures: list[str],
) -> None:  # fmt: skip
    node = lidar_robot(min_similarity=0.9)
    node.process.says("active, clouds from")
    remapped = [word for name, to in (("/lidar/points", f"{namespace}/points"), ("/clock", f"{namespace}/clock"))
                for word in ("-r", f"{name}:={to}")]  # fmt: skip
    replay = start("bag_replay", "--ros-args", *remapped, "-p", f"bag:={bag}", "-p", "wait_for_subscribers_s:=60.0")
    assert replay.ends() == 0, replay.output
    recognizer = PlaceRecognizer.load(lidar_bundle, lidar_map, min_similarity=0.9)
    offline = {record["stamp_ns"]: record for record in query_bag(recognizer, bag)}
    answered = node.answers(int(np.ceil(0.75 * len(offline))))
    differences = []
    for message in answered:
        expected = offline[stamp_to_ns(message.header.stamp)]
        assert [match.place_id for match in message.matches] == [match["place_id"] for match in expected["matches"]]
        assert message.accepted == expected["accepted"] and message.map_hash == expected["map_hash"]
        differences += [abs(match.similarity - other["similarity"])
                        for match, other in zip(message.matches, expected["matches"], strict=True)]  # fmt: skip
    latency_ms = node.values["latency_p50_ms"]
    figures.append(f"LiDAR live against offline: {len(answered)} of {len(offline)} clouds answered, largest difference "
                   f"of similarity {max(differences):.1e}, median latency {latency_ms} ms")  # fmt: skip
    assert max(differences) <= 1e-4


def test_every_layout_of_a_cloud_is_answered_alike(lidar_robot: Callable[..., Any], clouds: list[np.ndarray]) -> None:
    node = lidar_robot()
    lidar = node.lidar()
    rows = len(clouds[3]) // 8
    organised = np.insert(clouds[3][: 8 * rows], np.arange(0, 8 * rows, rows), np.nan, axis=0)
    for message in (
        node.cloud(clouds[3], START_NS, padding=16),
        node.cloud(clouds[3], START_NS + 1, order=">"),
        node.cloud(organised, START_NS + 2, height=8, padding=4),
        node.cloud(organised, START_NS + 3, height=8, order=">"),
    ):
        stamp = message.header.stamp
        node.send_until(lidar, message, lambda stamp=stamp: node.matches and node.matches[-1].header.stamp == stamp)
        best = node.matches[-1].matches[0]
        assert best.place_id == 3 and best.similarity == pytest.approx(1.0, abs=1e-3)


def test_garbage_is_counted_by_reason_and_the_node_lives(
    lidar_robot: Callable[..., Any], clouds: list[np.ndarray]
) -> None:
    node = lidar_robot()
    lidar = node.lidar()
    cut, nameless, stepless = (node.cloud(clouds[0]) for _ in range(3))
    del cut.data[len(cut.data) // 2 :]
    nameless.fields[2].name = "depth"
    stepless.point_step = 0
    far = clouds[0] + np.float32([1e4, 0, 0, 0])
    for message, reason in (
        (node.cloud(clouds[0][:0]), "empty"),
        (node.cloud(np.full((64, 4), np.nan, np.float32)), "empty"),
        (node.cloud(np.zeros((16384, 4), np.float32)), "sparse"),
        (node.cloud(far), "range"),
        (cut, "truncated"),
        (nameless, "fields"),
        (stepless, "layout"),
    ):
        before = int(node.values.get(f"frames_dropped.{reason}", "0"))
        node.send_until(lidar, message, lambda key=f"frames_dropped.{reason}", before=before:
                        int(node.values.get(key, "0")) > before)  # fmt: skip
    assert not node.matches
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "clouds cannot be used" in status.message)
    node.send_until(lidar, node.cloud(clouds[0]), lambda: node.matches)
    values = node.status(lambda status, _: status.level == DiagnosticStatus.OK)
    kinds = ("empty", "sparse", "range", "truncated", "fields", "layout")
    assert int(values["frames_dropped"]) == sum(int(values[f"frames_dropped.{kind}"]) for kind in kinds)
    assert "cloud dropped: " in node.process.output and "Traceback" not in node.process.output


def test_query_by_service_takes_the_newest_cloud_and_no_image(
    lidar_robot: Callable[..., Any], clouds: list[np.ndarray], jpegs: list[bytes]
) -> None:
    node = lidar_robot(top_k=4)
    node.process.says("active")
    empty = node.call(QueryPlace, "query")
    assert not empty.success and empty.message.startswith("no live cloud has come: activate the node")
    refused = node.call(QueryPlace, "query", image=node.photograph(jpegs[0]))
    assert not refused.success and "recognises places by LiDAR: leave the image empty" in refused.message
    node.send_until(node.lidar(), node.cloud(clouds[1], START_NS + 7), lambda: node.matches)
    live = node.call(QueryPlace, "query", max_candidates=2)
    assert live.success and stamp_to_ns(live.result.header.stamp) == START_NS + 7
    assert [live.result.matches[0].place_id, len(live.result.matches)] == [1, 2]


@pytest.mark.parametrize("wrong", ["camera", "lidar"])
def test_a_modality_that_is_not_the_bundle_s_is_refused_with_both_named(
    robot: Callable[..., Any], lidar_robot: Callable[..., Any], wrong: str
) -> None:
    right = "lidar" if wrong == "camera" else "camera"
    node = (lidar_robot if right == "lidar" else robot)(modality=wrong)
    node.process.says(f"cannot configure: the parameter modality is {wrong}")
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and f"is a {right} bundle" in status.message)
    assert node.state == "unconfigured" and node.set("modality", right).successful
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
    sees = {"camera": "image", "lidar": "cloud"}[right]
    node.status(lambda status, _: f"no {sees} on" in status.message)
    assert node.process.signalled() == 0 and "Traceback" not in node.process.output


def test_a_map_of_images_is_not_loaded_in_place_of_one_of_clouds(
    lidar_robot: Callable[..., Any], place_map: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot()
    node.process.says("active")
    response = node.call(LoadMap, "load_map", folder=str(place_map))
    assert not response.success and "is a camera map, the bundle is a lidar bundle" in response.message
    node.send_until(node.lidar(), node.cloud(clouds[2]), lambda: node.matches)
    assert node.matches[0].matches[0].place_id == 2


def test_a_topic_of_another_type_is_named(lidar_robot: Callable[..., Any]) -> None:
    node = lidar_robot()
    node.probe.node.create_publisher(CompressedImage, node.cloud_topic, 10)
    node.process.says("carries sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/PointCloud2: set cloud_topic")
    assert node.state == "active"


def test_a_flood_queues_nothing_and_every_cloud_is_counted(
    lidar_robot: Callable[..., Any], clouds: list[np.ndarray]
) -> None:
    node = lidar_robot()
    lidar = node.lidar()
    sent = 0

    def flooded() -> bool:
        nonlocal sent
        for _ in range(10):
            lidar.publish(node.cloud(clouds[sent % len(clouds)], START_NS + sent))
            sent += 1
        return int(node.values["frames_superseded"]) > 0

    def settled(_: DiagnosticStatus, values: dict[str, str]) -> bool:
        parts = ("frames_processed", "frames_superseded", "frames_dropped")
        return int(values["frames_received"]) == sum(int(values[part]) for part in parts)

    node.probe.until(flooded, "a superseded cloud")
    values = node.status(settled)
    assert values["frames_dropped"] == "0" and 0 < int(values["frames_processed"]) < int(values["frames_received"])
    stamps = [stamp_to_ns(message.header.stamp) for message in node.answers(2)]
    assert stamps == sorted(set(stamps))
