"""What the localizer tells other nodes for good: the initial pose as Nav2 takes it, map -> odom as REP-105 has it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, inverse, pose_from_message
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.types import Pose
from vpr_distill_ros.handover import LARGEST_VARIANCE, for_nav2
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
STEP_NS = 500_000_000
MIDDLE_NS = 50_000_000
MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=MIDDLE_NS / 1e9)
T_odom_map = Pose.from_xy_yaw(500.0, -80.0, 2.0)


def nav2_objections(message: PoseWithCovarianceStamped, global_frame: str) -> list[str]:
    """What nav2_ros_common/validate_messages.hpp and AMCL refuse."""
    orientation, position = message.pose.pose.orientation, message.pose.pose.position
    quaternion = [orientation.x, orientation.y, orientation.z, orientation.w]
    covariance = np.array(message.pose.covariance)
    rules = {
        "empty frame": not message.header.frame_id,
        "not the global frame": message.header.frame_id != global_frame,
        "not finite": not np.isfinite([position.x, position.y, position.z, *quaternion, *covariance]).all(),
        "no rotation": abs(sum(value**2 for value in quaternion) - 1) >= 1e-4,
        "covariance": len(covariance) != 36 or not ((covariance >= 0) & (covariance <= 1e9)).all(),
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


@pytest.fixture(scope="module")
def cloud_map(lidar_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = Path(shutil.copytree(lidar_map, tmp_path_factory.mktemp("handover") / "map"))
    store_clouds(copy, frames, MOUNTED)
    return copy


@pytest.fixture
def driven(lidar_robot: Callable[..., Any], namespace: str, cloud_map: Path, frames: Path, clouds: list[Any]) -> Any:
    """driven(**parameters) is a localizer that verifies clouds, which `step(index)` drives along the map's frames."""
    poses = [frame.pose for frame in Frames.load(frames).frames]

    def make(**parameters: Any) -> Any:
        given = {"map": cloud_map, "verify": True, "odometry_topic": f"{namespace}/odom", "filter": False}
        node = lidar_robot("-r", f"/tf:={namespace}/tf", **given | parameters)
        lidar, odometry = node.lidar(), node.probe.publisher(Odometry, f"{namespace}/odom", 50)

        def send(index: int) -> None:
            assert poses[index]
            message = Odometry(child_frame_id="base_link")
            message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS + index * STEP_NS), "odom"
            message.pose.pose = pose_to_message(compose(T_odom_map, poses[index]))
            lidar.publish(node.cloud(clouds[index], START_NS + index * STEP_NS))
            odometry.publish(message)

        def step(index: int) -> None:
            """Send a cloud and where odometry was until its pose comes."""

            def answered() -> bool:
                send(index)
                stamps = {stamp_to_ns(message.header.stamp) for message in node.poses}
                return START_NS + index * STEP_NS + MIDDLE_NS in stamps

            node.wait(answered, f"the pose of cloud {index}")

        node.step, node.send = step, send
        return node

    return make


def test_one_pose_is_sent_when_three_agree_and_nav2_takes_it(
    driven: Callable[..., Any], namespace: str, frames: Path
) -> None:
    node = driven(initialpose_topic=f"{namespace}/initialpose")
    node.process.says("active")
    sent = node.probe.collect(PoseWithCovarianceStamped, f"{namespace}/initialpose")
    node.wait(lambda: node.values["initial_pose"] == "waiting", "what is not sent yet")
    for index in range(2):
        node.step(index)
    values = node.status(lambda _, values: values["localization"] == "localized", meanwhile=lambda: node.send(1))
    assert values["answers_agree"] == "no" and not sent
    for index in range(2, 8):
        node.step(index)
    node.status(lambda _, values: values["initial_pose"] == "sent", meanwhile=lambda: node.send(7))
    node.wait(lambda: sent, "the initial pose")
    for index in range(8, 10):
        node.step(index)
    assert len(sent) == 1 and nav2_objections(sent[0], "map") == []
    # What it says is what ~/pose said, of which Nav2 takes no element beside the diagonal.
    whole = next(pose for pose in node.poses if pose.header == sent[0].header)
    assert "covariance" in nav2_objections(whole, "map")
    assert np.allclose(np.diag(np.array(whole.pose.covariance).reshape(6, 6)),
                       np.diag(np.array(sent[0].pose.covariance).reshape(6, 6)))  # fmt: skip
    place = Frames.load(frames).frames[(stamp_to_ns(sent[0].header.stamp) - START_NS) // STEP_NS].pose
    assert place and math.dist(pose_from_message(sent[0].pose.pose).position_m, place.position_m) < 1.0


def test_map_to_odom_is_sent_with_the_odometry_s_stamps(driven: Callable[..., Any], namespace: str) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg")
    node = driven(publish_tf=True)
    node.process.says("active")
    sent = node.probe.collect(tf2_msgs.TFMessage, f"{namespace}/tf")
    for index in range(6):
        node.step(index)
    node.wait(lambda: node.send(5) or sent, "a transform")
    expected = inverse(T_odom_map)
    for message in sent:
        (stamped,) = message.transforms
        assert (stamped.header.frame_id, stamped.child_frame_id) == ("map", "odom")
        translation = stamped.transform.translation
        assert math.dist((translation.x, translation.y), expected.position_m[:2]) < 10.0  # 500 m off, 0.02 rad


@pytest.mark.skipif(find_spec("tf2_msgs") is not None, reason="tf2_msgs is here")
def test_without_its_messages_tf_is_refused(driven: Callable[..., Any]) -> None:
    driven(publish_tf=True).process.says("publish_tf is true, which needs tf2_msgs")


@pytest.mark.parametrize("seed", range(5))
def test_any_covariance_is_made_one_that_nav2_takes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6)) * 10.0 ** rng.uniform(-3, 6, (6, 1))
    message = PoseWithCovarianceStamped()
    message.header.frame_id = "map"
    message.pose.pose = pose_to_message(Pose((1.0, 2.0, 3.0), (0.0, 0.0, 0.7, 0.71)))
    message.pose.covariance = (root @ root.T).reshape(36)
    assert "covariance" in nav2_objections(message, "map")
    taken = for_nav2(message)
    assert nav2_objections(taken, "map") == [] and max(taken.pose.covariance) <= LARGEST_VARIANCE
    assert taken.header == message.header and taken.pose.pose.position == message.pose.pose.position
