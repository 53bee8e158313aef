"""How old a frame is: by its stamp where the sensor's clock is the node's, else since it came."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from vpr_distill_ros.sensor_clock import SensorClock

NOW_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


@dataclass
class Times:
    """A sensor's clock, and the time that passes for it."""

    passed_s: float = 0.0
    clock: SensorClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = SensorClock(lambda: self.passed_s)

    def age_s(self, behind_s: float, after_s: float = 0.0, waited_s: float = 0.0) -> float:
        self.passed_s += after_s
        return self.clock.age_s(NOW_NS - round(behind_s * SECOND_NS), time.monotonic() - waited_s, NOW_NS)


def test_a_stamp_by_the_node_s_clock_tells_the_age() -> None:
    times = Times()
    assert times.age_s(0.1) == pytest.approx(0.1, abs=0.05)
    assert times.age_s(7.0) == pytest.approx(7.0) and times.age_s(12.0) == pytest.approx(12.0)
    assert times.age_s(0.1, waited_s=4.0) == pytest.approx(4.0, abs=0.05), "since it came"
    assert times.age_s(-2.0) == pytest.approx(0.0, abs=0.05), "a clock that is ahead"
    assert times.clock.is_the_nodes


def test_the_stamps_of_a_recording_say_nothing_of_age_until_clock_does() -> None:
    times = Times()
    for behind_s in (1e8, 11.0, -1e8):
        assert times.age_s(behind_s) == pytest.approx(0.0, abs=0.05)
        assert times.age_s(behind_s, waited_s=5.0) == pytest.approx(5.0, abs=0.05)
    times.age_s(0.0)
    assert times.age_s(60.0, after_s=60.0) == pytest.approx(60.0)


def test_a_frame_is_late_by_no_more_than_the_time_that_passed() -> None:
    times = Times()
    times.age_s(0.1)
    for behind_s in (30.0, 60.0, 60.0, 20.0):
        assert times.age_s(behind_s, after_s=30.0) == pytest.approx(behind_s), "a network that holds frames up"
    assert times.age_s(0.1) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("behind_s", [7 * 86400.0, -7 * 86400.0, 1.6e9])
def test_after_a_clock_was_set_or_a_recording_began_it_has_to_be_shown_anew(behind_s: float) -> None:
    times = Times()
    times.age_s(0.1)
    ahead = behind_s < 0
    for _ in range(3):
        assert times.age_s(behind_s, after_s=0.1) == pytest.approx(0.0, abs=0.05)
    assert times.clock.is_the_nodes == ahead, "a stamp that is ahead makes nothing stale"
    times.age_s(0.1, after_s=0.1)
    assert times.age_s(5.0, after_s=0.1) == pytest.approx(5.0) and times.clock.is_the_nodes


def test_a_stamp_of_zero_is_none() -> None:
    times = Times()
    times.age_s(0.0)
    assert times.clock.age_s(0, time.monotonic() - 1.0, NOW_NS) == pytest.approx(1.0, abs=0.05)
