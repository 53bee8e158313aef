"""What /diagnostics says of a localizer: one line on its state, and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from vpr_distill_ros.counters import Snapshot


@dataclass(frozen=True)
class Health:
    """What the level and the line of the status depend on."""

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


def assess(health: Health) -> tuple[bytes, str]:
    """Level and message: OK localized, WARN uncertain or idle, ERROR without map, input or usable frames."""
    error, warn, ok = DiagnosticStatus.ERROR, DiagnosticStatus.WARN, DiagnosticStatus.OK
    if health.load_error:
        return error, f"no map: {health.load_error}"
    if health.lifecycle != "active":
        return warn, health.lifecycle
    if health.input_age_s is None:
        return error, f"no {health.sees} on {health.topic} yet"
    if health.input_age_s > health.stale_s:
        return error, f"no {health.sees} on {health.topic} for {health.input_age_s:.1f} s"
    if health.last_outcome == "accepted":
        return ok, "localized"
    if health.last_outcome in ("", "refused"):
        return warn, "uncertain: no match is accepted"
    return error, f"{health.sees}s cannot be used: {health.last_outcome}"


def to_message(
    name: str, hardware_id: str, stamp: Time, health: Health, counts: Snapshot, identity: dict[str, str]
) -> DiagnosticArray:
    """identity: further key-value pairs, such as the hashes of map and model."""
    level, message = assess(health)
    values = {"state": health.lifecycle, **_figures(health, counts), **identity}
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id, values=pairs)
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _figures(health: Health, counts: Snapshot) -> dict[str, str]:
    return {
        "frames_received": str(counts.received),
        "frames_processed": str(counts.processed),
        "frames_superseded": str(counts.superseded),
        "frames_dropped": str(sum(counts.dropped.values())),
        **{f"frames_dropped.{reason}": str(number) for reason, number in sorted(counts.dropped.items())},
        "stamps_backwards": str(counts.stamps_backwards),
        "latency_p50_ms": f"{counts.latency_p50_ms:.1f}",
        "latency_p95_ms": f"{counts.latency_p95_ms:.1f}",
        "input_age_s": _age(health.input_age_s),
        "last_accepted_age_s": _age(health.accepted_age_s),
    }


def _age(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f}"
