"""A topic while a node is active: type from the graph, sensor QoS, what is wrong with it logged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_GRAPH_PERIOD_S = 0.2
# A publisher that was restarted shows beside the one before it until DDS has forgotten that.
_LOOKS_AT_SEVERAL = 25
_LOOKS_AT_NOBODY = 15


class SensorInput:
    """Subscribes to a sensor's topic and hands every message to `on_message` until closed.

    types: message class by type name, e.g. {"sensor_msgs/msg/Image": Image}. Of several, the one that a publisher
    shows is taken, and until then there is no subscription; where publishers later show another of them, it is taken.
    advice: what to do where the topic carries another type.
    depth: messages kept for a node that is busy.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        types: Mapping[str, type],
        advice: str,
        on_message: Callable[[Any], None],
        depth: int = 5,
    ) -> None:
        self.topic = topic
        self.complaint = ""
        """What is wrong with the topic as it is now; empty where nothing is. Read by other threads."""
        self.several = ""
        """That more than one publisher sends, which need not be one sensor; empty where none does. Read by other
        threads."""
        self._node = node
        self._topic = node.resolve_topic_name(topic)
        self._types = types
        self._advice = advice
        self._on_message = on_message
        self._depth = depth
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscription: Any = None
        self._subscribed = ""
        self._has_come = False
        self._told: set[str] = set()
        self._incompatible = ""
        self._looks_at_several = self._looks_at_nobody = 0
        self._lock = threading.Lock()
        """So that nothing is subscribed to any more once it is closed."""
        self._is_closed = False
        if len(types) == 1:
            self._subscribe(*types)
        # Not the node's clock, which stands still where simulated time does.
        self._timer = node.create_timer(
            _GRAPH_PERIOD_S, self._look_at_graph, self._group, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._node.destroy_timer(self._timer)
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)

    def _subscribe(self, type_name: str) -> None:
        # rclpy writes overrides into the profile, so each subscription has its own.
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=self._depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = self._node.create_subscription(
            self._types[type_name],
            self._topic,
            self._receive,
            qos,
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscribed = type_name

    def _subscribe_late(self, type_name: str) -> None:
        if self._subscription is not None:
            # It is gone when no thread uses it any more; until then DDS refuses another type, so the next look does it.
            self._node.destroy_subscription(self._subscription)
            self._subscription, self._subscribed = None, ""
            return
        try:
            self._subscribe(type_name)
        except Exception as error:  # a QoS override that does not exist
            self._tell_once(f"cannot subscribe to {self._topic}: {error}")
        else:
            self._node.get_logger().info(f"{self._topic} carries {type_name}")

    def _receive(self, message: Any) -> None:
        self._has_come, self._incompatible = True, ""
        self._on_message(message)

    def _look_at_graph(self) -> None:
        """Subscribe once the type is known; say once what does not fit."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        offered = {info.topic_type for info in publishers}
        fitting = [name for name in self._types if name in offered]
        if not offered:
            self._incompatible = ""  # who offered too little is gone
        self.complaint = self._complain(offered) if offered and not fitting else self._incompatible
        if offered and not fitting:
            self._tell_once(self.complaint)
        elif fitting and self._subscribed not in fitting:
            with self._lock:
                if not self._is_closed:
                    self._subscribe_late(fitting[0])
        self._look_for_several(sum(info.topic_type == self._subscribed for info in publishers))
        self._look_for_nobody(len(publishers))

    def _complain(self, offered: set[str]) -> str:
        expected = " or ".join(self._types)
        return f"{self._topic} carries {', '.join(sorted(offered))}, expected {expected}: {self._advice}"

    def _look_for_nobody(self, publishers: int) -> None:
        """A wrong name of a topic is silent: say so, and again when other topics of the kind are discovered."""
        self._looks_at_nobody = self._looks_at_nobody + 1 if not publishers and not self._has_come else 0
        if self._looks_at_nobody >= _LOOKS_AT_NOBODY:
            known = self._node.get_topic_names_and_types()
            here = sorted(name for name, kinds in known if set(kinds) & set(self._types) and name != self._topic)
            self._warn_once(f"nobody publishes on {self._topic} yet; such topics here: {', '.join(here) or 'none'}")

    def _look_for_several(self, publishers: int) -> None:
        self._looks_at_several = self._looks_at_several + 1 if publishers > 1 else 0
        if self._looks_at_several < _LOOKS_AT_SEVERAL:
            self.several = ""
            return
        self.several = (
            f"{publishers} publishers send on {self._topic}, which may not be one sensor: "
            f"`ros2 topic info -v {self._topic}` names them"
        )
        if self._looks_at_several == _LOOKS_AT_SEVERAL:
            self._node.get_logger().warning(self.several)

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        self._incompatible = (
            f"a publisher on {self._topic} offers less {policy} than this node asks for, and nothing comes from it: "
            f"set qos_overrides.{self._topic}.subscription.{policy} to what `ros2 topic info -v {self._topic}` shows"
        )
        self._tell_once(self._incompatible)

    def _warn_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._node.get_logger().warning(text)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._node.get_logger().error(text)
