"""What /diagnostics says of a map builder."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from vpr_distill_ros.diagnostics import doubted, is_recent, silent


@dataclass(frozen=True)
class MapHealth:
    """What the level and the line of the status depend on."""

    lifecycle: str
    """unconfigured, inactive, active or finalized."""
    load_error: str
    save_error: str
    """Why the map could not be saved at the last try; empty where it could."""
    odometry_error: str
    """Why the odometry's poses are not used; empty where they are."""
    sees: str
    """What comes on the sensor's topic: "image" or "cloud"."""
    topic: str
    odometry_topic: str
    input_age_s: float | None
    """Time since the newest image or cloud; None before the first."""
    odometry_age_s: float | None
    stale_s: float
    complaint: str
    """What is wrong with the sensor's topic as it is now; empty where nothing is."""
    odometry_complaint: str
    last_outcome: str
    """"added", "near" or why the newest finished frame was dropped; empty before the first."""
    places: int
    usable_age_s: float | None = None
    """Time since the newest image or cloud that could have made a place; None before the first."""
    doubts: tuple[str, ...] = ()
    """Why places may be wrong."""


def assess(health: MapHealth) -> tuple[bytes, str]:
    """Level and message: OK mapping, WARN idle or without a place, ERROR where places are not added or not saved."""
    return doubted(*_judge(health), health.doubts)


def _judge(health: MapHealth) -> tuple[bytes, str]:
    error, warn, ok = DiagnosticStatus.ERROR, DiagnosticStatus.WARN, DiagnosticStatus.OK
    if health.load_error:
        return error, f"no map: {health.load_error}"
    if health.save_error:
        return error, f"the map is not saved: {health.save_error}"
    if health.lifecycle != "active":
        return warn, health.lifecycle
    for sees, topic, age_s, complaint in (
        ("odometry", health.odometry_topic, health.odometry_age_s, health.odometry_complaint),
        (health.sees, health.topic, health.input_age_s, health.complaint),
    ):
        if silence := silent(sees, topic, age_s, health.stale_s, complaint):
            return error, silence
    if health.odometry_error:
        return error, f"no places are added: {health.odometry_error}"
    if health.last_outcome not in ("", "added", "near"):
        level = warn if is_recent(health.usable_age_s, health.stale_s) else error
        return level, f"{health.sees}s cannot be used: {health.last_outcome}"
    return (ok, f"mapping, {health.places} places") if health.places else (warn, "no place yet")
