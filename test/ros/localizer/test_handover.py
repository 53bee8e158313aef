"""What the localizer tells other nodes for good: the initial pose as Nav2 takes it, map -> odom as REP-105 has it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseWithCovariance, PoseWithCovarianceStamped
from rclpy.context import Context
from rclpy.parameter import Parameter
from tf2_msgs.msg import TFMessage

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, pose_from_message
from vpr_core.types import Pose
from vpr_distill_ros import localizer_parameters
from vpr_distill_ros.handover import LARGEST_VARIANCE, Handover, for_nav2
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import stamp_to_ns

START_NS = 1_700_000_000_000_000_000
STEP_NS = 500_000_000
T_odom_map = Pose.from_xy_yaw(500.0, -80.0, 2.0)
"""Of the fixture `driven`."""


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


@pytest.fixture
def handover(namespace: str, probe: Any) -> Iterator[tuple[Handover, list[PoseWithCovarianceStamped]]]:
    """One that sends every answer on, and what it sent."""
    context = Context()
    context.init()
    given = {"odometry_topic": "/odom", "global_pose_topic": f"{namespace}/global_pose", "agreement_needed": 1}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    node = rclpy.create_node("handover", context=context, parameter_overrides=overrides)
    localizer_parameters.declare(node)
    sent = probe.collect(PoseWithCovarianceStamped, given["global_pose_topic"])
    yield Handover(node, localizer_parameters.read(node), "map"), sent
    context.try_shutdown()


def test_answers_of_another_map_and_those_after_its_end_are_let_go(
    handover: tuple[Handover, list[PoseWithCovarianceStamped]], probe: Any
) -> None:
    made, sent = handover
    pose = PoseWithCovarianceStamped(pose=PoseWithCovariance(pose=pose_to_message(Pose((1.0, 2.0, 0.0)))))
    here = Pose((0.0, 0.0, 0.0))
    made.use_map("one", "map")
    made.add(pose, here, "another")
    assert not made.agreeing
    probe.until(lambda: made.add(pose, here, "one") or sent, "the pose that was sent on")
    assert made.agreeing
    made.use_map("another", "map")
    assert not made.agreeing
    made.close()
    made.add(pose, here, "another")
    assert not made.agreeing


def test_after_what_is_stale_answers_have_to_agree_anew(
    handover: tuple[Handover, list[PoseWithCovarianceStamped]], probe: Any
) -> None:
    made, sent = handover
    pose = PoseWithCovarianceStamped(pose=PoseWithCovariance(pose=pose_to_message(Pose((1.0, 2.0, 0.0)))))
    made.use_map("one", "map")
    probe.until(lambda: made.add(pose, Pose((0.0, 0.0, 0.0)), "one") or sent, "the pose that was sent on")
    made.doubt()
    assert not made.agreeing
    made.add(pose, Pose((0.0, 0.0, 0.0)), "one")
    assert made.agreeing


def test_a_map_may_change_while_answers_come(handover: tuple[Handover, list[PoseWithCovarianceStamped]]) -> None:
    made, _ = handover
    pose = PoseWithCovarianceStamped(pose=PoseWithCovariance(pose=pose_to_message(Pose((1.0, 2.0, 0.0)))))
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            made.use_map("one", "map")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for index in range(2000):
            made.add(pose, Pose((0.01 * index, 0.0, 0.0)), "one")
    finally:
        over.set()
        changing.join()


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


def test_map_to_odom_is_sent_with_the_odometry_s_stamps_and_puts_the_vehicle_in_its_place(
    driven: Callable[..., Any], namespace: str, frames: Path
) -> None:
    node = driven(publish_tf=True)
    node.process.says("active")
    sent = node.probe.collect(TFMessage, f"{namespace}/tf")
    for index in range(6):
        node.step(index)
    node.wait(lambda: node.send(5) or sent, "a transform")
    places = [frame.pose for frame in Frames.load(frames).frames]
    for message in sent:
        (stamped,) = message.transforms
        assert (stamped.header.frame_id, stamped.child_frame_id) == ("map", "odom")
        index, beside = divmod(stamp_to_ns(stamped.header.stamp) - START_NS, STEP_NS)
        assert beside == 0 and index in range(6), "the stamp of an odometry message"
        place, moved = places[index], stamped.transform
        assert place
        T_map_odom = Pose(
            (moved.translation.x, moved.translation.y, moved.translation.z),
            (moved.rotation.x, moved.rotation.y, moved.rotation.z, moved.rotation.w),
        )
        T_map_base = compose(T_map_odom, compose(T_odom_map, place))
        assert math.dist(T_map_base.position_m[:2], place.position_m[:2]) < 1.0
        assert abs(math.remainder(T_map_base.yaw_rad - place.yaw_rad, 2 * math.pi)) < 0.02


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
