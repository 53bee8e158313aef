"""What /diagnostics says of a localizer in mode loop_closure."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from vpr_core.retrieval.own_past import MIB
from vpr_distill_ros.counters import Snapshot
from vpr_distill_ros.diagnostics import Health, age, doubted, figures, is_recent, silence_of, status_message
from vpr_distill_ros.loop_mode import NAME, LoopMode


def assess(health: Health, loops: LoopMode | None) -> tuple[bytes, str]:
    """Level and message: OK looking for loops, WARN idle or without a place, ERROR where no places are kept."""
    return doubted(*_judge(health, loops), health.doubts)


def _judge(health: Health, loops: LoopMode | None) -> tuple[bytes, str]:
    error, warn, ok = DiagnosticStatus.ERROR, DiagnosticStatus.WARN, DiagnosticStatus.OK
    if health.load_error:
        return error, f"cannot look for loops: {health.load_error}"
    if health.lifecycle != "active" or loops is None:
        return warn, health.lifecycle
    if silence := silence_of(health):
        return error, silence
    if loops.lost:
        return error, f"no places are kept: the odometry jumped {loops.lost}"
    if health.last_outcome not in ("", "accepted", "refused"):
        level = warn if is_recent(health.usable_age_s, health.stale_s) else error
        return level, f"{health.sees}s cannot be used: {health.last_outcome}"
    places, closures = len(loops.closer.past), loops.closer.closures
    return (ok, f"looking for loops, {places} places, {closures} closures") if places else (warn, "no place yet")


def figures_of(loops: LoopMode | None) -> dict[str, str]:
    """Of the past and of the newest query; empty before the node is configured."""
    if loops is None:
        return {"places": "0", "closures": "0", "model_hash": ""}
    closer, past, last = loops.closer, loops.closer.past, loops.last
    return {
        "places": str(len(past)),
        "places_thinned": str(past.thinned),
        "memory_mib": f"{past.bytes / MIB:.2f}",
        "memory_limit_mib": f"{closer.options.memory_mib:g}",
        "closures": str(closer.closures),
        "session": str(closer.session),
        "odometry_frame": loops.odometry_frame,
        "last_searched": "" if last is None else str(last.searched),
        "last_excluded_recent": "" if last is None else str(last.recent),
        "last_excluded_unreachable": "" if last is None else str(last.unreachable),
        "min_similarity": f"{closer.threshold:g}",
        "model_hash": closer.bundle.hash,
    }


def to_message(
    node: str, stamp: Time, health: Health, counts: Snapshot, loops: LoopMode | None, odometry: dict[str, str]
) -> DiagnosticArray:
    """node: its name. odometry: further key-value pairs, of what was dropped of it."""
    level, message = assess(health, loops)
    ages = {"input_age_s": age(health.input_age_s), "odometry_age_s": age(health.odometry_age_s)}
    values = {"state": health.lifecycle, "mode": NAME, **figures_of(loops), **figures(counts), **odometry, **ages}
    return status_message(f"{node}: loop closure", health.topic, stamp, level, message, values)
