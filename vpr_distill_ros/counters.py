"""What a node counts of the frames it was sent; every frame ends in exactly one of the counts."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass, field

import numpy as np

_LATENCIES_KEPT = 200
_RATE_OVER_S = 5.0


def since(moment_s: float | None) -> float | None:
    """Seconds since a moment of time.monotonic()."""
    return None if moment_s is None else time.monotonic() - moment_s


class Rate:
    """How many times a second something happens, over the last seconds; for whoever holds a lock."""

    def __init__(self) -> None:
        self._moments_s: collections.deque[float] = collections.deque()

    def count(self) -> None:
        self._moments_s.append(time.monotonic())
        self._forget()

    @property
    def hz(self) -> float:
        self._forget()
        return len(self._moments_s) / _RATE_OVER_S

    def _forget(self) -> None:
        while self._moments_s and self._moments_s[0] <= time.monotonic() - _RATE_OVER_S:
            self._moments_s.popleft()


@dataclass(frozen=True)
class Snapshot:
    """The counts at one moment: received = processed + skipped + superseded + sum(dropped) + those still at work."""

    received: int
    processed: int
    skipped: int
    """Frames that were usable and not needed."""
    superseded: int
    dropped: dict[str, int]
    """Frames that were not answered, by reason."""
    stamps_backwards: int
    stamps_zero: int
    latency_p50_ms: float
    """From a frame's arrival in the node to the publication of its matches, over the last 200; NaN before the first."""
    latency_p95_ms: float
    received_hz: float
    """Frames that came a second, over the last 5 s."""
    processed_hz: float
    """Frames that were answered a second, over the last 5 s."""
    stale: int
    """Of the processed, those that were answered as too old to be believed."""


@dataclass
class FrameCounters:
    """Counts from several threads."""

    _received: int = 0
    _processed: int = 0
    _skipped: int = 0
    _superseded: int = 0
    _stale: int = 0
    _stamps_backwards: int = 0
    _stamps_zero: int = 0
    _newest_stamp_ns: int | None = None
    _usable_s: float | None = None
    _backwards_s: float | None = None
    _dropped: collections.Counter[str] = field(default_factory=collections.Counter)
    _latencies_ms: collections.deque[float] = field(default_factory=lambda: collections.deque(maxlen=_LATENCIES_KEPT))
    _arrivals: Rate = field(default_factory=Rate)
    _answers: Rate = field(default_factory=Rate)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """What comes next follows on nothing."""
        with self._lock:
            self._newest_stamp_ns = None

    def receive(self, stamp_ns: int) -> int:
        """Count an arrival; by how much its stamp lies before the one before it [ns], 0 where it does not. Time goes on
        from it: a clock that was set back costs one frame."""
        with self._lock:
            self._received += 1
            self._arrivals.count()
            if stamp_ns == 0:
                self._stamps_zero += 1
                return 0
            back_ns = max(0, (self._newest_stamp_ns or 0) - stamp_ns)
            self._newest_stamp_ns = stamp_ns
            if back_ns:
                self._stamps_backwards += 1
                self._backwards_s = time.monotonic()
            return back_ns

    def skip(self) -> None:
        with self._lock:
            self._skipped += 1
            self._usable_s = time.monotonic()

    def supersede(self) -> None:
        with self._lock:
            self._superseded += 1

    def count_stale(self) -> None:
        """Count a frame, to be processed, as too old."""
        with self._lock:
            self._stale += 1

    def process(self, latency_ms: float) -> None:
        with self._lock:
            self._processed += 1
            self._answers.count()
            self._usable_s = time.monotonic()
            self._latencies_ms.append(latency_ms)

    def drop(self, reason: str, times: int = 1) -> bool:
        """Whether it is the first for that reason."""
        with self._lock:
            self._dropped[reason] += times
            return self._dropped[reason] == times

    @property
    def usable_age_s(self) -> float | None:
        """Time since a frame was answered, or usable and not needed; None before the first."""
        return since(self._usable_s)

    @property
    def backwards_age_s(self) -> float | None:
        """Time since a stamp went back; None where none has."""
        return since(self._backwards_s)

    def snapshot(self) -> Snapshot:
        with self._lock:
            latencies = list(self._latencies_ms) or [float("nan")]
            p50, p95 = np.percentile(latencies, [50, 95])
            return Snapshot(
                self._received,
                self._processed,
                self._skipped,
                self._superseded,
                {reason: times for reason, times in self._dropped.items() if times},
                self._stamps_backwards,
                self._stamps_zero,
                float(p50),
                float(p95),
                self._arrivals.hz,
                self._answers.hz,
                self._stale,
            )
