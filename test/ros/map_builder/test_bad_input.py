"""What the map builder does with input as it should not be: counted, told, and never a wrong place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from vpr_core.preprocess import decode_image
from vpr_core.retrieval.place_map import MANIFEST
from vpr_distill_ros.stamps import ns_to_stamp

START_NS = 1_700_000_000_000_000_000


def grown(node: Any, key: str, send: Callable[[], None]) -> None:
    """Send until a count on /diagnostics has grown."""
    before = int(node.values.get(key, "0"))
    node.wait(lambda: int(node.values.get(key, "0")) > before or send(), f"more {key}")


def is_error(words: str) -> Callable[[DiagnosticStatus, dict[str, str]], bool]:
    return lambda status, _: status.level == DiagnosticStatus.ERROR and words in status.message


def test_what_cannot_be_used_is_counted_by_reason_and_the_next_frame_makes_the_place(
    mapper: Callable[..., Any], jpegs: list[bytes]
) -> None:
    node = mapper(stale_s=100.0)
    node.visit(1)
    for data, reason in ((jpegs[2][: len(jpegs[2]) // 2], "truncated"), (b"\x00" * 900, "undecodable"), (b"", "empty")):
        grown(node, f"frames_dropped.{reason}", lambda data=data: node.photograph_at(2, data))
    node.status(lambda status, _: status.level == DiagnosticStatus.WARN and "images cannot be used" in status.message)
    grown(node, "frames_dropped.stamp", lambda: node.camera.publish(node.picture(0)))
    assert int(node.values["stamps_zero"]) >= 1
    node.visit(2)
    node.status(lambda status, _: status.level == DiagnosticStatus.OK and status.message == "mapping, 2 places")
    parts = ("frames_processed", "frames_skipped", "frames_superseded", "frames_dropped")
    # Frames sent while the second place was made may be in work still.
    node.status(lambda _, values: int(values["frames_received"]) == sum(int(values[part]) for part in parts))
    assert node.save().success and node.mapped_s == [1, 2]
    assert "image stamps are zero" in node.process.output and "Traceback" not in node.process.output


def test_clouds_without_points_are_counted(
    mapper: Callable[..., Any], namespace: str, lidar_bundle: Any, clouds: list[np.ndarray]
) -> None:
    node = mapper(modality="lidar", bundle=lidar_bundle, cloud_topic=f"{namespace}/points")
    lidar = node.lidar()

    def send(points: np.ndarray) -> None:
        lidar.publish(node.cloud(points, START_NS + 10**9))
        node.stand(0.9)
        node.stand(1.1)

    grown(node, "frames_dropped.empty", lambda: send(clouds[0][:0]))
    grown(node, "frames_dropped.sparse", lambda: send(np.zeros((16384, 4), np.float32)))
    grown(node, "places", lambda: send(clouds[0]))


def test_messages_out_of_order_make_the_places_that_order_would_have_made(mapper: Callable[..., Any]) -> None:
    node = mapper()
    node.visit(1)

    def shuffled() -> None:
        for second in (2.1, 1.9, 2.2, 1.8):
            node.stand(second)
        for second in (2.0, 1.9):
            node.camera.publish(node.picture(second))

    grown(node, "places", shuffled)
    grown(node, "stamps_backwards", shuffled)
    assert node.save().success
    assert node.mapped_s[0] == 1 and node.map.places[1].pose.position_m[0] == pytest.approx(node.mapped_s[1] * 3.0)


def test_odometry_that_is_no_pose_is_counted(mapper: Callable[..., Any]) -> None:
    node = mapper(stale_s=100.0)  # silence would be told before anything else
    node.visit(1)
    odometry = node.odometry
    nowhere, unturned, timeless = (Odometry() for _ in range(3))
    for message in (nowhere, unturned, timeless):
        message.header.frame_id = "odom"
        message.pose.pose.orientation.w = 1.0
        message.header.stamp = ns_to_stamp(START_NS + 1_200_000_000)
    nowhere.pose.pose.position.x = float("nan")
    unturned.pose.pose.orientation.w = 0.0
    timeless.header.stamp = ns_to_stamp(0)
    for message, reason in ((nowhere, "pose"), (unturned, "pose"), (timeless, "stamp")):
        grown(node, f"odometry_dropped.{reason}", lambda message=message: odometry.publish(message))
    odometry.publish(timeless)
    frameless = Odometry()
    frameless.header.stamp = ns_to_stamp(START_NS + 1_300_000_000)
    grown(node, "odometry_dropped.frame", lambda: odometry.publish(frameless))
    node.status(is_error("the odometry names no frame"))
    node.visit(2)
    node.status(lambda status, _: status.level == DiagnosticStatus.OK)


def test_without_odometry_there_is_no_place_and_an_error(mapper: Callable[..., Any], namespace: str) -> None:
    node = mapper(stale_s=0.5)
    node.status(is_error(f"no odometry on {namespace}/odom yet"))
    seconds = iter(range(1, 10_000))
    grown(node, "frames_dropped.no_odometry", lambda: node.camera.publish(node.picture(next(seconds))))
    assert node.places == 0
    node.visit(20_000)
    node.status(is_error(f"no odometry on {namespace}/odom for"))
    assert node.save().success and node.mapped_s == [20_000]


def test_a_camera_that_falls_silent_is_an_error_and_the_places_stay(mapper: Callable[..., Any]) -> None:
    node = mapper(stale_s=0.5)
    node.visit(1, 2)
    seconds = iter(np.arange(3, 1e4, 0.1))
    silent = is_error(f"no image on {node.image_topic} for")
    done = threading.Event()

    def drive() -> None:
        while not done.wait(0.05):
            node.stand(next(seconds))

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        node.status(silent)
    finally:
        done.set()
        thread.join()
    assert node.process.signalled() == 0 and node.mapped_s == [1, 2]


def test_no_place_is_made_across_a_jump_nor_after_it_until_a_session_is_begun(mapper: Callable[..., Any]) -> None:
    node = mapper(stale_s=100.0)
    node.visit(1, 2)
    grown(node, "odometry_dropped.jump", lambda: node.photograph_at(3, offset_m=1000.0))
    node.status(is_error("the odometry jumped from (6.3, 0.0, 0.0) to (100"))
    node.wait(lambda: (node.folder / MANIFEST).is_file() and node.mapped_s == [1, 2], "what there is to be saved")
    seconds = iter(range(4, 10_000))
    grown(node, "frames_dropped.jump", lambda: node.photograph_at(next(seconds), offset_m=1000.0))
    assert node.places == 2
    assert node.new_session().message == "noon-2"
    node.visit(20_000, 20_001, offset_m=1000.0)
    assert node.save().success
    first, further = node.mapped_s[:2], node.mapped_s[2:]
    # A frame sent before the session began may arrive after it.
    assert first == [1, 2] and further[-2:] == [20_000, 20_001]
    assert [place.session for place in node.map.places] == ["noon"] * 2 + ["noon-2"] * len(further)
    assert node.map.places[-1].pose.position_m[0] == pytest.approx(20_001 * 3.0 + 1000.0)
    assert node.process.output.count("no places are added until") == 1


def test_one_pose_that_is_far_off_is_left_out(mapper: Callable[..., Any]) -> None:
    node = mapper(stale_s=100.0)
    node.visit(1)
    grown(node, "odometry_dropped.jump", lambda: node.stand(1.4, 1000.0))
    node.visit(2)
    node.process.says("odometry came back")
    node.status(lambda status, _: status.level == DiagnosticStatus.OK)
    assert node.save().success and [place.pose.position_m[0] for place in node.map.places] == pytest.approx([3, 6])


def test_a_clock_that_goes_back_is_told_and_the_map_grows_on(mapper: Callable[..., Any], namespace: str) -> None:
    node = mapper("-r", f"/clock:={namespace}/clock", use_sim_time=True)
    clock = node.probe.publisher(Clock, f"{namespace}/clock")
    clock.publish(Clock(clock=ns_to_stamp(START_NS + 100 * 10**9)))
    node.visit(100)
    clock.publish(Clock(clock=ns_to_stamp(START_NS)))
    node.visit(98)  # ten metres away at most, as a vehicle is that stands while its clock is set
    node.process.says("odometry stamps went back")
    assert node.save().success and node.mapped_s == [100, 98]


def test_a_camera_that_comes_back_raw_is_heard_and_one_that_comes_back_as_a_lidar_is_named(
    mapper: Callable[..., Any], passer_by: Callable[[], Any], jpegs: list[bytes]
) -> None:
    node = mapper(stale_s=0.5)
    first, second = passer_by(), passer_by()
    node.use_camera(first.publisher(CompressedImage, node.image_topic, 50))
    node.visit(1)
    first.close()
    raw = second.node.create_publisher(Image, node.image_topic, 10)
    node.process.says(f"{node.image_topic} carries sensor_msgs/msg/Image\n")
    message = node.raw(decode_image(jpegs[2]))
    message.header.stamp = ns_to_stamp(START_NS + 2 * 10**9)
    grown(node, "places", lambda: [raw.publish(message), node.stand(1.9), node.stand(2.1)][0])
    second.close()
    passer_by().node.create_publisher(PointCloud2, node.image_topic, 10)
    named = f"{node.image_topic} carries sensor_msgs/msg/PointCloud2, expected sensor_msgs/msg/"
    silent = f"no image on {node.image_topic} for"
    # Odometry goes on, or its silence would be told first.
    node.status(lambda status, _: silent in status.message and named in status.message, lambda: node.stand(2.1))
    node.process.says(named)


def test_while_several_publish_odometry_nothing_is_mapped(mapper: Callable[..., Any], namespace: str) -> None:
    node = mapper()
    node.visit(1)
    node.probe.node.create_publisher(Odometry, f"{namespace}/odom", 10)
    node.process.says(f"2 publishers send on {namespace}/odom")
    grown(node, "frames_dropped.publishers", lambda: node.photograph_at(2))
    assert node.set("refuse", "dark").successful
    node.visit(2)
