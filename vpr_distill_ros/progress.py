"""How far long work is, on ~/progress to plot and on /diagnostics to read."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from std_msgs.msg import Float32

from vpr_distill_ros.diagnostics import status_message

_PERIOD_S = 0.5


class Progress:
    """Publishes what was done at most twice a second."""

    def __init__(self, node: Node, what: str) -> None:
        self._node, self._what = node, what
        self._share = node.create_publisher(Float32, "~/progress", 10)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._told_s = 0.0

    def tell(self, message: str, values: dict[str, object], share: float | None = None, now: bool = False) -> None:
        """share: of the work that is done, in [0, 1]; None where nobody knows. now: publish in any case."""
        moment_s = time.monotonic()
        if not now and moment_s - self._told_s < _PERIOD_S:
            return
        self._told_s = moment_s
        if share is not None:
            self._share.publish(Float32(data=float(share)))
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: {self._what}"
        stamp = self._node.get_clock().now().to_msg()
        texts = {key: str(value) for key, value in values.items()}
        self._diagnostics.publish(status_message(name, "", stamp, DiagnosticStatus.OK, message, texts))
