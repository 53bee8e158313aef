"""What /diagnostics says in which situation."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from vpr_core.retrieval.filter import Estimate, FilterReason
from vpr_core.types import Pose
from vpr_distill_ros import map_diagnostics
from vpr_distill_ros.counters import FrameCounters
from vpr_distill_ros.diagnostics import STATES, Health, assess, judge, to_message
from vpr_distill_ros.map_diagnostics import MapHealth

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def health(**changes: object) -> Health:
    localized = {
        "lifecycle": "active",
        "load_error": "",
        "topic": "/image",
        "input_age_s": 0.1,
        "stale_s": 3.0,
        "last_outcome": "accepted",
        "accepted_age_s": 0.1,
    }
    return Health(**{**localized, **changes})


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, OK, "localized"),
        ({"last_outcome": "refused"}, WARN, "uncertain"),
        ({"last_outcome": ""}, WARN, "uncertain"),
        ({"lifecycle": "inactive"}, WARN, "inactive"),
        ({"lifecycle": "unconfigured"}, WARN, "unconfigured"),
        ({"lifecycle": "unconfigured", "load_error": "no such folder"}, ERROR, "no such folder"),
        ({"input_age_s": None}, ERROR, "no image on /image yet"),
        ({"input_age_s": 3.5}, ERROR, "no image on /image for 3.5 s"),
        ({"last_outcome": "encoding 16UC1"}, ERROR, "encoding 16UC1"),
    ],
)
def test_level_and_message(changes: dict[str, object], level: bytes, words: str) -> None:
    assert assess(health(**changes))[0] == level
    assert words in assess(health(**changes))[1]


def estimate(reason: FilterReason) -> Estimate:
    return Estimate(1, np.array([0.7]), 0.3, 0, Pose((0.0, 0.0, 0.0)), 0.7, 0, 0.0, reason, True)


REFUSED = {"last_outcome": "refused"}


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "localized", "localized"),
        (REFUSED, "uncertain", "uncertain: no match is accepted"),
        ({**REFUSED, "accepted_age_s": 9.9}, "uncertain", "uncertain"),
        ({**REFUSED, "accepted_age_s": 10.1}, "lost", "lost: no match is accepted"),
        ({**REFUSED, "accepted_age_s": None}, "uncertain", "uncertain"),
        ({**REFUSED, "last_estimate": estimate(FilterReason.OFF_MAP)}, "lost", "lost: no match is accepted (off the"),
        ({**REFUSED, "last_estimate": estimate(FilterReason.AMBIGUOUS)}, "uncertain", "(ambiguous)"),
        ({"input_age_s": None}, "no input", "no image on /image yet"),
        ({"odometry_topic": "/odom"}, "no input", "no odometry on /odom yet"),
        ({"odometry_topic": "/odom", "odometry_age_s": 0.2}, "localized", "localized"),
        ({"last_outcome": "encoding 16UC1"}, "no input", "images cannot be used"),
        ({"load_error": "no such folder"}, "no map", "no map: no such folder"),
        ({"lifecycle": "inactive"}, "", "inactive"),
    ],
)
def test_the_state_of_the_localization(changes: dict[str, object], state: str, words: str) -> None:
    _, told, message = judge(health(**changes))
    assert told == state and words in message and (not state or state in STATES)


UNUSABLE = {"last_outcome": "image is dark", "stale_s": 3.0}


@pytest.mark.parametrize(
    ("changes", "level", "state", "message"),
    [
        ({"usable_age_s": 2.9}, WARN, "uncertain", "uncertain: images cannot be used: image is dark"),
        ({"usable_age_s": 2.9, "accepted_age_s": 11.0}, WARN, "lost", "lost: images cannot be used: image is dark"),
        ({"usable_age_s": 3.1}, ERROR, "no input", "images cannot be used: image is dark"),
        ({"usable_age_s": None}, ERROR, "no input", "images cannot be used: image is dark"),
    ],
)
def test_frames_that_cannot_be_used_are_an_error_when_it_lasts(
    changes: dict[str, object], level: bytes, state: str, message: str
) -> None:
    assert judge(health(**UNUSABLE, **changes)) == (level, state, message)


def test_doubts_are_told_beside_the_state_and_raise_a_warning() -> None:
    doubts = ("2 publishers send on /image", "image stamps went back 0.3 s ago")
    assert assess(health(doubts=doubts)) == (WARN, "; ".join(["localized", *doubts]))
    assert assess(health(doubts=doubts, input_age_s=None)) == (ERROR, "; ".join(["no image on /image yet", *doubts]))
    (status,) = to_message("n", "/image", Time(), health(doubts=doubts), FrameCounters().snapshot(), {}).status
    values = {pair.key: pair.value for pair in status.values}
    assert (status.level, values["localization"]) == (WARN, "localized") and status.message.endswith(doubts[1])


def test_ages_are_those_of_the_newest_event() -> None:
    counters = FrameCounters()
    assert counters.usable_age_s is None and counters.backwards_age_s is None
    for stamp_ns in (5, 3):
        counters.receive(stamp_ns)
    counters.drop("dark")
    assert counters.usable_age_s is None and counters.backwards_age_s is not None
    counters.skip()
    assert counters.usable_age_s is not None and counters.usable_age_s >= 0.0


def test_the_filter_s_figures_are_in_the_message() -> None:
    now = health(**REFUSED, last_estimate=estimate(FilterReason.AMBIGUOUS))
    (status,) = to_message("localizer", "/image", Time(sec=3), now, FrameCounters().snapshot(), {}).status
    values = {pair.key: pair.value for pair in status.values}
    assert values["localization"] == "uncertain" and values["filtered_reason"] == "ambiguous"
    assert (values["filtered_probability"], values["filtered_off_map_probability"]) == ("0.7000", "0.3000")


@pytest.mark.parametrize(
    ("changes", "level", "message"),
    [
        ({}, OK, "mapping, 3 places"),
        ({"places": 0, "last_outcome": ""}, WARN, "no place yet"),
        ({"lifecycle": "inactive"}, WARN, "inactive"),
        ({"load_error": "no such folder"}, ERROR, "no map: no such folder"),
        ({"save_error": "disk full", "lifecycle": "inactive"}, ERROR, "the map is not saved: disk full"),
        ({"odometry_error": "it jumped"}, ERROR, "no places are added: it jumped"),
        ({"last_outcome": "JPEG was cut off"}, ERROR, "images cannot be used: JPEG was cut off"),
        ({"input_age_s": 3.5, "complaint": "a cloud"}, ERROR, "no image on /image for 3.5 s: a cloud"),
        ({"odometry_age_s": None, "complaint": "a cloud"}, ERROR, "no odometry on /odom yet"),
        ({"odometry_age_s": 4.0, "odometry_complaint": "a pose"}, ERROR, "no odometry on /odom for 4.0 s: a pose"),
        ({"last_outcome": "JPEG was cut off", "usable_age_s": 1.0}, WARN, "images cannot be used: JPEG was cut off"),
        ({"last_outcome": "JPEG was cut off", "usable_age_s": 9.0}, ERROR, "images cannot be used: JPEG was cut off"),
        ({"doubts": ("two", "three")}, WARN, "mapping, 3 places; two; three"),
    ],
)
def test_level_and_message_of_a_map_builder(changes: dict[str, object], level: bytes, message: str) -> None:
    mapping = {
        **{"lifecycle": "active", "load_error": "", "save_error": "", "odometry_error": "", "sees": "image"},
        **{"topic": "/image", "odometry_topic": "/odom", "input_age_s": 0.1, "odometry_age_s": 0.1, "stale_s": 3.0},
        **{"complaint": "", "odometry_complaint": "", "last_outcome": "added", "places": 3},
    }
    assert map_diagnostics.assess(MapHealth(**{**mapping, **changes})) == (level, message)


def test_figures_are_in_the_message() -> None:
    counters = FrameCounters()
    for stamp_ns in range(4):
        counters.receive(stamp_ns)
    counters.process(10.0)
    counters.process(30.0)
    counters.supersede()
    counters.drop("encoding")
    counters.drop("encoding")
    message = to_message("localizer", "/image", Time(sec=3), health(), counters.snapshot(), {"map_hash": "abc"})
    (status,) = message.status
    values = {pair.key: pair.value for pair in status.values}
    assert (status.name, status.hardware_id, status.level) == ("localizer", "/image", OK)
    assert values["frames_received"] == "4"
    assert (values["frames_processed"], values["frames_superseded"], values["frames_stale"]) == ("2", "1", "0")
    # Four that came and two that were answered in the last 5 s.
    assert (values["frames_received_hz"], values["frames_processed_hz"]) == ("0.8", "0.4")
    assert values["frames_dropped"] == values["frames_dropped.encoding"] == "2"
    assert (values["latency_p50_ms"], values["latency_p95_ms"]) == ("20.0", "29.0")
    assert (values["state"], values["map_hash"], values["last_accepted_age_s"]) == ("active", "abc", "0.10")
