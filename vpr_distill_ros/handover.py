"""What other nodes are told for good, once several answers agree: /initialpose, and the transform map -> odom."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.node import Node

from vpr_core.data.poses import compose, inverse, pose_from_message
from vpr_core.errors import InputError, VprError
from vpr_core.retrieval.agreement import AgreementGate
from vpr_core.types import Pose
from vpr_distill_ros.parameters import LocalizerParameters
from vpr_distill_ros.poses import pose_to_message

LARGEST_VARIANCE = 1e9
"""What Nav2 takes at most."""


class Handover:
    """The gate of N of M answers, and what goes through it.

    map_frame: of the poses that it is given. `add`, `clear` and `begin` are for one thread at a time.
    Raises VprError where the parameters do not go together, or TF is asked for where tf2_msgs is not installed.
    """

    def __init__(self, node: Node, values: LocalizerParameters, map_frame: str) -> None:
        if not values.odometry_topic and (values.initialpose_topic or values.publish_tf):
            raise VprError("initialpose_topic and publish_tf need odometry between answers: set odometry_topic too")
        self._node, self._map_frame = node, map_frame
        self._gate = AgreementGate(values.agreement_needed, values.agreement_of)
        self._tf_message: Any = _tf_message() if values.publish_tf else None
        topic = values.initialpose_topic
        self._initial = node.create_publisher(PoseWithCovarianceStamped, topic, 10) if topic else None
        self._tf = node.create_publisher(self._tf_message, "/tf", 100) if self._tf_message else None
        self._T_map_odom: Pose | None = None
        self.sent = self.agreeing = False

    @property
    def initial_pose(self) -> str:
        """Whether the initial pose was sent, for /diagnostics."""
        return ("sent" if self.sent else "waiting") if self._initial is not None else "off"

    def close(self) -> None:
        for publisher in (self._initial, self._tf):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def begin(self, map_frame: str | None = None) -> None:
        """Count from the beginning, and have the initial pose sent once more; `map_frame` is another map's."""
        self._map_frame = self._map_frame if map_frame is None else map_frame
        self.clear()
        self.sent = False

    def clear(self) -> None:
        """Forget answers and map -> odom, as after odometry began again."""
        self._gate.clear()
        self._T_map_odom, self.agreeing = None, False

    def add(self, pose: PoseWithCovarianceStamped | None, odometry: Pose | None) -> None:
        """Take in an answer: T_map_base, None where nothing is believed, and T_odom_base at its stamp."""
        if odometry is None:
            return
        T_map_base = None if pose is None else pose_from_message(pose.pose.pose)
        self.agreeing = self._gate.add(T_map_base, odometry)
        if pose is None or T_map_base is None or not self.agreeing:
            return
        self._T_map_odom = compose(T_map_base, inverse(odometry))
        # A message that nobody hears yet would be lost, and no other follows.
        if self._initial is not None and not self.sent and self._initial.get_subscription_count():
            self._initial.publish(for_nav2(pose))
            self.sent = True
            x, y, _ = T_map_base.position_m
            self._node.get_logger().info(f"initial pose sent on {self._initial.topic}: {x:.1f}, {y:.1f} m")

    def broadcast(self, message: Odometry) -> None:
        """Send map -> odom with the stamp of an odometry message, so that both reach equally far.

        Raises InputError where the odometry's frame cannot be a child of the map's.
        """
        transform, frame = self._T_map_odom, message.header.frame_id
        if self._tf is None or transform is None:
            return
        if frame in ("", self._map_frame):
            raise InputError(
                f"odometry has the frame {frame!r}, expected one of its own, such as odom, beside {self._map_frame!r}",
                "frame",
            )
        stamped = TransformStamped(child_frame_id=frame)
        stamped.header.stamp, stamped.header.frame_id = message.header.stamp, self._map_frame
        placed = pose_to_message(transform)
        stamped.transform.translation = Vector3(x=placed.position.x, y=placed.position.y, z=placed.position.z)
        stamped.transform.rotation = placed.orientation
        self._tf.publish(self._tf_message(transforms=[stamped]))


def for_nav2(pose: PoseWithCovarianceStamped) -> PoseWithCovarianceStamped:
    """A pose as Nav2 takes it: of a covariance with negative elements it takes none, so only the diagonal is told."""
    message = PoseWithCovarianceStamped(header=pose.header)
    x, y, z, w = pose_from_message(pose.pose.pose).quaternion_xyzw
    length = float(np.linalg.norm((x, y, z, w)))
    unit = Pose(pose_from_message(pose.pose.pose).position_m, (x / length, y / length, z / length, w / length))
    message.pose.pose = pose_to_message(unit)
    variances = np.diag(np.asarray(pose.pose.covariance).reshape(6, 6))
    message.pose.covariance = np.diag(np.clip(variances, 0.0, LARGEST_VARIANCE)).reshape(36)
    return message


def _tf_message() -> Any:
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        raise VprError(
            "publish_tf is true, which needs tf2_msgs: install it (ros-$ROS_DISTRO-tf2-msgs), or set it to false"
        ) from None
    return TFMessage
