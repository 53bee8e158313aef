"""The report of `vpr-distill trust`: checks, figures by condition, reliability, and the runs that no drive has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpr_core.evaluation.breakdown import Share
from vpr_core.evaluation.charts import share_bars
from vpr_core.evaluation.reliability import reliability, reliability_chart
from vpr_core.evaluation.report import Chart, Section, write_report
from vpr_core.experiments.trust_checks import Check, by_setting, met_text
from vpr_core.experiments.trust_figures import NO_DRIVE, Row, driven, judged_on, pooled
from vpr_core.experiments.trust_outcomes import MODES, RADIUS_M, TARGET
from vpr_core.experiments.trust_results import Results

Found = Mapping[tuple[str, str], Results]


def write_trust_report(path: Path, rows: Sequence[Row], found: Found, lines: Sequence[Check], summary: str) -> Path:
    """One HTML file of what was measured."""
    ordinary = [row for row in rows if row.town.startswith("town")]
    sections = [
        *(Section(f"Checks, {setting}", f"{CHECKS_TEXT} {met_text(chosen)}.", rows=[_check_row(one) for one in chosen])
          for setting, chosen in by_setting(lines).items()),
        *(_accepted(sensor, ordinary) for sensor in dict.fromkeys(row.sensor for row in rows)),
        *(_reliability(sensor, found) for sensor in dict.fromkeys(sensor for sensor, _ in found)),
        Section("Every drive", DRIVES_TEXT, rows=[_row(row) for row in rows if not row.runs]),
        Section("Carried elsewhere, and on the way to the church", RUNS_TEXT, rows=[_run(r) for r in rows if r.runs]),
    ]  # fmt: skip
    headline = [(met_text(chosen).removesuffix(" met"), f"checks met, {setting}")
                for setting, chosen in by_setting(lines).items()]  # fmt: skip
    return write_report(path, "Trust", summary, [section for section in sections if _has_content(section)], headline)


CHECKS_TEXT = "What is asked of a localizer that a vehicle can trust, each with what was measured."
DRIVES_TEXT = (
    f"Right is within {RADIUS_M:g} m. Recall is of the frames on the map, for a camera those that a place faces; AUROC "
    "and expected calibration error are of the drive's frames and, as a tenth of all, frames off the map."
)
RUNS_TEXT = "Frames are counted from the cut to the first right acceptance, of the cuts where there was one."
RELIABILITY_TEXT = (
    "All tested drives together, a camera's other way round among them, and a tenth of frames that no place is near. A "
    "number is of frames."
)


def _has_content(section: Section) -> bool:
    return bool(section.rows or section.charts)


def _check_row(check: Check) -> dict[str, Any]:
    return {
        "": "met" if check.is_met else "MISSED",
        "sensor": check.sensor,
        "mode": check.mode,
        "check": check.line,
        "figure": check.figure,
    }


def _accepted(sensor: str, rows: Sequence[Row]) -> Section:
    """Bars by condition of what was accepted and right; the tick is Recall@1."""
    charts = []
    for mode in MODES:
        of_mode = [row for row in rows if (row.sensor, row.mode) == (sensor, mode)]
        drives = [row for row in of_mode if row.condition not in NO_DRIVE and not row.runs and row.on_map]
        if drives:
            charts.append(_bars(mode, drives))
    text = f"Share of the frames on the map that was accepted, and right, at {100 * TARGET:g} %. The tick is Recall@1."
    return Section(f"Accepted and right: {sensor}", text, charts=charts)


def _bars(mode: str, rows: Sequence[Row]) -> Chart:
    names = dict.fromkeys(row.condition for row in rows)
    whole = [pooled([row for row in rows if row.condition == name]) for name in names]
    shares = [Share(row.condition, row.accepted - row.wrong, row.on_map) for row in whole]
    wrong = sum(row.wrong for row in whole)
    text = f"{sum(row.accepted for row in whole)} accepted, {wrong} of them wrong"
    return share_bars(mode, shares, [row.recall_at_1 for row in whole], text, share_of="accepted and right")


def _reliability(sensor: str, found: Found) -> Section:
    outcomes = [one for (of, town), results in found.items() if of == sensor and town.startswith("town")
                for one in results.outcomes]  # fmt: skip
    charts = [reliability_chart(mode, reliability(*judged_on(chosen, outcomes))) for mode in MODES
              if (chosen := driven(outcomes, mode))]  # fmt: skip
    return Section(f"Reliability: {sensor}", RELIABILITY_TEXT, charts=charts)


def _row(row: Row) -> dict[str, Any]:
    names = ("town", "sensor", "mode", "condition", "frames", "accepted", "wrong", "precision", "lower_bound", "recall",
             "auroc", "ece", "ece_by_chance", "strict_accepted", "strict_wrong")  # fmt: skip
    values = {name: getattr(row, name) for name in names}
    return {**values, "condition": row.condition.replace("_", " "), "recall_at_1": row.recall_at_1}


def _run(row: Row) -> dict[str, Any]:
    names = ("town", "sensor", "mode", "condition", "runs", "found", "wrong", "median_frames", "max_frames", "church_m")
    return {**{name: getattr(row, name) for name in names}, "condition": row.condition.replace("_", " ")}
