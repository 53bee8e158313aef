"""What is asked of a localizer that a vehicle can trust, as checks on rows: met or missed, each with its figure.

A line that nothing was measured for is missed, and says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vpr_core.experiments.town import OPPOSITE
from vpr_core.experiments.trust_drives import ELSEWHERE, OFF_MAP
from vpr_core.experiments.trust_figures import BESIDE, CHURCH, KIDNAP, NO_DRIVE, TOGETHER, Row, pooled
from vpr_core.experiments.trust_outcomes import (
    CHECKED,
    FILTERED,
    FILTERED_VERIFIED,
    MODES,
    STRICT,
    TARGET,
    UNCHECKED,
)

ACCEPTED = 500
OFF_MAP_FRAMES = 500
NOON_RECALL, LIDAR_RECALL = 0.9, 0.5
AUROC, ECE = 0.8, 0.05
AMBIGUOUS_SHARE = 0.5
SENSORS = ("camera", "lidar")


@dataclass(frozen=True)
class Check:
    """One line, for one sensor and mode."""

    line: str
    sensor: str
    mode: str
    is_met: bool
    figure: str

    def __str__(self) -> str:
        return f"{'met' if self.is_met else 'MISSED':<7} {self.sensor:<7} {self.mode:<23} {self.line}: {self.figure}"


def checks(rows: Sequence[Row]) -> list[Check]:
    """Every line for each sensor and mode."""
    return [check for line in LINES for check in line(rows)]


def checks_text(found: Sequence[Check]) -> str:
    """One line each, and how many are met: of the localizer as it comes, and of one that checks no candidates."""
    parts = ["\n".join([setting, *map(str, chosen), met_text(chosen)]) for setting, chosen in by_setting(found).items()]
    return "\n\n".join(parts)


def by_setting(found: Sequence[Check]) -> dict[str, list[Check]]:
    """The lines by what the localizer's parameter has to be, `auto` being its default."""
    settings = {"verify: auto": CHECKED, "verify: false": UNCHECKED}
    return {name: [check for check in found if check.mode in modes] for name, modes in settings.items()}


def met_text(found: Sequence[Check]) -> str:
    """How many are met."""
    return f"{sum(check.is_met for check in found)} of {len(found)} met"


def _each(rows: Sequence[Row], wanted: Callable[[Row], bool]) -> Iterator[tuple[str, str, list[Row]]]:
    """For each sensor and mode the rows that a line is about."""
    for sensor in SENSORS:
        for mode in MODES:
            yield sensor, mode, [row for row in rows if (row.sensor, row.mode) == (sensor, mode) and wanted(row)]


def _is_ordinary(row: Row) -> bool:
    return row.town.startswith("town") and not row.runs


def _is_driven(row: Row) -> bool:
    """A drive through the map, in an ordinary town."""
    return _is_ordinary(row) and row.condition not in NO_DRIVE


def _not_measured(line: str, sensor: str, mode: str) -> Check:
    return Check(line, sensor, mode, False, "not measured")


def precision(rows: Sequence[Row]) -> Iterator[Check]:
    """All drives through the map, the opposite direction among them."""
    line = f"precision >= {TARGET:g}, {ACCEPTED} or more accepted"
    for sensor, mode, chosen in _each(rows, _is_driven):
        if not chosen:
            yield _not_measured(line, sensor, mode)
            continue
        whole = pooled(chosen)
        by_condition = {name: sum(row.wrong for row in chosen if row.condition == name)
                        for name in dict.fromkeys(row.condition for row in chosen)}  # fmt: skip
        where = ", ".join(f"{count} {name}" for name, count in by_condition.items() if count)
        share = "none" if whole.precision is None else f"{whole.precision:.4f}"
        bound = "none" if whole.lower_bound is None else f"{whole.lower_bound:.4f}"
        is_met = whole.accepted >= ACCEPTED and (whole.precision or 0.0) >= TARGET
        figure = f"{share}, 95 % lower bound {bound}; {whole.accepted} accepted, {whole.wrong} wrong"
        yield Check(line, sensor, mode, is_met, figure + (f" ({where})" if where else ""))


def strict_precision(rows: Sequence[Row]) -> Iterator[str]:
    """At 99.9 %, which is reported and no line."""
    for sensor, mode, chosen in _each(rows, _is_driven):
        accepted, wrong = (sum(getattr(row, name) for row in chosen) for name in ("strict_accepted", "strict_wrong"))
        share = f", precision {1 - wrong / accepted:.4f}" if accepted else ""
        figure = f"{accepted} accepted, {wrong} wrong{share}" if chosen else "not measured"
        yield f"at {100 * STRICT:g} %: {sensor}, {mode}: {figure}"


def noon_recall(rows: Sequence[Row]) -> Iterator[Check]:
    line = f"recall >= {NOON_RECALL:g} noon to noon"
    for sensor, mode, chosen in _each(rows, lambda row: _is_driven(row) and row.condition == "noon"):
        yield _recall(line, sensor, mode, chosen, NOON_RECALL)


def lidar_recall(rows: Sequence[Row]) -> Iterator[Check]:
    """In each condition, the opposite direction among them."""
    for condition in dict.fromkeys(row.condition for row in rows if _is_driven(row)):
        line = f"recall >= {LIDAR_RECALL:g}, {condition}"
        for sensor, mode, driven in _each(rows, _is_driven):
            if sensor == "lidar":
                chosen = [row for row in driven if row.condition == condition]
                yield _recall(line, sensor, mode, chosen, LIDAR_RECALL)


def _recall(line: str, sensor: str, mode: str, chosen: Sequence[Row], floor: float) -> Check:
    if not chosen or not (whole := pooled(chosen)).on_map:
        return _not_measured(line, sensor, mode)
    of_each = ", ".join(f"{row.recall or 0.0:.3f}" for row in chosen)
    recall = whole.recall or 0.0
    return Check(line, sensor, mode, recall >= floor, f"{recall:.3f} of {whole.on_map} frames (by town {of_each})")


def calibrated(rows: Sequence[Row]) -> Iterator[Check]:
    """Of each town's drives, none of which was calibrated on, together: a match does not know its drive's condition."""
    line = f"AUROC >= {AUROC:g} beside a calibration error <= {ECE:g}, each town's drives together"
    for sensor, mode, chosen in _each(rows, lambda row: _is_ordinary(row) and row.condition == TOGETHER):
        known = [(row.auroc, row.ece) for row in chosen if row.auroc is not None and row.ece is not None]
        is_met = bool(known) and all(auroc >= AUROC and ece <= ECE for auroc, ece in known)
        figure = ", ".join(f"{auroc:.3f} beside {ece:.3f}" for auroc, ece in known)
        yield Check(line, sensor, mode, is_met, figure) if known else _not_measured(line, sensor, mode)


def auroc(rows: Sequence[Row]) -> Iterator[Check]:
    line = f"AUROC >= {AUROC:g} on every drive by itself"
    for sensor, mode, chosen in _each(rows, _is_driven):
        known = [(row.auroc, row) for row in chosen if row.auroc is not None]
        yield _of_drives(line, sensor, mode, [(value >= AUROC, value, row) for value, row in known], min, "lowest")


def ece(rows: Sequence[Row]) -> Iterator[Check]:
    line = f"expected calibration error <= {ECE:g} on every drive by itself"
    for sensor, mode, chosen in _each(rows, _is_driven):
        known = [(row.ece, row) for row in chosen if row.ece is not None]
        check = _of_drives(line, sensor, mode, [(value <= ECE, value, row) for value, row in known], max, "largest")
        by_chance = sum(value <= (row.ece_by_chance or 0.0) for value, row in known)
        figure = f"{check.figure}; {by_chance} no larger than a perfect probability's on so few frames (95 %)"
        yield replace(check, figure=figure) if known else check


def _of_drives(
    line: str,
    sensor: str,
    mode: str,
    found: Sequence[tuple[bool, float, Row]],
    worst: Callable[..., Any],
    named: str,
) -> Check:
    """Of the drives that have such a figure; of those the map's way apart."""
    if not found:
        return _not_measured(line, sensor, mode)
    reached = sum(is_met for is_met, _, _ in found)
    _, value, row = worst(found, key=lambda one: one[1])
    mean = statistics.fmean(one[1] for one in found)
    figure = f"{reached} of {len(found)} drives, mean {mean:.3f}, {named} {value:.3f} ({row.town}, {row.condition})"
    ahead = [one for one in found if one[2].condition != OPPOSITE]
    if 0 < len(ahead) < len(found):
        reached_ahead = sum(is_met for is_met, _, _ in ahead)
        figure += f"; the map's way {reached_ahead} of {len(ahead)}, {named} {worst(one[1] for one in ahead):.3f}"
    return Check(line, sensor, mode, reached == len(found), figure)


def off_map(rows: Sequence[Row]) -> Iterator[Check]:
    line = f"{OFF_MAP_FRAMES} or more frames off the map, none accepted"
    for sensor, mode, chosen in _each(rows, lambda row: _is_ordinary(row) and row.condition in BESIDE):
        if not chosen:
            yield _not_measured(line, sensor, mode)
            continue
        whole = pooled(chosen)
        own, others = ([row for row in chosen if row.condition == name] for name in (OFF_MAP, ELSEWHERE))
        parts = [f"{sum(row.accepted for row in of)} of {sum(row.frames for row in of)} in {name}"
                 for of, name in ((own, "the same town"), (others, "other towns")) if of]  # fmt: skip
        is_met = whole.frames >= OFF_MAP_FRAMES and not whole.accepted
        yield Check(line, sensor, mode, is_met, f"{whole.accepted} accepted: {', '.join(parts)}")


def identical(rows: Sequence[Row]) -> Iterator[Check]:
    def is_of_like_houses(row: Row) -> bool:
        return not row.town.startswith("town") and not row.runs

    wrong, reason = "like houses: nothing wrong accepted", "like houses: the reason says ambiguous"
    for sensor, mode, chosen in _each(rows, is_of_like_houses):
        if not chosen:
            yield from (_not_measured(line, sensor, mode) for line in (wrong, reason))
            continue
        whole = pooled(chosen)
        figure = f"{whole.wrong} wrong of {whole.accepted} accepted in {whole.frames} frames"
        yield Check(wrong, sensor, mode, not whole.wrong, figure)
        share = whole.ambiguous / whole.refused_wrong if whole.refused_wrong else 0.0
        figure = (
            f"{whole.ambiguous} of {whole.refused_wrong} refused frames whose likeliest place was wrong, {share:.2f}"
        )
        yield Check(reason, sensor, mode, share >= AMBIGUOUS_SHARE, figure)


def church(rows: Sequence[Row]) -> Iterator[Check]:
    line = "like houses: the church is recognised and accepted"
    for sensor, mode, chosen in _each(rows, lambda row: row.condition.startswith(CHURCH)):
        if not chosen or not (whole := pooled(chosen)).runs:
            yield _not_measured(line, sensor, mode)
            continue
        first = "never" if whole.church_m is None else f"at the latest {whole.church_m:.0f} m before it"
        figure = f"in {whole.found} of {whole.runs} drives, {first}; {whole.wrong} wrong on the way"
        yield Check(line, sensor, mode, whole.found == whole.runs and not whole.wrong, figure)


def kidnap(rows: Sequence[Row]) -> Iterator[Check]:
    line = "carried elsewhere: no wrong acceptance until found again"
    for sensor, mode, chosen in _each(rows, lambda row: row.condition.startswith(KIDNAP)):
        if mode not in (FILTERED, FILTERED_VERIFIED):
            continue
        if not chosen or not (whole := pooled(chosen)).runs:
            yield _not_measured(line, sensor, mode)
            continue
        after = f"after {whole.median_frames:g} frames in the median, {whole.max_frames} at most" if whole.found else ""
        figure = f"{whole.wrong} wrong; {whole.found} of {whole.runs} cuts found again {after}".rstrip()
        yield Check(line, sensor, mode, not whole.wrong and whole.found > 0, figure)


LINES = (precision, noon_recall, lidar_recall, calibrated, auroc, ece, off_map, identical, church, kidnap)
