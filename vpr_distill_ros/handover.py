"""What other nodes are told, once several answers agree: an initial pose, priors for RTAB-Map, map -> odom."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.node import Node
from std_msgs.msg import Header

from vpr_core.data.poses import compose, inverse, pose_from_message
from vpr_core.errors import InputError, VprError
from vpr_core.retrieval.agreement import AgreementGate
from vpr_core.types import Pose
from vpr_distill_ros.initial_pose import InitialPose
from vpr_distill_ros.localizer_parameters import LocalizerParameters
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.transforms import tf_message

LARGEST_VARIANCE = 1e9
"""What Nav2 takes at most."""
SMALLEST_VARIANCE = 1e-6
"""For RTAB-Map, which takes the inverse: a millimetre, a thousandth of a radian."""


class Handover:
    """The gate of N of M answers, and what goes through it.

    map_frame: of the poses that it is given. Called by several threads.
    Raises VprError where the parameters do not go together, or need messages that are not installed.
    """

    def __init__(self, node: Node, values: LocalizerParameters, map_frame: str) -> None:
        _check(values)
        self._node, self._map_frame = node, map_frame
        self._gate = AgreementGate(values.agreement_needed, values.agreement_of)
        self._tf_message: Any = tf_message("publish_tf is true", "to false") if values.publish_tf else None
        self._initial = InitialPose(node, values.initialpose_topic, values.set_initial_pose_service)
        topic, self._base_frame = values.global_pose_topic, values.base_frame.lstrip("/")
        self._global = node.create_publisher(PoseWithCovarianceStamped, topic, 10) if topic else None
        self._tf = node.create_publisher(self._tf_message, "/tf", 100) if self._tf_message else None
        self._T_map_odom: Pose | None = None
        self.agreeing = False
        self._map_hash = ""
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def initial_pose(self) -> str:
        """Whether the initial pose was sent, for /diagnostics."""
        return self._initial.state

    def close(self) -> None:
        """What comes later is let go."""
        with self._lock:
            self._is_closed = True
            self._initial.close()
            for publisher in (self._global, self._tf):
                if publisher is not None:
                    self._node.destroy_publisher(publisher)

    def use_map(self, map_hash: str, map_frame: str) -> None:
        """Begin with the answers of another map."""
        with self._lock:
            self._map_hash, self._map_frame = map_hash, map_frame
            self._begin()

    def begin(self) -> None:
        """Count from the beginning, and have the initial pose sent once more."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        self._clear()
        self._initial.begin()

    def clear(self) -> None:
        """Forget answers and map -> odom, as after odometry began again."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._gate.clear()
        self._T_map_odom, self.agreeing = None, False

    def add(self, pose: PoseWithCovarianceStamped | None, odometry: Pose | None, map_hash: str) -> None:
        """Take in an answer: T_map_base, None where nothing is believed, T_odom_base at its stamp, and of which map.

        Answers of another map than the one in use are let go.
        """
        with self._lock:
            if odometry is not None and map_hash == self._map_hash and not self._is_closed:
                self._add(pose, odometry)

    def _add(self, pose: PoseWithCovarianceStamped | None, odometry: Pose) -> None:
        T_map_base = None if pose is None else pose_from_message(pose.pose.pose)
        self.agreeing = self._gate.add(T_map_base, odometry)
        if pose is None or T_map_base is None or not self.agreeing:
            return
        self._T_map_odom = compose(T_map_base, inverse(odometry))
        self._initial.send(for_nav2(pose))
        if self._global is not None:
            self._global.publish(for_rtabmap(pose, self._base_frame))

    def doubt(self) -> None:
        """What is told now is not to be believed: answers have to agree anew. map -> odom stays."""
        with self._lock:
            self._gate.clear()
            self.agreeing = False

    def broadcast(self, message: Odometry) -> None:
        """Send map -> odom with the stamp of an odometry message, so that both reach equally far.

        Raises InputError where the odometry's frame cannot be a child of the map's.
        """
        with self._lock:
            if self._tf is not None and self._T_map_odom is not None and not self._is_closed:
                self._tf.publish(self._map_to_odom(self._T_map_odom, message))

    def _map_to_odom(self, transform: Pose, message: Odometry) -> Any:
        frame = message.header.frame_id.lstrip("/")
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
        return self._tf_message(transforms=[stamped])


def _check(values: LocalizerParameters) -> None:
    wanted = {
        "initialpose_topic": values.initialpose_topic,
        "set_initial_pose_service": values.set_initial_pose_service,
        "global_pose_topic": values.global_pose_topic,
        "publish_tf": values.publish_tf,
    }
    if not values.odometry_topic and any(wanted.values()):
        names = " and ".join(name for name, value in wanted.items() if value)
        raise VprError(f"odometry_topic is empty, and {names} cannot do without odometry between answers: set it too")
    if values.global_pose_topic and not values.base_frame:
        raise VprError("global_pose_topic is given, whose poses carry the vehicle's frame: set base_frame too")


def for_rtabmap(pose: PoseWithCovarianceStamped, base_frame: str) -> PoseWithCovarianceStamped:
    """A pose as RTAB-Map takes it on global_pose: the header names the frame whose pose it is, not that which it is in,
    and RTAB-Map looks up where that is on the vehicle. Covariances without an inverse end it."""
    message = for_nav2(pose)
    message.header = Header(stamp=pose.header.stamp, frame_id=base_frame)
    variances = np.diag(message.pose.covariance.reshape(6, 6))
    message.pose.covariance = np.diag(np.maximum(variances, SMALLEST_VARIANCE)).reshape(36)
    return message


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
