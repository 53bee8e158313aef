"""Poses from odometry, pose topics, transforms and GNSS, and poses that jump."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.gnss import headings_rad, parse_origin
from vpr_core.data.ingest import ingest
from vpr_core.data.poses import PoseTrack, compose, inverse
from vpr_core.data.transforms import Transforms
from vpr_core.errors import BagError, InputError
from vpr_core.geodesy import GeoPoint, wgs84_from_enu
from vpr_core.types import Pose

START_NS = 1_700_000_000_000_000_000
TENTH_NS = 100_000_000
IMAGES = 8
WritePose = Callable[[BagWriter, int, float], None]


def write_bag(path: Path, ros: Any, write_pose: WritePose, hz: int = 10) -> Path:
    """Images each 0.5 s, and a pose of a car at 4 m/s along x written by `write_pose(bag, stamp_ns, time_s)`."""
    with BagWriter(path) as bag:
        for i in range(IMAGES):
            stamp = START_NS + i * 5 * TENTH_NS
            bag.image_jpeg("/camera", stamp + 30_000_000, "c", ros.jpeg(i))
        for i in range(IMAGES * 5 * hz // 10 + 2):
            write_pose(bag, START_NS + i * 10**9 // hz, i / hz)
    return path


def positions(bag: Path, pose_topic: str | None = None, **options: Any) -> tuple[np.ndarray, Frames]:
    drive = Frames.load(ingest(bag, bag.parent / "frames", pose_topic=pose_topic, keyframe_m=0.0, **options))
    return drive.positions_m, drive


EXPECTED_X_M = 4 * (np.arange(IMAGES) * 0.5 + 0.03)


@pytest.mark.parametrize("kind", ["PoseStamped", "PoseWithCovarianceStamped"])
def test_poses_of_a_pose_topic(kind: str, tmp_path: Path, ros: Any) -> None:
    def write(bag: BagWriter, stamp_ns: int, time_s: float) -> None:
        pose = ros.pose(Pose.from_xy_yaw(4 * time_s, 1.0, 0.3))
        if kind != "PoseStamped":
            pose = ros.make("geometry_msgs/msg/PoseWithCovariance", pose, np.zeros(36))
        frame_id = "/world" if kind == "PoseStamped" else "world"  # as in ROS 1, whose slash nothing takes today
        bag.write("/pose", ros.make(f"geometry_msgs/msg/{kind}", ros.header(stamp_ns, frame_id), pose), stamp_ns)

    found, drive = positions(write_bag(tmp_path / "bag", ros, write))
    np.testing.assert_allclose(found[:, 0], EXPECTED_X_M, atol=1e-6)
    assert drive.map_frame == "world" and drive.card["poses"]["source"] == "poses"
    assert drive.frames[3].pose is not None and drive.frames[3].pose.yaw_rad == pytest.approx(0.3)


def test_a_chain_of_transforms_is_put_together_at_each_image(tmp_path: Path, ros: Any) -> None:
    """map > odom turns and moves slowly, odom > base moves fast at another rate, and lidar hangs on base, static."""
    T_map_odom = Pose.from_xy_yaw(5.0, -2.0, 0.5)

    def write(bag: BagWriter, stamp_ns: int, time_s: float) -> None:
        bag.write("/tf", ros.transforms((stamp_ns, "odom", "base_link", Pose((4 * time_s, 0.0, 0.0)))), stamp_ns)
        if round(time_s * 10) % 4 == 0:
            bag.write("/tf", ros.transforms((stamp_ns + 7, "map", "odom", T_map_odom)), stamp_ns + 7)
        if time_s == 0:
            static = ros.transforms((0, "base_link", "mast", Pose((1.0, 0.0, 2.0))))
            bag.write("/tf_static", static, stamp_ns)

    bag = write_bag(tmp_path / "bag", ros, write)
    found, drive = positions(bag, "tf:map>mast")
    ahead_m = EXPECTED_X_M[: len(found)] + 1.0
    np.testing.assert_allclose(found[:, 0], 5 + ahead_m * math.cos(0.5), atol=1e-6)
    np.testing.assert_allclose(found[:, 1], -2 + ahead_m * math.sin(0.5), atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 2.0)
    assert drive.card["poses"] == {"source": "tf", "chain": ["map", "odom", "base_link", "mast"], "jumps": 0}
    assert len(found) >= IMAGES - 1 and drive.map_frame == "map"
    with pytest.raises(BagError, match="no transforms lead from map to wheel; the bag holds base_link > mast, map"):
        ingest(bag, tmp_path / "other", pose_topic="tf:map>wheel")
    with pytest.raises(BagError, match="expected tf:PARENT>CHILD"):
        ingest(bag, tmp_path / "other", pose_topic="tf:map")


def test_a_chain_runs_up_and_down_the_tree(ros: Any) -> None:
    transforms = Transforms("camera", "lidar", Counter(), Counter(), 50.0)
    T_base_camera, T_base_lidar = Pose.from_xy_yaw(1.0, 2.0, 0.7), Pose.from_xy_yaw(-1.0, 0.5, -0.2)
    transforms.take(
        "/tf_static", ros.transforms((0, "base", "camera", T_base_camera), (0, "base", "lidar", T_base_lidar))
    )
    found = transforms.track().at(START_NS)
    assert isinstance(found, Pose)
    again = compose(T_base_camera, found)
    np.testing.assert_allclose(again.position_m, T_base_lidar.position_m, atol=1e-12)
    np.testing.assert_allclose(compose(found, inverse(found)).position_m, 0.0, atol=1e-12)
    assert again.yaw_rad == pytest.approx(-0.2)


def test_a_robot_of_many_joints_costs_only_the_chain(ros: Any) -> None:
    drops: Counter[str] = Counter()
    transforms = Transforms("odom", "base", drops, Counter(), 50.0)
    for i in range(20):
        stamp_ns = START_NS + i * TENTH_NS
        joints = [(stamp_ns, "base", f"joint{number}", Pose((1.0, 0.0, 0.0))) for number in range(5)]
        transforms.take("/tf", ros.transforms(*joints))
        transforms.take("/tf", ros.transforms((stamp_ns, "odom", "base", Pose((0.1 * i, 0.0, 0.0)))))
    assert {edge: len(poses) for edge, poses in transforms._moving.items()} == {("odom", "base"): 20}
    found = transforms.track().at(START_NS + TENTH_NS // 2)
    assert isinstance(found, Pose) and found.position_m[0] == pytest.approx(0.05) and not drops


def test_gnss_gives_metres_of_an_origin_and_the_heading_of_the_way(tmp_path: Path, ros: Any) -> None:
    origin = GeoPoint(49.0, 8.4, 110.0)

    def write(bag: BagWriter, stamp_ns: int, time_s: float) -> None:
        east_north = np.array([[4 * time_s, 3 * time_s, 1.0]])
        latitude, longitude, altitude = map(float, wgs84_from_enu(east_north, origin)[0])
        lost = round(time_s * 10) in (11, 12, 13)
        bag.write(
            "/fix", ros.fix(stamp_ns, 0.0 if lost else latitude, longitude, altitude, -1 if lost else 0), stamp_ns
        )

    bag = write_bag(tmp_path / "bag", ros, write)
    found, drive = positions(bag, gnss_origin=origin)
    np.testing.assert_allclose(found[:, 0], EXPECTED_X_M, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], EXPECTED_X_M * 3 / 4, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], 1.0, atol=1e-3)
    assert drive.map_frame == "enu:49.00000000,8.40000000,110.000"
    assert drive.card["poses"]["origin"] == {"latitude_deg": 49.0, "longitude_deg": 8.4, "altitude_m": 110.0}
    assert drive.card["drops"] == {"/fix: no fix": 3}
    for frame in drive.frames:
        assert frame.pose is not None and frame.pose.yaw_rad == pytest.approx(math.atan2(3, 4), abs=1e-3)
    own = Frames.load(ingest(bag, tmp_path / "own", keyframe_m=0.0))
    assert own.area != drive.area  # counted from its own first fix
    np.testing.assert_allclose(own.positions_m - own.positions_m[0], found - found[0], atol=1e-3)


def test_headings_follow_turns_and_keep_while_standing() -> None:
    east = [(x, 0.0, 0.0) for x in range(0, 31, 3)]
    standing = [(30.0 + 0.3 * (i % 2), 0.0, 0.0) for i in range(10)]
    north = [(30.0, y, 0.0) for y in range(6, 61, 6)]
    yaw = np.array(headings_rad(np.array([*east, *standing, *north])))
    np.testing.assert_allclose(yaw[:8], 0.0, atol=1e-9)
    assert np.ptp(yaw[11:21]) < 0.25
    np.testing.assert_allclose(yaw[-8:], math.pi / 2, atol=0.1)
    assert headings_rad(np.zeros((3, 3))) == [0.0, 0.0, 0.0]


def test_an_origin_is_checked() -> None:
    assert parse_origin("49.5,8.25") == GeoPoint(49.5, 8.25, 0.0)
    for text in ("49.5", "north,east", "91,8", "49,8,nan", "1,2,3,4"):
        with pytest.raises(InputError, match="expected LAT,LON or LAT,LON,ALT"):
            parse_origin(text)


@pytest.mark.parametrize("away", [range(21, 100), range(20, 21)], ids=["stays", "one pose"])
def test_nothing_is_interpolated_across_a_jump_of_a_kilometre(away: range, tmp_path: Path, ros: Any) -> None:
    """A relocalisation that stays, and one pose that is wrong; the image of 2.03 s lies beside both."""

    def write(bag: BagWriter, stamp_ns: int, time_s: float) -> None:
        number = round(time_s * 10)
        x_m = 4 * time_s + (1000.0 if number in away else 0.0)
        bag.odometry("/odom", stamp_ns, "map", "base_link", Pose((x_m, 0.0, 0.0)), 4.0)

    found, drive = positions(write_bag(tmp_path / "bag", ros, write))
    assert drive.card["drops"] == {"the poses around it jump": 1}
    np.testing.assert_allclose(found[:, 0] % 1000, np.delete(EXPECTED_X_M, 4), atol=1e-6)
    assert drive.card["poses"]["jumps"] == (1 if len(away) > 1 else 2)
    assert drive.card["metres"] < 20
    fast = ingest(tmp_path / "bag", tmp_path / "fast", keyframe_m=0.0, max_speed_mps=1e6)
    assert len(Frames.load(fast)) == IMAGES


def test_a_pose_that_is_itself_the_outlier_is_not_used() -> None:
    stamps = np.arange(5) * TENTH_NS
    track = PoseTrack(stamps, [Pose((x, 0.0, 0.0)) for x in (0.0, 0.4, 900.0, 1.2, 1.6)])
    assert isinstance(track.at(0), Pose) and isinstance(track.at(4 * TENTH_NS), Pose)
    for stamp_ns in (TENTH_NS, TENTH_NS + 1, 2 * TENTH_NS, 3 * TENTH_NS - 1, 3 * TENTH_NS):
        assert track.at(stamp_ns) == "the poses around it jump"
    assert track.at(-1) == "no two poses around it within 0.5 s"


def test_poses_that_are_none_are_counted(tmp_path: Path, ros: Any) -> None:
    def write(bag: BagWriter, stamp_ns: int, time_s: float) -> None:
        number = round(time_s * 10)
        pose = Pose((4 * time_s, 0.0, 0.0), (0.0,) * 4 if number == 3 else (0.0, 0.0, 0.0, 1.0))
        pose = Pose((math.nan, 0.0, 0.0)) if number == 4 else pose
        bag.odometry("/odom", 0 if number == 6 else stamp_ns, "map", "base", pose, 4.0, log_ns=stamp_ns)

    found, drive = positions(write_bag(tmp_path / "bag", ros, write))
    np.testing.assert_allclose(found[:, 0], EXPECTED_X_M, atol=1e-6)
    assert drive.card["drops"] == {
        "/odom: header stamp is zero": 1, "/odom: pose is not finite": 1, "/odom: rotation is zero": 1,
    }  # fmt: skip


def test_among_several_sources_of_poses_one_is_chosen(tmp_path: Path, ros: Any) -> None:
    def write(bag: BagWriter, stamp_ns: int, time_s: float) -> None:
        bag.odometry("/odom", stamp_ns, "map", "base", Pose((4 * time_s, 0.0, 0.0)), 4.0)
        bag.write("/fix", ros.fix(stamp_ns, 49.0, 8.0, 0.0), stamp_ns)

    with pytest.raises(BagError, match=r"several pose topics: choose one with --pose_topic /fix \| /odom"):
        positions(write_bag(tmp_path / "bag", ros, write))
