"""The localizer with `verify` and a camera: the pose on ~/pose is that of PnP, or there is none."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from vpr_core.data.frames import Frames
from vpr_core.data.mounting import extrinsics
from vpr_core.data.poses import compose, pose_from_message
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.place_clouds import CloudOptions
from vpr_core.retrieval.place_features import store_features
from vpr_core.retrieval.place_points import FILE, PointSource, store_points
from vpr_core.types import Pose
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import LoadMap
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
NO_FRAME = NO_TOPIC = "''"
"""Empty, as the command line gives it: sensors are where the map's were, and the camera is the map's."""


@pytest.fixture(scope="module")
def camera(frames: Path) -> CameraModel:
    """As camera_info told it when the drive was ingested."""
    return CameraModel.of(Frames.load(frames).card["calibration"]["camera"], "card")


@pytest.fixture(scope="module")
def point_map(place_map: Path, frames: Path, camera: CameraModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(place_map, tmp_path_factory.mktemp("verify") / "map")
    card = Frames.load(frames).card
    mounted, lidar = extrinsics(card, "camera"), extrinsics(card, "lidar")
    assert mounted and lidar
    store_features(copy, frames, "sift")
    store_points(copy, frames, PointSource(camera, mounted, CloudOptions(T_base_lidar=lidar, sweep_middle_s=0.05)))
    return copy


def told(camera: CameraModel) -> CameraInfo:
    return CameraInfo(width=camera.width, height=camera.height, distortion_model=camera.distortion_model,
                      k=np.array(camera.K), d=list(camera.D))  # fmt: skip


def test_an_image_that_fits_gives_the_pose_with_its_covariance(
    robot: Callable[..., Any], namespace: str, point_map: Path, frames: Path, jpegs: list[bytes], camera: CameraModel
) -> None:
    """camera_info lies beside the image topic; until it comes nothing is verified, and the reason says so."""
    node = robot(map=point_map, base_frame=NO_FRAME)
    images = node.camera()
    node.send_until(images, node.photograph(jpegs[7], START_NS), lambda: node.matches)
    node.process.says(f"not verified: no CameraInfo has come on {namespace}/camera_info yet: set camera_info_topic")
    assert not node.matches[0].accepted and node.matches[0].matches[0].reason == PlaceMatch.NOT_VERIFIED
    assert node.poses == []
    info = node.probe.publisher(CameraInfo, f"{namespace}/camera_info")
    node.status(lambda _, values: values["camera_info"] == "320x240", lambda: info.publish(told(camera)))
    node.send_until(images, node.photograph(jpegs[7], START_NS), lambda: node.poses)
    message = node.poses[0]
    place = Frames.load(frames).frames[7].pose
    assert place and message.header.frame_id == "map" and stamp_to_ns(message.header.stamp) == START_NS
    assert math.dist(pose_from_message(message.pose.pose).position_m, place.position_m) < 0.3
    covariance = np.array(message.pose.covariance).reshape(6, 6)
    assert np.linalg.eigvalsh(covariance).min() > 0 and covariance[0, 0] < 0.25
    assert np.count_nonzero(covariance - np.diag(np.diag(covariance))) > 10


def test_where_the_camera_is_tf_tells(
    robot: Callable[..., Any], namespace: str, point_map: Path, frames: Path, jpegs: list[bytes], camera: CameraModel
) -> None:
    """Of a vehicle whose camera sits 3 m farther ahead than the mapping vehicle's, the base is 3 m behind."""
    remapped = [word for topic in ("/tf", "/tf_static") for word in ("-r", f"{topic}:={namespace}{topic}")]
    node = robot(*remapped, map=point_map, base_frame="base_link", camera_info_topic=NO_TOPIC)
    images, image = node.camera(), node.photograph(jpegs[7], START_NS)
    node.status(lambda status, _: "no transform from base_link to camera_optical" in status.message,
                lambda: images.publish(image))  # fmt: skip
    mounted = extrinsics(Frames.load(frames).card, "camera")
    assert mounted and not node.poses
    ahead = compose(Pose((3.0, 0.0, 0.0)), mounted)
    stamped = TransformStamped(child_frame_id="camera_optical")
    stamped.header.stamp, stamped.header.frame_id = ns_to_stamp(START_NS), "base_link"
    placed = pose_to_message(ahead)
    stamped.transform.translation = Vector3(x=placed.position.x, y=placed.position.y, z=placed.position.z)
    stamped.transform.rotation = placed.orientation
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.probe.publisher(TFMessage, f"{namespace}/tf_static", latched).publish(TFMessage(transforms=[stamped]))
    node.send_until(images, image, lambda: node.poses)
    place = Frames.load(frames).frames[7].pose
    assert place
    expected = compose(place, Pose((-3.0, 0.0, 0.0)))
    assert math.dist(pose_from_message(node.poses[0].pose.pose).position_m, expected.position_m) < 0.3


def test_a_map_with_points_that_is_loaded_later_is_checked_with_the_camera_that_is_told(
    robot: Callable[..., Any], namespace: str, place_map: Path, point_map: Path, frames: Path, jpegs: list[bytes],
    camera: CameraModel,
) -> None:  # fmt: skip
    node = robot(map=place_map, base_frame=NO_FRAME)
    images = node.camera()
    node.send_until(images, node.photograph(jpegs[7], START_NS), lambda: node.poses)
    node.status(lambda _, values: values["verify"] == "off" and not values["camera_info"])
    assert node.call(LoadMap, "load_map", folder=str(point_map)).success
    info = node.probe.publisher(CameraInfo, f"{namespace}/camera_info")
    node.status(lambda _, values: values["verify"] == "on" and values["camera_info"] == "320x240",
                lambda: info.publish(told(camera)))  # fmt: skip
    later_ns = START_NS + 10**9
    node.send_until(
        images, node.photograph(jpegs[7], later_ns), lambda: stamp_to_ns(node.poses[-1].header.stamp) == later_ns
    )
    place = Frames.load(frames).frames[7].pose
    assert place and math.dist(pose_from_message(node.poses[-1].pose.pose).position_m, place.position_m) < 0.3


def test_a_camera_info_that_cannot_be_right_is_refused(
    robot: Callable[..., Any], namespace: str, point_map: Path, jpegs: list[bytes], camera: CameraModel
) -> None:
    node = robot(map=point_map, base_frame=NO_FRAME, verify=True, camera_info_topic=f"{namespace}/told")
    images, info = node.camera(), node.probe.publisher(CameraInfo, f"{namespace}/told")
    node.status(lambda _, values: "the camera is not calibrated" in values["camera_info"],
                lambda: info.publish(told(replace(camera, K=(0.0,) * 9))))  # fmt: skip
    node.status(lambda _, values: values["camera_info"] == "640x480",
                lambda: info.publish(told(replace(camera, width=640, height=480))))  # fmt: skip
    node.send_until(images, node.photograph(jpegs[5], START_NS), lambda: node.matches)
    node.process.says("told is of images of 640x480, they are 320x240: give the calibration of the images as they are")
    assert node.poses == [] and node.matches[0].matches[0].reason == PlaceMatch.NOT_VERIFIED
    node.status(lambda _, values: values["camera_info"] == "320x240", lambda: info.publish(told(camera)))
    node.send_until(images, node.photograph(jpegs[5], START_NS + 10**9), lambda: node.poses)
    assert "Traceback" not in node.process.output


def test_an_image_that_fits_nowhere_gives_no_pose(
    robot: Callable[..., Any], point_map: Path, jpegs: list[bytes]
) -> None:
    """With the map's own camera; a mirrored street is no place of it."""
    node = robot(map=point_map, base_frame=NO_FRAME, camera_info_topic=NO_TOPIC, verify=True)
    images = node.camera()
    mirrored = cv2.flip(cv2.imdecode(np.frombuffer(jpegs[4], np.uint8), cv2.IMREAD_COLOR), 1)
    strange = cv2.imencode(".jpg", mirrored)[1].tobytes()
    node.send_until(images, node.photograph(strange, START_NS), lambda: node.matches)
    node.process.says("not verified: none of 5 candidates fits")
    assert not node.matches[0].accepted and node.matches[0].matches[0].reason == PlaceMatch.NOT_VERIFIED
    node.send_until(images, node.photograph(jpegs[3], START_NS + 10**9), lambda: node.poses)
    assert {stamp_to_ns(message.header.stamp) for message in node.poses} == {START_NS + 10**9}


def test_a_map_without_points_is_refused_with_the_command(
    robot: Callable[..., Any], place_map: Path, point_map: Path, jpegs: list[bytes], tmp_path: Path
) -> None:
    node = robot(map=point_map, base_frame=NO_FRAME, camera_info_topic=NO_TOPIC, verify=True)
    node.process.says("active")
    without = Path(shutil.copytree(point_map, tmp_path / "map"))
    (without / FILE).unlink()
    response = node.call(LoadMap, "load_map", folder=str(without))
    assert not response.success and "has no points in space" in response.message
    node.send_until(node.camera(), node.photograph(jpegs[2], START_NS), lambda: node.poses)
    other = robot(map=place_map, base_frame=NO_FRAME, verify=True)
    other.process.says("cannot configure")
    other.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "no local features" in status.message)
