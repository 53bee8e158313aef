"""What BagWriter writes is read back by rosbags and by the mcap library, and a failure leaves nothing behind."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from vpr_core.data.bag_writer import BagWriter
from vpr_core.errors import BagError
from vpr_core.geodesy import GeoPoint
from vpr_core.types import Pose

STAMP_NS = 1_700_000_000_123_456_789


def write_drive(path: Path, *, overwrite: bool = False, frames: int = 3) -> Path:
    rng = np.random.default_rng(3)
    with BagWriter(path, overwrite=overwrite) as bag:
        for index in range(frames):
            stamp_ns = STAMP_NS + index * 500_000_000
            rgb = rng.integers(0, 256, (24, 32, 3), np.uint8)
            jpeg = cv2.imencode(".jpg", rgb)[1].tobytes()
            bag.image_jpeg("/jpeg", stamp_ns, "camera", jpeg)
            bag.image("/rgb", stamp_ns, "camera", rgb, log_ns=stamp_ns + 1000)
            bag.camera_info("/info", stamp_ns, "camera", size=(32, 24), matrix=np.diag([20.0, 20.0, 1.0]))
            bag.cloud("/cloud", stamp_ns, "lidar", rng.normal(size=(5, 4)).astype(np.float32))
            bag.odometry("/odom", stamp_ns, "odom", "base_link", Pose.from_xy_yaw(index, 2.0, 0.5), 8.0)
    return path


def read_all(path: Path) -> dict[str, list[tuple[int, object]]]:
    found: dict[str, list[tuple[int, object]]] = {}
    with AnyReader([path]) as reader:
        for connection, log_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message))
    return found


def digest(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_every_message_comes_back_as_it_was_given(tmp_path: Path) -> None:
    found = read_all(write_drive(tmp_path / "drive"))
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (24, 32, 3), np.uint8)
    points = rng.normal(size=(5, 4)).astype(np.float32)

    log_ns, image = found["/rgb"][0]
    assert log_ns == STAMP_NS + 1000
    assert (image.header.stamp.sec, image.header.stamp.nanosec) == divmod(STAMP_NS, 10**9)
    assert (image.encoding, image.step, image.header.frame_id) == ("rgb8", 96, "camera")
    np.testing.assert_array_equal(image.data.reshape(24, 32, 3), rgb)

    log_ns, jpeg = found["/jpeg"][0]
    assert (log_ns, jpeg.format) == (STAMP_NS, "jpeg")
    assert cv2.imdecode(jpeg.data, cv2.IMREAD_COLOR).shape == (24, 32, 3)

    info = found["/info"][2][1]
    assert (info.width, info.height, info.k[0], info.p[0], info.p[3]) == (32, 24, 20.0, 20.0, 0.0)

    cloud = found["/cloud"][0][1]
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity"]
    np.testing.assert_array_equal(np.frombuffer(cloud.data, np.float32).reshape(5, 4), points)

    odometry = found["/odom"][1][1]
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
    assert odometry.pose.pose.position.x == 1.0
    assert odometry.pose.pose.orientation.z == pytest.approx(np.sin(0.25))
    assert odometry.twist.twist.linear.x == 8.0


def test_structured_clouds_keep_their_fields(tmp_path: Path) -> None:
    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2"), ("time", "<f8")])
    points = np.zeros(4, dtype)
    points["ring"] = [1, 2, 3, 4]
    with BagWriter(tmp_path / "drive") as bag:
        bag.cloud("/cloud", STAMP_NS, "lidar", points)
    cloud = read_all(tmp_path / "drive")["/cloud"][0][1]
    assert [(field.name, field.offset, field.datatype) for field in cloud.fields][3:] == [
        ("ring", 12, 4),
        ("time", 14, 8),
    ]
    np.testing.assert_array_equal(np.frombuffer(cloud.data, dtype), points)


def test_labels_fixes_and_transforms_come_back(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 19, (24, 32), np.uint8)
    fix, pose = GeoPoint(49.0, 8.4, 120.0), Pose((1.0, 2.0, 3.0), (0.5, -0.5, 0.5, -0.5))
    with BagWriter(tmp_path / "drive") as bag:
        bag.image_png("/labels", STAMP_NS, "camera", cv2.imencode(".png", labels)[1].tobytes())
        bag.nav_sat_fix("/fix", STAMP_NS, "gnss", fix, (1.5, 1.5, 3.0))
        bag.transforms("/tf", STAMP_NS, [("odom", "base_link", pose), ("base_link", "lidar", pose)])
    found = read_all(tmp_path / "drive")

    image = found["/labels"][0][1]
    assert image.format == "mono8; png compressed"
    np.testing.assert_array_equal(cv2.imdecode(image.data, cv2.IMREAD_UNCHANGED), labels)

    message = found["/fix"][0][1]
    assert GeoPoint(message.latitude, message.longitude, message.altitude) == fix
    assert (message.status.status, message.status.service, message.position_covariance_type) == (0, 1, 2)
    np.testing.assert_array_equal(message.position_covariance.reshape(3, 3), np.diag([2.25, 2.25, 9.0]))

    odom, lidar = found["/tf"][0][1].transforms
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    assert (lidar.header.frame_id, lidar.child_frame_id) == ("base_link", "lidar")
    moved, turned = lidar.transform.translation, lidar.transform.rotation
    assert Pose((moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w)) == pose


def test_static_transforms_are_latched_and_others_are_not(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "drive") as bag:
        for topic in ("/tf", "/tf_static"):
            bag.transforms(topic, STAMP_NS, [("base_link", "lidar", Pose((0.0, 0.0, 1.9)))])
    with AnyReader([tmp_path / "drive"]) as reader:
        offered = {connection.topic: connection.ext.offered_qos_profiles for connection in reader.connections}
    assert [profile.durability.name for profile in offered["/tf_static"]] == ["TRANSIENT_LOCAL"]
    assert offered["/tf"] == []


def test_the_mcap_library_reads_it_and_the_folder_is_named_as_rosbag2_does(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "drive")
    assert sorted(file.name for file in path.iterdir()) == ["drive.mcap", "metadata.yaml"]
    with (path / "drive.mcap").open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.message_count == 15


def test_same_calls_same_bytes(tmp_path: Path) -> None:
    first = digest(write_drive(tmp_path / "a" / "drive"))
    assert first == digest(write_drive(tmp_path / "b" / "drive"))


def test_an_existing_folder_is_refused_unless_told(tmp_path: Path) -> None:
    path = write_drive(tmp_path / "drive")
    before = digest(path)
    with pytest.raises(BagError, match="exists already"):
        write_drive(path)
    assert digest(path) == before
    write_drive(path, overwrite=True, frames=1)
    assert len(read_all(path)["/jpeg"]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["drive"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_inside_leaves_what_was_there(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "drive"
    if overwrite:
        write_drive(path)
    before = digest(path)
    with pytest.raises(KeyboardInterrupt), BagWriter(path, overwrite=overwrite) as bag:
        bag.image_jpeg("/jpeg", STAMP_NS, "camera", b"\xff")
        raise KeyboardInterrupt
    assert digest(path) == before
    assert [file.name for file in tmp_path.iterdir()] == (["drive"] if overwrite else [])


def test_a_kill_leaves_no_bag_and_the_next_run_succeeds(tmp_path: Path) -> None:
    script = """
        import os, sys
        from vpr_core.data.bag_writer import BagWriter
        with BagWriter(sys.argv[1]) as bag:
            for stamp_ns in range(40):
                bag.image_jpeg("/jpeg", stamp_ns, "camera", bytes(100_000))
            os.kill(os.getpid(), 9)
    """
    path = tmp_path / "drive"
    code = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=False).returncode
    assert code == -9
    assert not path.exists()
    write_drive(path)
    assert [file.name for file in tmp_path.iterdir()] == ["drive"]


def test_a_full_disk_is_a_bag_error_that_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "drive"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old[1]))
    try:
        with pytest.raises(BagError, match="drive"), BagWriter(path) as bag:
            for stamp_ns in range(40):
                bag.image_jpeg("/jpeg", stamp_ns, "camera", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file_is_a_bag_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BagError, match="cannot write"):
        write_drive(tmp_path / "file" / "drive")


def test_wrong_arrays_are_named(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "drive") as bag:
        with pytest.raises(BagError, match=r"float64 \[4, 4\]"):
            bag.image("/rgb", STAMP_NS, "camera", np.zeros((4, 4)))
        with pytest.raises(BagError, match=r"\[7, 3\]"):
            bag.cloud("/cloud", STAMP_NS, "lidar", np.zeros((7, 3)))
        bag.image_jpeg("/topic", STAMP_NS, "camera", b"\xff")
        with pytest.raises(BagError, match="already carries"):
            bag.image("/topic", STAMP_NS, "camera", np.zeros((4, 4, 3), np.uint8))
