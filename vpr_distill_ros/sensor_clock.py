"""How old what a sensor sent is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_AGREE_S = 10.0
"""Clocks nearer than this are one, read late or set badly; a recording is farther away."""


def since_boot_s() -> float:
    """Goes on while the machine sleeps, and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SensorClock:
    """Tells by a stamp how old a frame is, once one has shown that the sensor stamps by the node's clock.

    The stamps of a recording that is replayed without /clock say nothing of age: then it is the time since it came.
    Late frames grow older by the time that passes and no more. Where ages grow faster, one of the clocks was set, or a
    recording took the sensor's place: then it has to be shown anew. Called by several threads.
    """

    def __init__(self, passed_s: Callable[[], float] = since_boot_s) -> None:
        self._passed_s = passed_s
        self._is_the_nodes = False
        self._last: tuple[float, float] | None = None
        self._lock = threading.Lock()

    @property
    def is_the_nodes(self) -> bool:
        return self._is_the_nodes

    def age_s(self, stamp_ns: int, arrived_s: float, now_ns: int) -> float:
        """arrived_s: of time.monotonic(). now_ns: by the node's clock."""
        waited_s = time.monotonic() - arrived_s
        if not stamp_ns:
            return waited_s
        behind_s = (now_ns - stamp_ns) / 1e9
        with self._lock:
            self._is_the_nodes = abs(behind_s) <= _AGREE_S or self._is_the_nodes and not self._was_set(behind_s)
            self._last = behind_s, self._passed_s()
            return max(waited_s, behind_s) if self._is_the_nodes else waited_s

    def _was_set(self, behind_s: float) -> bool:
        before_s, then_s = self._last or (behind_s, self._passed_s())
        return behind_s - before_s > self._passed_s() - then_s + _AGREE_S
