"""Recordings that went wrong on the way: each has its answer, and what was dropped is counted by reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vpr_core.data.bag import BagReader
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.card import summary
from vpr_core.data.frames import COLUMNS, Frames
from vpr_core.data.ingest import ingest
from vpr_core.errors import BagError, FramesError
from vpr_core.types import Pose

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 10**9
WriteDrive = Callable[..., Path]


def images(path: Path, ros: Any, stamps_s: list[float]) -> Path:
    """Images with these stamps, recorded in this order, a second apart."""
    with BagWriter(path) as bag:
        for number, stamp_s in enumerate(stamps_s):
            stamp_ns = START_NS + round(stamp_s * 1e9)
            bag.image_jpeg("/camera", stamp_ns, "c", ros.jpeg(number), log_ns=START_NS + number * SECOND_NS)
    return path


def load(bag: Path, **options: Any) -> Frames:
    return Frames.load(ingest(bag, bag.parent / "frames", **{"keyframe_s": 0.0, **options}))


def stamps_s(drive: Frames) -> list[float]:
    return [(frame.stamp_ns - START_NS) / 1e9 for frame in drive.frames]


def test_messages_out_of_order_are_sorted_in_and_counted(tmp_path: Path, ros: Any) -> None:
    drive = load(images(tmp_path / "bag", ros, [0.0, 0.4, 0.2, 0.6, 0.8]))
    assert stamps_s(drive) == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert (drive.folder / "images/000001.jpg").read_bytes() == ros.jpeg(2)
    assert drive.card["irregular"] == {"/camera: message out of order": 1} and drive.card["drops"] == {}


def test_a_clock_set_back_by_an_hour_costs_nothing(tmp_path: Path, ros: Any) -> None:
    drive = load(images(tmp_path / "bag", ros, [0, 1, 2, -3600, -3599, -3598]))
    assert stamps_s(drive) == [-3600, -3599, -3598, 0, 1, 2]
    assert drive.card["irregular"] == {"/camera: clock went back": 1} and drive.card["drops"] == {}


def test_time_that_is_recorded_twice_is_used_once(tmp_path: Path, ros: Any) -> None:
    drive = load(images(tmp_path / "bag", ros, [0, 1, 2, 3, 4, 1.5, 2.5, 3.5, 4.5, 5.5]))
    assert stamps_s(drive) == [0, 1, 2, 3, 4, 4.5, 5.5]
    assert drive.card["irregular"] == {"/camera: clock went back": 1}
    assert drive.card["drops"] == {"/camera: header stamp lies in time recorded before the clock went back": 3}
    assert "irregular: 1 x /camera: clock went back" in summary(drive.card)


@pytest.mark.parametrize("lag_s", [-0.06, 0.04])
def test_the_nearest_cloud_and_label_within_tolerance_belong_to_an_image(
    lag_s: float, tmp_path: Path, ros: Any
) -> None:
    """Of two that are around an image, the nearer one, whichever was recorded first; none where both are too far."""
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(3):
            stamp = START_NS + number * SECOND_NS
            bag.image_jpeg("/camera", stamp, "c", ros.jpeg(number))
            far = round(0.2 * 1e9) if number == 1 else 0
            for offset_s, seed in ((0.05, 10), (lag_s, 20)):
                partner = stamp + round(offset_s * 1e9) + (far if offset_s > 0 else -far)
                bag.cloud("/points", partner, "lidar", ros.cloud(seed + number))
                bag.write("/labels", ros.label_png(partner, seed + number), partner)
    drive = load(tmp_path / "bag")
    nearer = 20 if abs(lag_s) < 0.05 else 10
    assert stamps_s(drive) == [0, 2] and drive.card["drops"] == {"no cloud within 0.1 s of the image": 1}
    for index, number in enumerate((0, 2)):
        np.testing.assert_array_equal(drive.cloud(index), ros.cloud(nearer + number))
        np.testing.assert_array_equal(drive.label(index), ros.label(nearer + number))


def test_an_image_topic_that_turns_into_a_cloud_is_named_or_counted(tmp_path: Path, ros: Any) -> None:
    """Two publishers of different types on one topic, as MCAP can hold them."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with BagWriter(tmp_path / "clouds") as bag:
        bag.cloud("/sensor", START_NS + 3 * SECOND_NS, "lidar", ros.cloud(0))
    with BagReader(tmp_path / "clouds") as reader:
        (cloud,) = reader.raw_messages()
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        camera = writer.add_connection("/sensor", "sensor_msgs/msg/CompressedImage", typestore=store)
        lidar = writer.add_connection("/sensor", "sensor_msgs/msg/PointCloud2", typestore=store)
        for number in range(3):
            message = ros.compressed(START_NS + number * SECOND_NS, ros.jpeg(number), "jpeg")
            writer.write(camera, START_NS + number * SECOND_NS, store.serialize_cdr(message, message.__msgtype__))
        writer.write(lidar, cloud.log_ns, cloud.data)
    with pytest.raises(BagError, match="/sensor in .* carries .*CompressedImage and .*PointCloud2: with --image_topic"):
        ingest(tmp_path / "bag", tmp_path / "frames")
    drive = load(tmp_path / "bag", image_topic="/sensor", cloud_topic="none")
    assert len(drive) == 3
    assert drive.card["drops"] == {"/sensor: is sensor_msgs/msg/PointCloud2 here, expected an image": 1}


def test_clouds_of_no_points_and_half_a_jpeg_cost_their_frames_only(tmp_path: Path, ros: Any) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(5):
            stamp = START_NS + number * SECOND_NS
            jpeg = ros.jpeg(number)
            bag.image_jpeg("/camera", stamp, "c", jpeg[: len(jpeg) // 2] if number == 3 else jpeg)
            bag.cloud("/points", stamp, "lidar", ros.cloud(number)[: 0 if number == 1 else None])
    drive = load(tmp_path / "bag")
    assert stamps_s(drive) == [0, 2, 4]
    assert drive.card["drops"]["/points: point cloud of no points"] == 1
    assert any(reason.startswith("/camera: JPEG was cut off after") for reason in drive.card["drops"])
    assert drive.card["drops"]["its cloud was dropped"] == drive.card["drops"]["its image was dropped"] == 1
    assert len(list(drive.folder.rglob("*.jpg"))) == len(list(drive.folder.rglob("*.npy"))) == 3


def test_pictures_of_nothing_are_kept_and_counted_on_the_card(tmp_path: Path, ros: Any) -> None:
    white = cv2.imencode(".jpg", np.full((48, 64, 3), 255, np.uint8))[1].tobytes()
    wall = cv2.imencode(".jpg", np.full((48, 64, 3), 120, np.uint8))[1].tobytes()
    pictures = [ros.jpeg(0), ros.black(), ros.jpeg(2), ros.jpeg(2), white, wall, ros.jpeg(6)]
    with BagWriter(tmp_path / "bag") as bag:
        for number, data in enumerate(pictures):
            bag.image_jpeg("/camera", START_NS + number * SECOND_NS, "c", data)
    drive = load(tmp_path / "bag")
    assert len(drive) == 7 and drive.card["drops"] == {}
    odd = {"image: covered": 1, "image: dark": 1, "image: frozen": 1, "image: white": 1}
    assert drive.card["irregular"] == odd and "1 x image: dark" in summary(drive.card)


def test_half_clouds_are_kept_and_counted_on_the_card(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(20):
            rng = np.random.default_rng(number)
            angle, distance_m = rng.uniform(0, np.pi if number > 15 else 2 * np.pi, 2000), rng.uniform(5, 40, 2000)
            points = np.stack([distance_m * np.cos(angle), distance_m * np.sin(angle), angle, angle], axis=1)
            bag.cloud("/points", START_NS + number * SECOND_NS, "lidar", points.astype(np.float32))
    drive = load(tmp_path / "bag")
    assert len(drive) == 20 and drive.card["irregular"] == {"cloud: half cloud": 4}


def test_a_topic_that_stops_half_way_is_told_with_its_time(tmp_path: Path, ros: Any) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(20):
            stamp = START_NS + number * SECOND_NS // 2
            bag.image_jpeg("/camera", stamp, "c", ros.jpeg(number % 3))
            if number <= 8:
                bag.cloud("/points", stamp, "lidar", ros.cloud(number))
    drive = load(tmp_path / "bag")
    assert len(drive) == 9 and drive.card["ended_early"] == {"/points": 4.0}
    assert drive.card["drops"] == {"no cloud within 0.1 s of the image": 11}
    assert "/points stops after 4.0 s" in summary(drive.card)


def test_labels_that_are_none_cost_no_frame(tmp_path: Path, ros: Any) -> None:
    bgr = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(6):
            stamp = START_NS + number * SECOND_NS
            bag.image_jpeg("/camera", stamp, "c", ros.jpeg(number))
            label = ros.label_png(stamp, number)
            label = ros.compressed(stamp, ros.jpeg(number), "jpeg") if number == 1 else label
            label = ros.compressed(stamp, bgr, "bgr8; png compressed bgr8") if number == 2 else label
            if number != 4:
                bag.write("/segmentation", label, stamp)
    drive = load(tmp_path / "bag")
    assert [frame.label for frame in drive.frames if frame.label] == [f"labels/{i:06d}.png" for i in (0, 3, 5)]
    assert not drive.has_labels and drive.card["irregular"] == {"frames without a label": 3}
    assert sum(drive.card["drops"].values()) == 2
    with pytest.raises(FramesError, match="frame 1 of .* has no label"):
        drive.label(1)


def test_a_raw_label_image_is_kept_without_loss(tmp_path: Path, ros: Any) -> None:
    label = ros.label(7)
    with BagWriter(tmp_path / "bag") as bag:
        bag.image_jpeg("/camera", START_NS, "c", ros.jpeg(0))
        message = ros.make(
            "sensor_msgs/msg/Image", ros.header(START_NS, "c"), 48, 64, "mono8", 0, 64, label.reshape(-1)
        )
        bag.write("/semantic/ids", message, START_NS)
    np.testing.assert_array_equal(load(tmp_path / "bag").label(0), label)


def test_several_label_topics_are_asked_for_and_none_is_the_camera(tmp_path: Path, ros: Any) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.image_jpeg("/camera", START_NS, "c", ros.jpeg(0))
        for topic in ("/labels/a", "/labels/b"):
            bag.write(topic, ros.label_png(START_NS, 0), START_NS)
    with pytest.raises(BagError, match=r"several label topics: choose one with --label_topic /labels/a \| /labels/b"):
        ingest(tmp_path / "bag", tmp_path / "frames")
    drive = load(tmp_path / "bag", label_topic="/labels/b")
    assert drive.card["topics"]["image"] == "/camera" and drive.card["topics"]["label"] == "/labels/b"


def test_folders_without_the_label_column_are_read(tmp_path: Path, write_drive: WriteDrive) -> None:
    folder = ingest(write_drive(tmp_path / "bag"), tmp_path / "frames")
    table = folder / "frames.csv"
    lines = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    assert lines[0].split(",") == list(COLUMNS[:-1])
    table.write_text("\n".join(lines) + "\n")
    drive = Frames.load(folder)
    assert len(drive) == 3 and drive.has_images and not drive.has_labels


def test_the_picture_shows_the_way_and_what_was_lost(tmp_path: Path, ros: Any) -> None:
    """A way around a corner with a place where the LiDAR was silent, and one image that is broken."""
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(60):
            stamp, x_m = START_NS + number * SECOND_NS // 10, min(number, 30)
            bag.odometry("/odom", stamp, "map", "base", Pose((float(x_m), float(number - x_m), 0.0)), 10.0)
            bag.image_jpeg("/camera", stamp, "c", ros.jpeg(number)[: 200 if number == 50 else None])
            if number not in range(10, 15):
                bag.cloud("/points", stamp, "lidar", ros.cloud(number))
    drive = load(tmp_path / "bag", keyframe_m=0.0, tolerance_s=0.01)
    assert len(drive) == 54 and drive.card["picture"] == "card.png"
    picture = cv2.imread(str(drive.folder / "card.png"))
    red = (picture == (40, 40, 220)).all(axis=2)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(cv2.dilate(red.astype(np.uint8), np.ones((5, 5))))
    scale = 520 / 30  # pixels a metre; the way is 30 m wide and 29 m high
    broken = round(300 + 15 * scale), round(300 - 5.5 * scale)
    found = {(round(left + width / 2), round(top + height / 2)) for left, top, width, height, _ in boxes[1:]}
    silent = [(round(300 + (x_m - 15) * scale), round(300 + 14.5 * scale)) for x_m in range(10, 15)]
    assert len(found) == 6
    for x, y in (broken, *silent):
        assert any(abs(x - there[0]) < 3 and abs(y - there[1]) < 3 for there in found)
    plain = load(tmp_path / "bag", keyframe_m=0.0, tolerance_s=0.01, pose_topic="none", overwrite=True)
    assert not (cv2.imread(str(plain.folder / "card.png")) == (40, 40, 220)).all(axis=2).any()
