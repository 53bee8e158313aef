"""A node's odometry as it comes: how old the newest is, and what was dropped of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from nav_msgs.msg import Odometry
from rclpy.node import Node

from vpr_distill_ros.counters import Rate, since
from vpr_distill_ros.sensor_node import LOG_PERIOD_S

_TYPES = {"nav_msgs/msg/Odometry": Odometry}
# Half a second of the fastest odometry, for a node that is busy.
_DEPTH = 100


class OdometryInput:
    """The node tells what became of each message; every drop is counted by its kind, and logged now and then."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._came_s: float | None = None
        self._drops: Counter[str] = Counter()
        self._arrivals = Rate()
        self._lock = threading.Lock()

    def open(self, open_input: Callable[..., None], topic: str, take: Callable[[Odometry], None]) -> None:
        """Take messages from a topic, if one is given, through `open_input` of the node; raises InputError where ROS
        refuses it."""
        if topic:
            open_input(topic, _TYPES, "set odometry_topic", take, depth=_DEPTH)

    def come(self) -> None:
        self._came_s = time.monotonic()
        with self._lock:
            self._arrivals.count()

    def drop(self, kind: str, error: Exception) -> None:
        self._drops[kind] += 1
        self._node.get_logger().warning(f"odometry dropped: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def pause(self) -> None:
        """What came before is no longer the newest."""
        self._came_s = None

    @property
    def age_s(self) -> float | None:
        """Time since the newest; None before the first."""
        return since(self._came_s)

    @property
    def figures(self) -> dict[str, str]:
        """How often one comes whose frame is known, and what was dropped, in all and by kind, for /diagnostics."""
        with self._lock:
            rate = {"odometry_hz": f"{self._arrivals.hz:.1f}"}
        kinds = {f"odometry_dropped.{kind}": str(times) for kind, times in sorted(self._drops.items())}
        return rate | {"odometry_dropped": str(sum(self._drops.values())), **kinds}
