"""The camera's topic while the localizer is active: type from the graph, sensor QoS, what is wrong with it logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_TYPES = {"raw": Image, "compressed": CompressedImage}
_TYPE_NAMES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
_GRAPH_PERIOD_S = 0.2


class ImageInput:
    """Subscribes to an image topic and hands every message to `on_image` until closed.

    transport: raw, compressed, or auto, which waits until a publisher shows its type.
    """

    def __init__(
        self, node: Node, topic: str, transport: str, on_image: Callable[[Image | CompressedImage], None]
    ) -> None:
        self.newest: Image | CompressedImage | None = None
        self._node = node
        self._topic = node.resolve_topic_name(topic)
        self._transport = transport
        self._on_image = on_image
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscription: Any = None
        self._told = ""
        if transport != "auto":
            self._subscribe(transport)
        # Not the node's clock, which stands still where simulated time does.
        self._timer = node.create_timer(
            _GRAPH_PERIOD_S, self._look_at_graph, self._group, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _subscribe(self, transport: str) -> None:
        # rclpy writes overrides into the profile, so each subscription has its own.
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = self._node.create_subscription(
            _TYPES[transport],
            self._topic,
            self._receive,
            qos,
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._transport = transport

    def _subscribe_late(self, transport: str) -> None:
        try:
            self._subscribe(transport)
        except Exception as error:  # a QoS override that does not exist
            self._tell_once(f"cannot subscribe to {self._topic}: {error}")
        else:
            self._node.get_logger().info(f"{self._topic} carries {_TYPE_NAMES[transport]}")

    def _receive(self, message: Image | CompressedImage) -> None:
        self.newest = message
        self._on_image(message)

    def _look_at_graph(self) -> None:
        """Subscribe once the type is known; say once what does not fit."""
        offered = {info.topic_type for info in self._node.get_publishers_info_by_topic(self._topic)}
        wanted = [name for name in _TYPE_NAMES if self._transport in ("auto", name)]
        fitting = [name for name in wanted if _TYPE_NAMES[name] in offered]
        if fitting and self._subscription is None:
            self._subscribe_late(fitting[0])
        elif offered and not fitting:
            expected = " or ".join(_TYPE_NAMES[name] for name in wanted)
            self._tell_once(
                f"{self._topic} carries {', '.join(sorted(offered))}, expected {expected}: "
                "set image_topic, or image_transport to auto"
            )

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        self._tell_once(
            f"a publisher on {self._topic} offers less {policy} than this node asks for, and no image comes from it: "
            f"set qos_overrides.{self._topic}.subscription.{policy} to what `ros2 topic info -v {self._topic}` shows"
        )

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._node.get_logger().error(text)
