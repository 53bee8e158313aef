"""How old a frame is: by its stamp where the sensor's clock is the node's, else since it came."""

from __future__ import annotations

import time

import pytest

from vpr_distill_ros.sensor_clock import SensorClock

NOW_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


def age_s(clock: SensorClock, behind_s: float, waited_s: float = 0.0) -> float:
    return clock.age_s(NOW_NS - round(behind_s * SECOND_NS), time.monotonic() - waited_s, NOW_NS)


def test_a_stamp_by_the_node_s_clock_tells_the_age() -> None:
    clock = SensorClock()
    assert age_s(clock, 0.1) == pytest.approx(0.1, abs=0.05)
    assert age_s(clock, 7.0) == pytest.approx(7.0) and age_s(clock, 3600.0) == pytest.approx(3600.0)
    assert age_s(clock, 0.1, waited_s=4.0) == pytest.approx(4.0, abs=0.05), "since it came"
    assert age_s(clock, -2.0) == pytest.approx(0.0, abs=0.05), "a clock that is ahead"


def test_the_stamps_of_a_recording_say_nothing_of_age_until_clock_does() -> None:
    clock = SensorClock()
    for behind_s in (1e8, 11.0, -1e8):
        assert age_s(clock, behind_s) == pytest.approx(0.0, abs=0.05)
        assert age_s(clock, behind_s, waited_s=5.0) == pytest.approx(5.0, abs=0.05)
    age_s(clock, 0.0)
    assert age_s(clock, 11.0) == pytest.approx(11.0)


def test_a_stamp_of_zero_is_none() -> None:
    clock = SensorClock()
    age_s(clock, 0.0)
    assert clock.age_s(0, time.monotonic() - 1.0, NOW_NS) == pytest.approx(1.0, abs=0.05)
