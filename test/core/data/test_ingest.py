"""From a bag to frames: synchronisation, keyframes, and everything that can be wrong with a recording."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.data.bag import BagReader, stamp_of
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.poses import interpolate
from vpr_core.errors import BagError, FramesError
from vpr_core.types import Pose

START_NS = 1_700_000_000_000_000_000
STEP_NS = 500_000_000
CLOUD_LAG_NS = 7_000_000


def jpeg(number: int, width: int = 64, height: int = 48) -> bytes:
    image = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def cloud(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(20, 4)).astype(np.float32)


def write_drive(path: Path, count: int = 6, poses: bool = True, clouds: bool = True) -> Path:
    """A car at 2 m/s: an image each 0.5 s, a cloud 7 ms later, odometry at 10 Hz along x."""
    with BagWriter(path) as bag:
        for i in range(count):
            stamp = START_NS + i * STEP_NS
            bag.image_jpeg("/camera", stamp, "camera_optical", jpeg(i))
            if clouds:
                bag.cloud("/points", stamp + CLOUD_LAG_NS, "lidar", cloud(i))
        for i in range(5 * count if poses else 0):
            stamp = START_NS + i * 100_000_000
            bag.odometry("/odom", stamp, "map", "base_link", Pose((0.2 * i, 0.0, 0.0)), 2.0)
    return path


def test_frames_hold_what_belongs_together(tmp_path: Path) -> None:
    folder = ingest(write_drive(tmp_path / "bag"), tmp_path / "frames", keyframe_m=1.0)
    drive = Frames.load(folder)
    assert [frame.stamp_ns for frame in drive.frames] == [START_NS + i * STEP_NS for i in range(6)]
    assert drive.map_frame == "map"
    np.testing.assert_allclose(drive.positions_m[:, 0], [0, 1, 2, 3, 4, 5], atol=1e-9)
    np.testing.assert_array_equal(drive.cloud(2), cloud(2))
    assert (folder / "images/000003.jpg").read_bytes() == jpeg(3)
    assert drive.card["synchronisation_ms"] == {"mean": 7.0, "max": 7.0}
    assert drive.card["metres"] == pytest.approx(5.0)
    assert drive.card["drops"] == {}


def test_keyframes_are_chosen_by_distance(tmp_path: Path) -> None:
    drive = Frames.load(ingest(write_drive(tmp_path / "bag", 9), tmp_path / "frames", keyframe_m=2.5))
    np.testing.assert_allclose(drive.positions_m[:, 0], [0, 3, 6], atol=1e-9)


def test_without_poses_keyframes_are_chosen_by_time(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag", poses=False)
    drive = Frames.load(ingest(bag, tmp_path / "frames", keyframe_s=1.0))
    assert [frame.stamp_ns for frame in drive.frames] == [START_NS, START_NS + 2 * STEP_NS, START_NS + 4 * STEP_NS]
    assert not drive.has_poses and drive.map_frame == ""
    with pytest.raises(FramesError, match="no poses; ingest the bag with --pose_topic"):
        _ = drive.positions_m


def test_an_image_without_a_cloud_near_it_is_dropped_and_counted(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag")
    with pytest.raises(FramesError, match="6 x no cloud within 0.001 s of the image"):
        ingest(bag, tmp_path / "frames", tolerance_s=0.001)
    assert not (tmp_path / "frames").exists()


def test_a_lidar_drive_needs_no_camera(tmp_path: Path) -> None:
    drive = Frames.load(ingest(write_drive(tmp_path / "bag"), tmp_path / "frames", image_topic="none", keyframe_m=1.0))
    assert drive.frames[0].image is None and drive.frames[0].cloud == "clouds/000000.npy"
    with pytest.raises(FramesError, match="has no images"):
        _ = drive.image_size


def test_broken_messages_are_dropped_with_their_reasons(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.image_jpeg("/camera", START_NS, "c", jpeg(0))
        bag.image_jpeg("/camera", START_NS + 1 * 10**9, "c", jpeg(1)[:300])
        bag.image_jpeg("/camera", START_NS + 2 * 10**9, "c", jpeg(2, 80, 48))
        bag.image_jpeg("/camera", 0, "c", jpeg(3), log_ns=START_NS + 3 * 10**9)
        bag.image_jpeg("/camera", START_NS, "c", jpeg(4), log_ns=START_NS + 4 * 10**9)
        bag.image_jpeg("/camera", START_NS + 5 * 10**9, "c", jpeg(5))
    card = Frames.load(ingest(tmp_path / "bag", tmp_path / "frames")).card
    assert card["counts"]["frames"] == 2
    assert card["drops"]["/camera: header stamp is zero"] == 1
    assert card["drops"]["/camera: header stamp repeated"] == 1
    assert card["drops"]["/camera: JPEG was cut off after 300 bytes"] == 1
    assert card["drops"]["/camera: image is 80x48, the drive began with 64x48"] == 1
    assert sum(card["drops"].values()) == 4


def test_an_image_whose_message_was_cut_is_counted(tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with BagReader(write_drive(tmp_path / "whole", poses=False, clouds=False)) as reader:
        messages = list(reader.raw_messages())
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        camera = bag.add_connection("/camera", messages[0].msgtype, typestore=store)
        for number, message in enumerate(messages):
            bag.write(camera, message.log_ns, message.data[: 40 if number == 2 else None])
    card = Frames.load(ingest(tmp_path / "bag", tmp_path / "frames", keyframe_s=0.0)).card
    assert card["counts"]["frames"] == 5
    assert card["drops"] == {"/camera: message cannot be decoded": 1}


def test_only_frames_are_overwritten(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag")
    for target in (bag, tmp_path / "thesis"):
        target.mkdir(exist_ok=True)
        (target / "precious.txt").write_text("years of work")
        with pytest.raises(FramesError, match="is not replaced: without card.json in it"):
            ingest(bag, target, overwrite=True)
        assert (target / "precious.txt").read_text() == "years of work"


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    folder = ingest(write_drive(tmp_path / "bag"), tmp_path / "frames")
    image = folder / "images/000001.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(FramesError, match="images/000001.jpg is damaged"):
        Frames.load(folder).image(1)


def test_a_raw_image_is_kept_without_loss(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with BagWriter(tmp_path / "bag") as bag:
        bag.image("/camera", START_NS, "c", image)
    np.testing.assert_array_equal(Frames.load(ingest(tmp_path / "bag", tmp_path / "frames")).image(0), image)


def test_topics_are_found_or_asked_for(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        for topic in ("/left", "/right"):
            bag.image_jpeg(topic, START_NS, "c", jpeg(0))
    with pytest.raises(BagError, match=r"several image topics: choose one with --image_topic /left \| /right"):
        ingest(tmp_path / "bag", tmp_path / "frames")
    with pytest.raises(BagError, match="has no topic /front; it holds /left"):
        ingest(tmp_path / "bag", tmp_path / "frames", image_topic="/front")
    with pytest.raises(BagError, match="/left in .* is sensor_msgs/msg/CompressedImage, expected geometry_msgs"):
        ingest(tmp_path / "bag", tmp_path / "frames", image_topic="/right", pose_topic="/left")
    assert len(Frames.load(ingest(tmp_path / "bag", tmp_path / "frames", image_topic="/left"))) == 1


def test_an_existing_folder_is_not_overwritten_unasked(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag")
    ingest(bag, tmp_path / "frames", keyframe_m=1.0)
    with pytest.raises(FramesError, match="exists already"):
        ingest(bag, tmp_path / "frames")
    assert len(Frames.load(ingest(bag, tmp_path / "frames", keyframe_m=2.0, overwrite=True))) == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_same_bag_gives_the_same_bytes(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag")
    first, second = (ingest(bag, tmp_path / name, session="drive") for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 9
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_truncated_bag_is_refused_with_what_to_do(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag", 30)
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match="mcap recover"):
        ingest(bag, tmp_path / "frames")
    with pytest.raises(BagError, match="no bag at"):
        ingest(tmp_path / "nothing", tmp_path / "frames")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="is no bag: it has no metadata.yaml"):
        ingest(tmp_path / "empty", tmp_path / "frames")
    assert not (tmp_path / "frames").exists()


@pytest.mark.parametrize("damage", ["image", "csv", "count", "schema"])
def test_a_frames_folder_is_checked_when_loaded(tmp_path: Path, damage: str) -> None:
    folder = ingest(write_drive(tmp_path / "bag"), tmp_path / "frames")
    card = folder / "card.json"
    if damage == "image":
        (folder / "images/000001.jpg").unlink()
        expected = "images/000001.jpg is missing"
    elif damage == "csv":
        (folder / "frames.csv").write_text("index\n0\n")
        expected = "has columns"
    elif damage == "count":
        lines = (folder / "frames.csv").read_text().splitlines(keepends=True)
        (folder / "frames.csv").write_text("".join(lines[:-1]))
        expected = "card.json says"
    else:
        card.write_text(card.read_text().replace('"schema": 1', '"schema": 99'))
        expected = "has schema 99, this version reads 1"
    with pytest.raises(FramesError, match=expected):
        Frames.load(folder)


def test_header_stamps_are_read_without_decoding(tmp_path: Path) -> None:
    with BagReader(write_drive(tmp_path / "bag")) as reader:
        for message in reader.raw_messages():
            stamp = reader.decode(message).header.stamp
            assert stamp_of(message.data) == stamp.sec * 10**9 + stamp.nanosec


def test_interpolation() -> None:
    stamps = np.array([0, 100_000_000, 900_000_000], np.int64)
    poses = [Pose.from_xy_yaw(0, 0, 3.0), Pose.from_xy_yaw(2, 4, -3.0), Pose((0, 0, 0))]
    middle = interpolate(stamps, poses, 50_000_000)
    assert middle is not None
    np.testing.assert_allclose(middle.position_m, (1, 2, 0))
    assert abs(middle.yaw_rad) == pytest.approx(np.pi)  # the short way round from 3 rad to -3 rad
    assert interpolate(stamps, poses, 100_000_000) == poses[1]
    assert interpolate(stamps, poses, 500_000_000) is None  # a gap of 0.8 s
    assert interpolate(stamps, poses, -1) is None
