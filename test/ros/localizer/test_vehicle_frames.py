"""Where the LiDAR is comes from /tf_static and /tf: put together, at the stamp, and never guessed."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.typesys import Stores, get_typestore
from tf2_msgs.msg import TFMessage

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, inverse, pose_from_message
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.types import Pose
from vpr_distill_msgs.srv import QueryPlace
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp

START_NS = 1_700_000_000_000_000_000
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
T_mapping_lidar = Pose((0.0, 0.0, 1.9))
"""On the vehicle that made the map; the other's LiDAR hangs sideways at its back."""
T_base_mast, T_mast_lidar = Pose((-4.0, 0.0, 0.5)), Pose((0.0, 0.3, 1.5), (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)))


@pytest.fixture(scope="module")
def cloud_map(lidar_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = Path(shutil.copytree(lidar_map, tmp_path_factory.mktemp("vehicle") / "map"))
    store_clouds(copy, frames, CloudOptions(T_base_lidar=T_mapping_lidar))
    return copy


@pytest.fixture
def vehicle(lidar_robot: Callable[..., Any], namespace: str, cloud_map: Path) -> Callable[..., Any]:
    """vehicle(**parameters) is a localizer that verifies clouds and hears /tf and /tf_static of the test alone."""

    def make(**parameters: Any) -> Any:
        remapped = [word for topic in ("/tf", "/tf_static") for word in ("-r", f"{topic}:={namespace}{topic}")]
        given = {"map": cloud_map, "verify": True, "base_frame": "base_link"}
        return lidar_robot(*remapped, **given | parameters)

    return make


def transforms(*links: tuple[str, str, Pose], stamp_ns: int = START_NS) -> Any:
    message = TFMessage()
    for parent, child, pose in links:
        stamped = TransformStamped(child_frame_id=child)
        stamped.header.stamp, stamped.header.frame_id = ns_to_stamp(stamp_ns), parent
        placed = pose_to_message(pose)
        stamped.transform.translation = Vector3(x=placed.position.x, y=placed.position.y, z=placed.position.z)
        stamped.transform.rotation = placed.orientation
        message.transforms.append(stamped)
    return message


def assert_stands_where(node: Any, frames: Path, place: int, T_base_lidar: Pose) -> None:
    """The newest pose is that of a vehicle whose LiDAR is where the mapping vehicle's was at the place."""
    T_map_base = Frames.load(frames).frames[place].pose
    assert T_map_base
    expected = compose(compose(T_map_base, T_mapping_lidar), inverse(T_base_lidar))
    found = pose_from_message(node.poses[-1].pose.pose)
    assert math.dist(found.position_m, expected.position_m) < 0.8, (found, expected)
    turned = compose(inverse(found), expected).yaw_rad
    assert abs(turned) < math.radians(3), turned


def test_a_chain_of_static_transforms_mounts_the_lidar_of_another_vehicle(
    vehicle: Callable[..., Any], namespace: str, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = vehicle()
    node.process.says("active")
    static = node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED)
    static.publish(transforms(("mast", "lidar", T_mast_lidar)))
    static.publish(transforms(("base_link", "mast", T_base_mast)))
    node.send_until(node.lidar(), node.cloud(clouds[7], START_NS), lambda: node.poses)
    assert_stands_where(node, frames, 7, compose(T_base_mast, T_mast_lidar))
    node.status(lambda _, values: values["sensor"].startswith("lidar at -4.000 0.300 2.000"))


def test_what_is_built_where_ros_lacks_it_is_ros_s_own_definition() -> None:
    definition, _ = get_typestore(Stores.LATEST).generate_msgdef("tf2_msgs/msg/TFMessage", ros_version=2)
    built = (Path(__file__).parents[3] / "tools" / "tf2_msgs" / "msg" / "TFMessage.msg").read_text()
    assert definition.splitlines()[0] == built.strip()
    assert TFMessage.get_fields_and_field_types() == {"transforms": "sequence<geometry_msgs/TransformStamped>"}


def test_without_the_transform_clouds_are_refused_until_it_comes(
    vehicle: Callable[..., Any], namespace: str, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = vehicle()
    node.process.says("active")
    lidar, cloud = node.lidar(), node.cloud(clouds[7], START_NS)

    def is_told(status: Any, values: dict[str, str]) -> bool:
        return status.level == DiagnosticStatus.ERROR and "frames_dropped.tf" in values and (
            "no transform from base_link to lidar: no transform names base_link or lidar" in status.message
            and "`ros2 run tf2_ros tf2_echo base_link lidar`" in status.message
        )  # fmt: skip

    values = node.status(is_told, meanwhile=lambda: lidar.publish(cloud))
    assert values["localization"] == "no input" and not node.poses and not node.matches
    asked = node.call(QueryPlace, "query")
    assert not asked.success and "no transform from base_link to lidar" in asked.message
    static = node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED)
    static.publish(transforms(("base_link", "lidar", T_base_mast)))
    node.send_until(lidar, cloud, lambda: node.poses)
    assert_stands_where(node, frames, 7, T_base_mast)
    node.status(lambda status, _: status.level == DiagnosticStatus.OK, meanwhile=lambda: lidar.publish(cloud))


def test_a_publisher_of_tf_static_that_does_not_latch_is_told(
    vehicle: Callable[..., Any], namespace: str, clouds: list[np.ndarray]
) -> None:
    node = vehicle()
    node.process.says("active")
    node.probe.node.create_publisher(TFMessage, f"{namespace}/tf_static", QoSProfile(depth=10))
    lidar, words = node.lidar(), "a publisher on /tf_static offers less than tf2 does, and nothing comes from it"
    node.status(
        lambda status, _: status.level == DiagnosticStatus.ERROR and words in status.message,
        meanwhile=lambda: lidar.publish(node.cloud(clouds[7], START_NS)),
    )


def test_a_lidar_that_moves_is_where_it_was_at_the_stamp(
    vehicle: Callable[..., Any], namespace: str, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = vehicle()
    node.process.says("active")
    lidar, moving = node.lidar(), node.probe.publisher(TFMessage, f"{namespace}/tf", 10)
    stamp_ns = START_NS + 50_000_000

    def again() -> bool:
        lidar.publish(node.cloud(clouds[7], stamp_ns))  # it comes before the transform of its moment
        for late_ns, yaw_rad in ((0, 0.5), (100_000_000, 0.7), (200_000_000, 2.0)):
            pan = Pose.from_xy_yaw(-1.0, 0.0, yaw_rad)
            moving.publish(transforms(("base_link", "lidar", pan), stamp_ns=START_NS + late_ns))
        return bool(node.poses)

    node.wait(again, "a pose")
    assert_stands_where(node, frames, 7, compose(Pose.from_xy_yaw(-1.0, 0.0, 0.6), Pose((0.0, 0.0, 0.0))))
    early = node.cloud(clouds[7], START_NS - 10**9)
    node.status(lambda status, _: "from base_link to lidar is not known at" in status.message,
                meanwhile=lambda: lidar.publish(early))  # fmt: skip


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ([("base_link", "lidar"), ("mast", "lidar")], "the frame lidar has two parents, base_link and mast"),
        ([("base_link", "lidar"), ("lidar", "base_link")], "transforms lead in a circle"),
    ],
    ids=["parents", "circle"],
)
def test_two_parents_and_circles_are_told(
    links: list[tuple[str, str]], told: str, vehicle: Callable[..., Any], namespace: str, clouds: list[np.ndarray]
) -> None:
    node = vehicle()
    node.process.says("active")
    static = node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED)
    static.publish(transforms(*((parent, child, T_base_mast) for parent, child in links)))
    lidar, cloud = node.lidar(), node.cloud(clouds[7], START_NS)
    node.status(lambda status, _: told in status.message, meanwhile=lambda: lidar.publish(cloud))
    assert not node.poses


def test_transforms_that_are_none_are_told_once_and_the_others_serve(
    vehicle: Callable[..., Any], namespace: str, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = vehicle()
    node.process.says("active")
    static = node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED)
    zero = Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
    static.publish(transforms(("base_link", "camera", zero), ("base_link", "lidar", T_base_mast)))
    node.process.says("/tf_static: the transform from base_link to camera cannot be used: rotation is zero")
    node.send_until(node.lidar(), node.cloud(clouds[3], START_NS), lambda: node.poses)
    assert_stands_where(node, frames, 3, T_base_mast)


def test_odometry_of_a_frame_that_nothing_joins_is_refused(
    vehicle: Callable[..., Any], namespace: str, clouds: list[np.ndarray]
) -> None:
    node = vehicle(odometry_topic=f"{namespace}/odom", filter=False, stale_s=1.0)
    node.process.says("active")
    static = node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED)
    static.publish(transforms(("base_link", "lidar", T_base_mast)))
    lidar, odometry = node.lidar(), node.probe.publisher(Odometry, f"{namespace}/odom", 10)
    message = Odometry(child_frame_id="imu_link")
    message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS), "odom"
    message.pose.pose = pose_to_message(Pose((0.0, 0.0, 0.0)))

    def send() -> None:
        lidar.publish(node.cloud(clouds[7], START_NS))
        odometry.publish(message)

    values = node.status(
        lambda status, _: "no odometry on" in status.message and "from imu_link to base_link" in status.message, send
    )
    assert int(values["odometry_dropped.tf"]) > 0 and values["localization"] == "no input"


def test_without_tf_s_messages_the_base_frame_is_refused(
    start: Callable[..., Any], lidar_bundle: Path, cloud_map: Path, tmp_path: Path
) -> None:
    (tmp_path / "tf2_msgs").mkdir()
    (tmp_path / "tf2_msgs" / "__init__.py").touch()
    hidden = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    given = {"modality": "lidar", "bundle": lidar_bundle, "map": cloud_map, "verify": True}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    node = start("localizer", "--ros-args", *words, env=hidden)
    node.says("cannot configure: base_frame is base_link, which needs tf2_msgs: install it (ros-$ROS_DISTRO-tf2-msgs), "
              "or set it to ''")  # fmt: skip
    words += ["-p", "base_frame:=''", "-p", "odometry_topic:=/odom", "-p", "publish_tf:=true", "-p", "filter:=false"]
    start("localizer", "--ros-args", *words, env=hidden).says("publish_tf is true, which needs tf2_msgs")
