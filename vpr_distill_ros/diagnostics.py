"""What /diagnostics says of a node: one line on its state, and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from vpr_core.retrieval.filter import Estimate, FilterReason
from vpr_core.types import Match
from vpr_distill_ros.counters import Snapshot

LOCALIZED, UNCERTAIN, LOST, NO_INPUT, NO_MAP = STATES = ("localized", "uncertain", "lost", "no input", "no map")


@dataclass(frozen=True)
class Health:
    """What the level and the line of a localizer's status depend on."""

    lifecycle: str
    """unconfigured, inactive, active or finalized."""
    load_error: str
    """Why bundle or map could not be loaded at the last try; empty where they could."""
    topic: str
    input_age_s: float | None
    """Time since the newest image or cloud; None before the first."""
    stale_s: float
    last_outcome: str
    """"accepted", "refused" or why the newest finished frame was dropped; empty before the first."""
    accepted_age_s: float | None
    """Time since the newest image or cloud with an accepted match; None before the first."""
    sees: str = "image"
    """What comes on the topic: "image" or "cloud"."""
    complaint: str = ""
    """What is wrong with the topic as it is now; empty where nothing is."""
    last_best: Match | None = None
    """The best match of the newest answered image or cloud; None before the first."""
    lost_s: float = 10.0
    last_estimate: Estimate | None = None
    """The filter's answer to the newest image or cloud that has its odometry; None before the first, without filter."""
    odometry_topic: str = ""
    """Empty where none is taken."""
    odometry_age_s: float | None = None
    odometry_complaint: str = ""
    usable_age_s: float | None = None
    """Time since the newest image or cloud that was answered; None before the first."""
    doubts: tuple[str, ...] = ()
    """Why what is answered may be wrong."""


def assess(health: Health) -> tuple[bytes, str]:
    """Level and message: OK localized, WARN uncertain, lost or idle, ERROR without map, input or usable frames."""
    level, _, message = judge(health)
    return doubted(level, message, health.doubts)


def doubted(level: bytes, message: str, doubts: tuple[str, ...]) -> tuple[bytes, str]:
    """Level and message with what there is to doubt: a node that has doubts is at WARN at least."""
    return (max(level, DiagnosticStatus.WARN), "; ".join([message, *doubts])) if doubts else (level, message)


def judge(health: Health) -> tuple[bytes, str, str]:
    """Level, state of the localization and message; the state is one of `STATES`, or empty in a node that is idle."""
    error, warn, ok = DiagnosticStatus.ERROR, DiagnosticStatus.WARN, DiagnosticStatus.OK
    if health.load_error:
        return error, NO_MAP, f"no map: {health.load_error}"
    if health.lifecycle != "active":
        return warn, "", health.lifecycle
    if silence := silence_of(health):
        return error, NO_INPUT, silence
    if health.last_outcome == "accepted":
        return ok, LOCALIZED, "localized"
    state = LOST if _is_lost(health) else UNCERTAIN
    if health.last_outcome in ("", "refused"):
        return warn, state, f"{state}: no match is accepted{_why(health)}"
    trouble = f"{health.sees}s cannot be used: {health.last_outcome}"
    if is_recent(health.usable_age_s, health.stale_s):
        return warn, state, f"{state}: {trouble}"
    return error, NO_INPUT, trouble


def silence_of(health: Health) -> str:
    """What to say of the sensor or the odometry from which nothing comes; empty where something does."""
    of_sensor = silent(health.sees, health.topic, health.input_age_s, health.stale_s, health.complaint)
    if of_sensor or not health.odometry_topic:
        return of_sensor
    odometry = ("odometry", health.odometry_topic, health.odometry_age_s, health.stale_s, health.odometry_complaint)
    return silent(*odometry)


def _is_lost(health: Health) -> bool:
    """Off the map by the filter, or nothing accepted for long after something was."""
    if health.last_estimate is not None and health.last_estimate.reason is FilterReason.OFF_MAP:
        return True
    return health.accepted_age_s is not None and health.accepted_age_s > health.lost_s


def _why(health: Health) -> str:
    if health.last_estimate is not None:
        return f" ({health.last_estimate.reason.value})"
    return f" ({_reason(health.last_best)})" if health.last_best else ""


def is_recent(age_s: float | None, stale_s: float) -> bool:
    return age_s is not None and age_s <= stale_s


def silent(sees: str, topic: str, age_s: float | None, stale_s: float, complaint: str = "") -> str:
    """What to say of a topic from which nothing comes; empty where something does."""
    if is_recent(age_s, stale_s):
        return ""
    since = "yet" if age_s is None else f"for {age_s:.1f} s"
    return f"no {sees} on {topic} {since}" + (f": {complaint}" if complaint else "")


def to_message(
    name: str, hardware_id: str, stamp: Time, health: Health, counts: Snapshot, identity: dict[str, str]
) -> DiagnosticArray:
    """identity: further key-value pairs, such as the hashes of map and model."""
    level, state, message = judge(health)
    level, message = doubted(level, message, health.doubts)
    ages = {"input_age_s": age(health.input_age_s), "last_accepted_age_s": age(health.accepted_age_s)}
    if health.odometry_topic:
        ages["odometry_age_s"] = age(health.odometry_age_s)
    lasts = {**_last(health.last_best), **_filtered(health.last_estimate)}
    values = {"state": health.lifecycle, "localization": state, **figures(counts), **ages, **lasts, **identity}
    return status_message(name, hardware_id, stamp, level, message, values)


def _reason(match: Match) -> str:
    return match.reason.name.lower().replace("_", " ")


def _last(match: Match | None) -> dict[str, str]:
    """Of the newest best match; empty values before the first, and without calibration of the probability."""
    if match is None:
        return {"last_reason": "", "last_similarity": "", "last_probability": ""}
    probability = "" if match.probability is None else f"{match.probability:.4f}"
    return {
        "last_reason": _reason(match),
        "last_similarity": f"{match.similarity:.4f}",
        "last_probability": probability,
    }


def _filtered(estimate: Estimate | None) -> dict[str, str]:
    """Of the filter's newest answer; empty values before the first, and without filter."""
    names = ("filtered_reason", "filtered_place", "filtered_probability", "filtered_off_map_probability")
    if estimate is None:
        return dict.fromkeys(names, "")
    figures = (f"{estimate.probability:.4f}", f"{estimate.p_off_map:.4f}")
    return dict(zip(names, (estimate.reason.value, str(estimate.place_id), *figures), strict=True))


def status_message(
    name: str, hardware_id: str, stamp: Time, level: bytes, message: str, values: dict[str, str]
) -> DiagnosticArray:
    """One status as an array, which is what goes over /diagnostics."""
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id, values=pairs)
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def figures(counts: Snapshot) -> dict[str, str]:
    return {
        "frames_received": str(counts.received),
        "frames_received_hz": f"{counts.received_hz:.1f}",
        "frames_processed_hz": f"{counts.processed_hz:.1f}",
        "frames_processed": str(counts.processed),
        "frames_stale": str(counts.stale),
        "frames_skipped": str(counts.skipped),
        "frames_superseded": str(counts.superseded),
        "frames_dropped": str(sum(counts.dropped.values())),
        **{f"frames_dropped.{reason}": str(number) for reason, number in sorted(counts.dropped.items())},
        "stamps_backwards": str(counts.stamps_backwards),
        "stamps_zero": str(counts.stamps_zero),
        "latency_p50_ms": f"{counts.latency_p50_ms:.1f}",
        "latency_p95_ms": f"{counts.latency_p95_ms:.1f}",
    }


def age(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f}"
