"""Only the newest item is worked on, and each item ends in exactly one count."""

from __future__ import annotations

import threading
import time

import pytest

from vpr_distill_ros.counters import FrameCounters
from vpr_distill_ros.worker import LatestWorker


class Gate:
    """Work that tells when it began and lasts until it is let go."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def __call__(self, item: int) -> None:
        self.begun.release()
        assert self.let_go.acquire(timeout=60)
        self.done.append(item)


def test_what_waits_is_superseded_by_what_comes_after() -> None:
    gate = Gate()
    worker = LatestWorker(gate, "test")
    assert not worker.submit(0)
    assert gate.begun.acquire(timeout=60)
    assert [worker.submit(item) for item in (1, 2, 3)] == [False, True, True]
    gate.let_go.release(2)
    assert gate.begun.acquire(timeout=60)
    assert not worker.stop()
    assert gate.done == [0, 3]


def test_stop_waits_for_the_item_in_work_and_tells_of_the_one_left() -> None:
    gate = Gate()
    worker = LatestWorker(gate, "test")
    worker.submit(0)
    assert gate.begun.acquire(timeout=60)
    worker.submit(1)
    left: list[bool] = []
    stopper = threading.Thread(target=lambda: left.append(worker.stop()))
    stopper.start()
    while worker._running:
        time.sleep(0.01)
    gate.let_go.release()
    stopper.join(timeout=60)
    assert (left, gate.done) == ([True], [0])


def test_stop_that_finishes_works_on_what_waits() -> None:
    done: list[int] = []
    for item in range(50):
        worker = LatestWorker(done.append, "test")
        assert not worker.submit(item) and not worker.stop(finish=True)
    assert done == list(range(50))


def test_what_comes_after_the_stop_is_never_begun() -> None:
    gate = Gate()
    worker = LatestWorker(gate, "test")
    assert not worker.stop()
    assert worker.submit(0)
    assert gate.done == []


def test_counts_from_many_threads_add_up() -> None:
    counters = FrameCounters()

    def count() -> None:
        for stamp_ns in range(500):
            counters.receive(stamp_ns)
            (counters.supersede if stamp_ns % 2 else lambda: counters.drop("encoding"))()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = counters.snapshot()
    assert (counts.received, counts.superseded, counts.dropped) == (2000, 1000, {"encoding": 1000})


def test_stamps_that_go_back_are_counted_and_time_goes_on_from_them() -> None:
    counters = FrameCounters()
    assert [counters.receive(stamp_ns) for stamp_ns in (5, 6, 3, 4, 2, 2)] == [0, 0, 3, 0, 2, 0]
    assert counters.snapshot().stamps_backwards == 2


def test_stamps_of_zero_are_counted_apart() -> None:
    counters = FrameCounters()
    assert [counters.receive(stamp_ns) for stamp_ns in (5, 0, 6, 0)] == [0, 0, 0, 0]
    counts = counters.snapshot()
    assert (counts.stamps_zero, counts.stamps_backwards) == (2, 0)


def test_rates_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    counters = FrameCounters()
    for index in range(300):  # 30 s of 10 Hz, of which each second frame is answered
        moment[0] = 0.1 * index
        counters.receive(index)
        if index % 2:
            counters.process(1.0)
    counts = counters.snapshot()
    assert (counts.received_hz, counts.processed_hz) == (pytest.approx(10.0), pytest.approx(5.0))
    moment[0] += 10.0
    assert (counters.snapshot().received_hz, counters.snapshot().processed_hz) == (0.0, 0.0)


def test_latency_percentiles() -> None:
    counters = FrameCounters()
    for latency_ms in range(101):
        counters.process(float(latency_ms))
    counts = counters.snapshot()
    assert counts.processed == 101
    assert (counts.latency_p50_ms, counts.latency_p95_ms) == (pytest.approx(50), pytest.approx(95))
