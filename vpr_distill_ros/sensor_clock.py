"""How old what a sensor sent is."""

from __future__ import annotations

import time

_AGREE_NS = 10_000_000_000
"""Clocks nearer than this are one, read late or set badly; a recording is farther away."""


class SensorClock:
    """Tells by a stamp how old a frame is, once one has shown that the sensor stamps by the node's clock.

    The stamps of a recording that is replayed without /clock say nothing of age: then it is the time since it came.
    """

    def __init__(self) -> None:
        self._is_the_nodes = False

    def age_s(self, stamp_ns: int, arrived_s: float, now_ns: int) -> float:
        """arrived_s: of time.monotonic(). now_ns: by the node's clock."""
        self._is_the_nodes |= abs(now_ns - stamp_ns) <= _AGREE_NS
        waited_s = time.monotonic() - arrived_s
        return max(waited_s, (now_ns - stamp_ns) / 1e9) if self._is_the_nodes and stamp_ns else waited_s
