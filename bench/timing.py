"""One way to take a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_ms(function: Callable[[], object], repeat: int, warmup: int = 2) -> float:
    """Median wall time of a call [ms]."""
    for _ in range(warmup):
        function()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        function()
        times.append((time.perf_counter() - started) * 1e3)
    return round(statistics.median(times), 2)
