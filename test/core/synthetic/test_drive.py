"""Recorded drives: topics, stamps, frames, odometry; the same bytes for the same arguments; nothing half left."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from scipy.spatial.transform import Rotation

from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.errors import BagError, VprError
from vpr_core.geodesy import enu_from_wgs84
from vpr_core.synthetic.camera import Camera
from vpr_core.synthetic.drive import Drive, labels_at, record_drive, record_drives
from vpr_core.synthetic.gnss import town_origin
from vpr_core.synthetic.lidar import POINT
from vpr_core.synthetic.surface import Label
from vpr_core.synthetic.town import Town

TYPES = {
    "/camera/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/lidar/points": "sensor_msgs/msg/PointCloud2",
    "/odom": "nav_msgs/msg/Odometry",
    "/ground_truth/odom": "nav_msgs/msg/Odometry",
    "/camera/labels/compressed": "sensor_msgs/msg/CompressedImage",
    "/gnss/fix": "sensor_msgs/msg/NavSatFix",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}
FRAMES = {
    "/camera/image/compressed": "camera_optical",
    "/camera/camera_info": "camera_optical",
    "/lidar/points": "lidar",
    "/odom": "odom",
    "/ground_truth/odom": "map",
    "/camera/labels/compressed": "camera_optical",
    "/gnss/fix": "gnss",
    "/tf": "odom",
    "/tf_static": "base_link",
}


def read(path: Path) -> dict[str, list[Any]]:
    """Messages by topic in the order of the bag."""
    found: dict[str, list[Any]] = {}
    with AnyReader([path]) as reader:
        assert {connection.topic: connection.msgtype for connection in reader.connections} == TYPES
        for connection, log_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            assert stamp_ns(message) == log_ns
            found.setdefault(connection.topic, []).append(message)
    return found


def header(message: Any) -> Any:
    """A message's header; of transforms, that of the first."""
    return message.transforms[0].header if hasattr(message, "transforms") else message.header


def stamp_ns(message: Any) -> int:
    return int(header(message).stamp.sec) * 10**9 + int(header(message).stamp.nanosec)


def positions_m(messages: list[Any]) -> np.ndarray:
    points = (message.pose.pose.position for message in messages)
    return np.array([(point.x, point.y) for point in points])


def digest(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.fixture(scope="module")
def recorded(noon_bag: Path) -> dict[str, list[Any]]:
    return read(noon_bag)


def test_topics_frames_and_stamps(recorded: dict[str, list[Any]]) -> None:
    assert set(recorded) == set(TYPES)
    for topic, messages in recorded.items():
        stamps = [stamp_ns(message) for message in messages]
        assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
        assert {header(message).frame_id for message in messages} == {FRAMES[topic]}
    assert {message.child_frame_id for message in recorded["/odom"]} == {"base_link"}


def test_odometry_surrounds_every_frame_at_its_rate(recorded: dict[str, list[Any]]) -> None:
    odometry = np.array([stamp_ns(message) for message in recorded["/ground_truth/odom"]])
    assert np.diff(odometry).max() <= 0.1e9
    for topic in ("/camera/image/compressed", "/lidar/points"):
        frames = [stamp_ns(message) for message in recorded[topic]]
        assert odometry[0] < frames[0] and frames[-1] < odometry[-1]


def test_camera_and_lidar_are_a_few_milliseconds_apart(recorded: dict[str, list[Any]]) -> None:
    images, clouds = (
        np.array([stamp_ns(message) for message in recorded[topic]])
        for topic in ("/camera/image/compressed", "/lidar/points")
    )
    apart_s = (clouds - images) / 1e9
    assert len(images) == len(clouds)
    assert (apart_s != 0).all() and np.abs(apart_s).max() < 0.03
    assert len(set(apart_s.round(6))) > 1


def test_pictures_decode_to_the_stated_size_and_lie_about_four_metres_apart(recorded: dict[str, list[Any]]) -> None:
    images, infos = recorded["/camera/image/compressed"], recorded["/camera/camera_info"]
    for image, info in zip(images, infos, strict=True):
        assert stamp_ns(image) == stamp_ns(info)
        assert cv2.imdecode(image.data, cv2.IMREAD_COLOR).shape == (info.height, info.width, 3) == (240, 320, 3)
    truth = recorded["/ground_truth/odom"]
    path_m, times = positions_m(truth), [stamp_ns(message) for message in truth]
    at_m = np.stack([np.interp([stamp_ns(image) for image in images], times, path_m[:, axis]) for axis in (0, 1)], 1)
    steps_m = np.linalg.norm(np.diff(at_m, axis=0), axis=1)
    assert 3.0 < np.median(steps_m) < 5.0


def test_clouds_hold_finite_points(recorded: dict[str, list[Any]]) -> None:
    for cloud in recorded["/lidar/points"]:
        assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity", "ring", "time"]
        points = np.frombuffer(cloud.data, POINT)
        assert len(points) == cloud.width > 10_000 and points["ring"].max() == 31
        read_back = cloud_from_message(cloud)
        np.testing.assert_array_equal(read_back.T, [points[name] for name in ("x", "y", "z", "intensity")])


def test_labels_show_what_the_pictures_show(recorded: dict[str, list[Any]]) -> None:
    pictures, labels = recorded["/camera/image/compressed"], recorded["/camera/labels/compressed"]
    assert [stamp_ns(picture) for picture in pictures] == [stamp_ns(label) for label in labels]
    for picture, message in zip(pictures, labels, strict=True):
        shown, label = (cv2.imdecode(each.data, cv2.IMREAD_UNCHANGED) for each in (picture, message))
        assert message.format == "mono8; png compressed" and label.dtype == np.uint8 and label.shape == (240, 320)
        assert set(np.unique(label)) <= {*range(19), 255}
        road, sky = (label == Label.ROAD).mean(), (label == Label.SKY).mean()
        assert road > 0.1 and sky > 0.02 and (label == Label.BUILDING).mean() > 0.05
        blueness = shown[..., 0].astype(float) - shown[..., 2]
        assert blueness[label == Label.SKY].mean() > blueness[label == Label.ROAD].mean()


def test_labels_can_be_drawn_without_recording(recorded: dict[str, list[Any]], noon_bag: Path) -> None:
    messages = recorded["/camera/labels/compressed"]
    drive = Drive(noon_bag, 4, "noon", "loop", 1, 40.0)
    for message, drawn in zip(messages, labels_at(drive, map(stamp_ns, messages)), strict=True):
        assert (cv2.imdecode(message.data, cv2.IMREAD_UNCHANGED) == drawn).mean() > 0.999  # stamps are rounded


def test_fixes_wander_around_the_true_way_as_far_as_they_say(town: Town, tmp_path: Path) -> None:
    options: dict[str, Any] = {"image_size": (16, 12), "camera_hz": 0.2, "labels": False, "lidar_columns": 8}
    record_drive(tmp_path / "bag", town=town, condition="noon", route="loop", seed=3, max_length_m=300.0, **options)
    with AnyReader([tmp_path / "bag"]) as reader:
        assert "/camera/labels/compressed" not in reader.topics
        wanted = [reader.topics[topic].connections[0] for topic in ("/gnss/fix", "/ground_truth/odom")]
        found: dict[str, list[Any]] = {"/gnss/fix": [], "/ground_truth/odom": []}
        for connection, _, data in reader.messages(connections=wanted):
            found[connection.topic].append(reader.deserialize(data, connection.msgtype))
    received, truth = found.values()
    times, true_times = ([stamp_ns(message) for message in messages] for messages in (received, truth))
    assert np.diff(times).mean() == pytest.approx(0.2e9, rel=0.01)
    geodetic = np.array([(fix.latitude, fix.longitude, fix.altitude) for fix in received])
    enu_m = enu_from_wgs84(*geodetic.T, town_origin(town.seed))
    path_m = np.stack([np.interp(times, true_times, axis) for axis in positions_m(truth).T], axis=1)
    error_m = enu_m[:, :2] - path_m
    stated_m = np.sqrt([fix.position_covariance[[0, 4]] for fix in received])
    assert 0.2 < np.linalg.norm(error_m, axis=1).mean() < 4.0 and np.ptp(enu_m[:, 2]) < 20
    assert np.abs(error_m / stated_m).max() < 4.5
    assert stated_m.min() > 0.6 and stated_m.max() < 1.6 and np.ptp(stated_m) > 0.1
    steps_m = np.linalg.norm(np.diff(error_m, axis=0), axis=1)
    assert np.median(steps_m) < 0.5 * np.linalg.norm(error_m - error_m.mean(axis=0), axis=1).max()


def test_transforms_say_where_the_sensors_are(recorded: dict[str, list[Any]]) -> None:
    (mounting,) = recorded["/tf_static"]
    where = {each.child_frame_id: each.transform for each in mounting.transforms}
    assert set(where) == {"camera_optical", "lidar", "gnss"}
    assert (where["lidar"].translation.z, where["lidar"].rotation.w) == (1.9, 1.0)
    camera = where["camera_optical"]
    turn = Rotation.from_quat([getattr(camera.rotation, axis) for axis in "xyzw"]).as_matrix()
    np.testing.assert_allclose(turn, Camera().T_base_camera[:3, :3], atol=1e-9)
    for odometry, message in zip(recorded["/odom"], recorded["/tf"], strict=True):
        (moved,) = message.transforms
        assert stamp_ns(message) == stamp_ns(odometry) and moved.child_frame_id == "base_link"
        position, translation = odometry.pose.pose.position, moved.transform.translation
        assert (position.x, position.y) == (translation.x, translation.y)


def test_same_arguments_same_bytes(town: Town, noon_bag: Path, tmp_path: Path) -> None:
    again = record_drive(tmp_path / "noon", town=town.seed, condition="noon", route="loop", seed=1, max_length_m=40.0)
    assert digest(again) == digest(noon_bag)


def test_the_image_size_and_rate_asked_for_are_recorded(town: Town, tmp_path: Path) -> None:
    options: dict[str, Any] = {"image_size": (160, 120), "camera_hz": 4.0, "max_length_m": 20.0}
    bag = read(record_drive(tmp_path / "bag", town=town, condition="fog", route="lane", seed=2, **options))
    image, info = bag["/camera/image/compressed"][0], bag["/camera/camera_info"][0]
    assert cv2.imdecode(image.data, cv2.IMREAD_COLOR).shape == (120, 160, 3)
    assert (info.width, info.height) == (160, 120)
    assert np.diff([stamp_ns(message) for message in bag["/lidar/points"]]).mean() == pytest.approx(0.25e9, rel=0.05)


@pytest.mark.parametrize("wrong", [{"condition": "hail"}, {"route": "home"}, {"camera_hz": 12.5}, {"style": "baroque"}])
def test_what_there_is_not_is_an_error_before_anything_is_built(tmp_path: Path, wrong: dict[str, Any]) -> None:
    arguments = {"town": 0, "condition": "noon", "route": "loop", "seed": 0} | wrong
    with pytest.raises(VprError, match=str(next(iter(wrong.values())))):
        record_drive(tmp_path / "bag", **arguments)
    with pytest.raises(VprError, match=str(next(iter(wrong.values())))):
        record_drives([Drive(tmp_path / "bag", **arguments)])
    assert list(tmp_path.iterdir()) == []


def test_what_progress_raises_ends_the_drive_and_leaves_no_bag(town: Town, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert 0 < done <= total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_drive(tmp_path / "bag", town=town, condition="fog", route="loop", seed=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_drives_recorded_in_parallel_equal_those_recorded_alone(town: Town, noon_bag: Path, tmp_path: Path) -> None:
    drives = [
        Drive(tmp_path / "parallel" / "noon", town.seed, "noon", "loop", 1, 40.0),
        Drive(tmp_path / "parallel" / "fog", town.seed, "fog", "loop", 1, 12.0),
    ]
    assert record_drives(drives, workers=2) == [drive.out for drive in drives]
    assert digest(drives[0].out) == digest(noon_bag)
    assert sorted(file.name for file in (tmp_path / "parallel").iterdir()) == ["fog", "noon"]


def test_one_drive_that_fails_stops_the_others(town: Town, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    drives = [
        Drive(tmp_path / "long", town.seed, "fog", "loop", 1),
        Drive(tmp_path / "taken", town.seed, "fog", "loop", 1),
    ]
    with pytest.raises(BagError, match="taken"):
        record_drives(drives, workers=2)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_an_interrupt_leaves_nothing_half(town: Town, tmp_path: Path) -> None:
    """Ctrl-C as a terminal sends it: to the whole process group, while two drives are being recorded."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom vpr_core.synthetic.drive import Drive, record_drives\n"
        "if __name__ == '__main__':\n"
        f"    record_drives([Drive(Path(sys.argv[1]) / str(i), {town.seed}, 'fog', 'loop', i) for i in range(2)])\n"
    )
    (tmp_path / "script.py").write_text(script)
    out = tmp_path / "out"
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(out)],
        env=os.environ | {"PYTHONPATH": str(root)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        stderr=subprocess.PIPE,
    )
    while len(list(out.glob(".*.partial/*/*.mcap"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert process.returncode != 0
    assert list(out.iterdir()) == []
