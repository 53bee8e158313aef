"""What /tf_static and /tf say of the vehicle: where a sensor is on it, and what odometry of a part of it means."""

from __future__ import annotations

import threading
import time
from typing import Any

from geometry_msgs.msg import PoseWithCovariance
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from vpr_core.data.frame_tree import FrameTree
from vpr_core.data.poses import compose, pose_from_message, pose_from_transform
from vpr_core.errors import InputError, VprError
from vpr_core.types import Pose
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.sensor_input import SubscriptionEventCallbacks
from vpr_distill_ros.stamps import stamp_to_ns

_WAIT_S = 0.3
"""How long a sensor's message waits for transforms of its stamp, which come a little later where they move."""
_DEPTH = 100


class VehicleFrames:
    """The vehicle's frame and those fixed to it. Listens from the first question on, so that a node which never asks
    pays for nothing.

    base_frame: the vehicle's; empty: sensors and odometry are taken to be what the map was made with.
    listen: from now on, since it will be asked.
    Called by several threads. Raises VprError where tf2_msgs is needed and not installed.
    """

    def __init__(self, node: Node, base_frame: str, listen: bool = False) -> None:
        self.base_frame = base_frame.lstrip("/")
        self._node = node
        self._tree = FrameTree()
        self._changed = threading.Condition()
        self._subscriptions: list[Any] = []
        self._told: set[str] = set()
        self._incompatible: dict[str, str] = {}
        self._is_closed = False
        self.sensor = ""
        """Where the newest sensor is, for /diagnostics; empty before it was asked for."""
        self.complaint = ""
        """Why the newest odometry cannot be used; empty where it can."""
        if listen:
            self.listen()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []

    def listen(self) -> None:
        """From now on, where there is a base frame; raises VprError where tf2_msgs is not installed."""
        with self._changed:
            if self._subscriptions or self._is_closed or not self.base_frame:
                return
            group, latched = MutuallyExclusiveCallbackGroup(), DurabilityPolicy.TRANSIENT_LOCAL
            for topic, durability, take in (
                ("/tf_static", latched, self._take_static),
                ("/tf", DurabilityPolicy.VOLATILE, self._take_moving),
            ):
                self._subscriptions.append(
                    self._node.create_subscription(
                        tf_message(f"base_frame is {self.base_frame}", "to ''"),
                        topic,
                        take,
                        QoSProfile(depth=_DEPTH, durability=durability),
                        callback_group=group,
                        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._teller_of_qos(topic)),
                    )
                )

    def of_sensor(self, header: Header) -> Pose | None:
        """T_base_sensor at the stamp of a sensor's message; None without a base frame.

        Waits for it a little where it moves. Raises InputError of kind "tf", with what to do, where it is not known.
        """
        if not self.base_frame:
            return None
        pose = self._lookup(self.base_frame, header.frame_id, stamp_to_ns(header.stamp), _WAIT_S)
        numbers = " ".join(f"{number:.3f}" for number in (*pose.position_m, *pose.quaternion_xyzw))
        self.sensor = f"{header.frame_id} at {numbers}"
        return pose

    def of_odometry(self, message: Odometry) -> Odometry:
        """The same odometry as poses of the base frame, without speeds; as it is where it does not say whose it is.

        Raises InputError of kind "tf" where the way to the base frame is not known.
        """
        frame = message.child_frame_id.lstrip("/")
        if not self.base_frame or frame in ("", self.base_frame):
            self.complaint = ""
            return message
        try:
            T_child_base = self._lookup(frame, self.base_frame, stamp_to_ns(message.header.stamp), 0.0)
        except InputError as error:
            self.complaint = str(error)
            raise
        self.complaint = ""
        pose = pose_to_message(compose(pose_from_message(message.pose.pose), T_child_base))
        return Odometry(header=message.header, child_frame_id=self.base_frame, pose=PoseWithCovariance(pose=pose))

    def _lookup(self, target: str, source: str, stamp_ns: int, wait_s: float) -> Pose:
        """T_target_source at the stamp."""
        if not source:
            raise InputError(
                f"its header names no frame, so where it is on {target} cannot be looked up: have the driver set "
                "frame_id, or set base_frame to ''",
                "tf",
            )
        self.listen()
        until_s = time.monotonic() + wait_s
        try:
            with self._changed:
                while self._is_behind(target, source, stamp_ns) and (left_s := until_s - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                return self._tree.lookup(target, source, stamp_ns)
        except InputError as error:
            why = "".join(f" {text}." for text in self._incompatible.values())
            raise InputError(
                f"{error}.{why} `ros2 run tf2_ros tf2_echo {target} {source}` shows what TF knows; base_frame says "
                "which frame is the vehicle's",
                "tf",
            ) from None

    def _is_behind(self, target: str, source: str, stamp_ns: int) -> bool:
        if target == source:
            return False
        newest_ns = self._tree.newest_ns(target, source)
        return newest_ns is not None and newest_ns < stamp_ns

    def _take_static(self, message: Any) -> None:
        self._take(message, is_static=True)

    def _take_moving(self, message: Any) -> None:
        self._take(message, is_static=False)

    def _take(self, message: Any, is_static: bool) -> None:
        with self._changed:
            for stamped in message.transforms:
                try:
                    self._add(stamped, is_static)
                except InputError as error:
                    self._tell_once(f"{'/tf_static' if is_static else '/tf'}: {error}")
            self._changed.notify_all()

    def _add(self, stamped: Any, is_static: bool) -> None:
        names = stamped.header.frame_id, stamped.child_frame_id
        pose = pose_from_transform(stamped.transform)
        if is_static:
            self._tree.add_static(*names, pose)
        else:
            self._tree.add(*names, stamp_to_ns(stamped.header.stamp), pose)

    def _teller_of_qos(self, topic: str) -> Any:
        def tell(event: Any) -> None:
            self._incompatible[topic] = (
                f"a publisher on {topic} offers less than tf2 does, and nothing comes from it: /tf_static is reliable "
                f"and transient local, /tf is reliable; `ros2 topic info -v {topic}` names it"
            )
            self._tell_once(self._incompatible[topic])

        return tell

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._node.get_logger().error(text)


def tf_message(reason: str, otherwise: str) -> Any:
    """The class of TF's messages; raises VprError where there is none: why it is needed, and what else to set."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        raise VprError(
            f"{reason}, which needs tf2_msgs: install it (ros-$ROS_DISTRO-tf2-msgs), or set it {otherwise}"
        ) from None
    return TFMessage
