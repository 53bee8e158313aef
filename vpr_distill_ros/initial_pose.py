"""The initial pose told to others once: on a topic, to Nav2's service, or both."""

from __future__ import annotations

import math
import time
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.task import Future

from vpr_core.errors import VprError

_CALL_AGAIN_S = 10.0


class InitialPose:
    """Sends a pose once to each of those that are to have it, as soon as they are there; for one thread at a time.

    topic, service: empty where they are not to be used.
    Raises VprError where the service is asked for and nav2_msgs is not installed.
    """

    def __init__(self, node: Node, topic: str, service: str) -> None:
        self._node = node
        kind = _set_initial_pose() if service else None
        self._request: Any = kind.Request if kind else None
        self._client: Any = node.create_client(kind, service) if kind else None
        self._publisher = node.create_publisher(PoseWithCovarianceStamped, topic, 10) if topic else None
        self.begin()

    def close(self) -> None:
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
        if self._client is not None:
            self._node.destroy_client(self._client)

    def begin(self) -> None:
        """Have it sent once more."""
        self._is_published = self._is_answered = False
        self._called_s = -math.inf

    @property
    def state(self) -> str:
        """For /diagnostics: off, waiting, or sent to all."""
        ways = (self._publisher, self._is_published), (self._client, self._is_answered)
        wanted = [is_done for way, is_done in ways if way is not None]
        return ("sent" if all(wanted) else "waiting") if wanted else "off"

    def send(self, pose: PoseWithCovarianceStamped) -> None:
        """To all that have not had one and are there: a message that nobody hears yet would be lost."""
        if self._publisher is not None and not self._is_published and self._publisher.get_subscription_count():
            self._publisher.publish(pose)
            self._is_published = True
            self._tell(pose, f"on {self._publisher.topic}")
        if self._client is not None and self._is_to_be_called and self._client.service_is_ready():
            self._called_s = time.monotonic()
            self._client.call_async(self._request(pose=pose)).add_done_callback(self._on_answer)
            self._tell(pose, f"to {self._client.srv_name}")

    @property
    def _is_to_be_called(self) -> bool:
        # A server may answer before it has discovered where to (ros2/rmw_fastrtps#842).
        return not self._is_answered and time.monotonic() - self._called_s > _CALL_AGAIN_S

    def _on_answer(self, future: Future) -> None:
        self._is_answered = self._called_s > -math.inf

    def _tell(self, pose: PoseWithCovarianceStamped, where: str) -> None:
        x, y = pose.pose.pose.position.x, pose.pose.pose.position.y
        self._node.get_logger().info(f"initial pose sent {where}: {x:.1f}, {y:.1f} m")


def _set_initial_pose() -> Any:
    try:
        from nav2_msgs.srv import SetInitialPose
    except ImportError:
        raise VprError(
            "set_initial_pose_service is given, which needs nav2_msgs: install it (ros-$ROS_DISTRO-nav2-msgs), or set "
            "initialpose_topic instead"
        ) from None
    return SetInitialPose
