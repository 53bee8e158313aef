"""Figures of `vpr-distill trust`: a row for each town, sensor, condition and mode, as a table, in print and as CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.evaluation.evaluate import rounded, table_text
from vpr_core.evaluation.reliability import error_by_chance, reliability
from vpr_core.experiments.trust_drives import ELSEWHERE, OFF_MAP
from vpr_core.experiments.trust_outcomes import MODES, Outcome
from vpr_core.experiments.trust_results import Results
from vpr_core.experiments.trust_runs import Church, Cut
from vpr_core.files import write_atomic
from vpr_core.retrieval.calibrating import DEFAULT_OFF_MAP_SHARE, lower_bound

BESIDE = (OFF_MAP, ELSEWHERE)
"""Conditions in which nothing is right."""
TOGETHER = "together"
"""A town's tested drives as one: what a probability is right on, which does not know its drive's condition."""
NO_DRIVE = (*BESIDE, TOGETHER)
"""Conditions that are no drive through the map."""
KIDNAP, CHURCH = "kidnap", "church"


@dataclass(frozen=True)
class Row:
    """Of one town, sensor, condition and mode; None where a figure has no meaning."""

    drives: str
    bundle: str
    town: str
    sensor: str
    condition: str
    mode: str
    frames: int
    on_map: int = 0
    """Frames that have a place in the map."""
    right: int = 0
    """Of these, whose likeliest place is right."""
    accepted: int = 0
    wrong: int = 0
    """Accepted, and not right."""
    recalled: int = 0
    """Accepted and right, of those that have a place."""
    auroc: float | None = None
    ece: float | None = None
    """Both with a tenth of the frames off the map."""
    ece_by_chance: float | None = None
    """What it stays below 95 times of 100 where the probability is perfect, on so few frames."""
    strict_accepted: int = 0
    strict_wrong: int = 0
    """At 99.9 %."""
    refused_wrong: int = 0
    ambiguous: int = 0
    """Refused where the likeliest place was wrong, and of these as ambiguous."""
    runs: int = 0
    found: int = 0
    """Of KIDNAP and CHURCH: how often it was driven, and how often a right place was accepted then."""
    found_after: tuple[int, ...] = ()
    """Of KIDNAP: the frames until that, of those found."""
    church_m: float | None = None
    """Of CHURCH: how far before it that was, the latest run."""

    @property
    def precision(self) -> float | None:
        return 1 - self.wrong / self.accepted if self.accepted else None

    @property
    def lower_bound(self) -> float | None:
        """Clopper-Pearson, one-sided, 95 %."""
        return lower_bound(self.accepted, self.wrong) if self.accepted else None

    @property
    def recall(self) -> float | None:
        return self.recalled / self.on_map if self.on_map else None

    @property
    def median_frames(self) -> float | None:
        return float(statistics.median(self.found_after)) if self.found_after else None

    @property
    def max_frames(self) -> int | None:
        return max(self.found_after, default=None)

    @property
    def recall_at_1(self) -> float | None:
        return self.right / self.on_map if self.on_map else None

    def cells(self) -> dict[str, Any]:
        """By column of the CSV file."""
        derived = {name: getattr(self, name) for name in DERIVED}
        values = {**asdict(self), **derived, "found_after": " ".join(map(str, self.found_after))}
        return {name: _rounded(values[name]) for name in COLUMNS}


DERIVED = ("recall_at_1", "precision", "lower_bound", "recall", "median_frames", "max_frames")
COLUMNS = (
    "drives", "bundle", "town", "sensor", "condition", "mode", "frames", "on_map", "right", "recall_at_1", "accepted",
    "wrong", "precision", "lower_bound", "recall", "auroc", "ece", "ece_by_chance", "strict_accepted", "strict_wrong",
    "refused_wrong", "ambiguous", "runs", "found", "median_frames", "max_frames", "found_after",
    "church_m",
)  # fmt: skip


def _rounded(value: Any) -> Any:
    return "" if value is None else rounded(value) if isinstance(value, float) else value


def rows_of(found: Mapping[tuple[str, str], Results], drives: str, bundles: Mapping[str, str]) -> list[Row]:
    """Of all results by sensor and town; bundles: hashes by sensor."""
    rows: list[Row] = []
    for (sensor, _), results in found.items():
        known = {"drives": drives, "bundle": bundles[sensor]}
        rows += [_of_outcomes(known, group, results.outcomes) for group in grouped(results.outcomes).values()]
        rows += [_together(known, group, results.outcomes) for group in _of_each_mode(results.outcomes)]
        rows += [_of_cuts(known, group) for group in _by_condition(results.cuts).values()]
        rows += [_of_churches(known, group) for group in _by_condition(results.churches).values()]
    return rows


def grouped(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    """By condition and mode, in the order in which they come."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.condition, outcome.mode), []).append(outcome)
    return found


def _of_outcomes(known: dict[str, Any], group: Sequence[Outcome], of_town: Sequence[Outcome]) -> Row:
    first = group[0]
    right, accepted, strict, ambiguous, on_map = (
        np.concatenate([getattr(one, name) for one in group])
        for name in ("right", "accepted", "strict", "ambiguous", "on_map")
    )
    judged, by_chance = None, None
    if first.condition not in BESIDE:
        probability, is_right = judged_on(group, of_town)
        judged, by_chance = reliability(probability, is_right), error_by_chance(probability)
    return Row(
        **known,
        town=first.town,
        sensor=first.sensor,
        condition=first.condition,
        mode=first.mode,
        frames=len(right),
        on_map=int(on_map.sum()),
        right=int((right & on_map).sum()),
        accepted=int(accepted.sum()),
        wrong=int((accepted & ~right).sum()),
        recalled=int((accepted & right & on_map).sum()),
        auroc=None if judged is None or np.isnan(judged.auroc) or not on_map.any() else judged.auroc,
        ece=None if judged is None else judged.expected_calibration_error,
        ece_by_chance=by_chance,
        strict_accepted=int(strict.sum()),
        strict_wrong=int((strict & ~right).sum()),
        refused_wrong=int((~accepted & ~right).sum()),
        ambiguous=int((~accepted & ~right & ambiguous).sum()),
    )


def driven(outcomes: Sequence[Outcome], mode: str) -> list[Outcome]:
    """The tested drives, of one mode."""
    return [one for one in outcomes if one.mode == mode and one.condition not in BESIDE]


def _of_each_mode(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """The tested drives by mode; none in the town of like houses, which is no town like others."""
    is_ordinary = any(outcome.condition in BESIDE for outcome in outcomes)
    return [group for mode in MODES if (group := driven(outcomes, mode)) and is_ordinary]


def _together(known: dict[str, Any], group: Sequence[Outcome], of_town: Sequence[Outcome]) -> Row:
    return replace(_of_outcomes(known, group, of_town), condition=TOGETHER)


def judged_on(group: Sequence[Outcome], of_town: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """Probability and whether it was right, of some outcomes of one mode and of so many frames that no place is near,
    evenly chosen, as make a tenth."""
    probability, right = (np.concatenate([getattr(one, name) for one in group]) for name in ("probability", "right"))
    if beside := [one.probability for one in of_town if one.mode == group[0].mode and one.condition in BESIDE]:
        off_map = np.concatenate(beside)
        wanted = min(round(len(right) * DEFAULT_OFF_MAP_SHARE / (1 - DEFAULT_OFF_MAP_SHARE)), len(off_map))
        chosen = np.arange(wanted) * len(off_map) // max(wanted, 1)
        probability, right = np.append(probability, off_map[chosen]), np.append(right, np.zeros(wanted, bool))
    return probability, right


def _by_condition(runs: Sequence[Any]) -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    for run in runs:
        found.setdefault((run.condition, run.mode), []).append(run)
    return found


def _of_cuts(known: dict[str, Any], group: Sequence[Cut]) -> Row:
    first, found = group[0], tuple(cut.found_after for cut in group if cut.found_after is not None)
    return Row(
        **known,
        town=first.town,
        sensor=first.sensor,
        condition=f"{KIDNAP} {first.condition}",
        mode=first.mode,
        frames=sum(cut.driven for cut in group),
        wrong=sum(cut.wrong for cut in group),
        runs=len(group),
        found=len(found),
        found_after=found,
    )


def _of_churches(known: dict[str, Any], group: Sequence[Church]) -> Row:
    first, passed = group[0], [run for run in group if run.is_passed]
    found = [run.accepted_m for run in passed if run.accepted_m is not None]
    return Row(
        **known,
        town=first.town,
        sensor=first.sensor,
        condition=f"{CHURCH} {first.condition}",
        mode=first.mode,
        frames=0,
        wrong=sum(run.wrong for run in passed),
        runs=len(passed),
        found=len(found),
        church_m=min(found) if found else None,
    )


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """As CSV; an older file is replaced."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.cells() for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.getvalue().encode())


def pooled(rows: Sequence[Row]) -> Row:
    """Rows of several towns or conditions as one: counts summed, AUROC and ECE their mean, the latest church."""
    first, counts = rows[0], [field.name for field in fields(Row) if field.type == "int"]
    means: dict[str, Any] = {name: _mean([getattr(row, name) for row in rows]) for name in ("auroc", "ece")}
    nearest = [row.church_m for row in rows if row.church_m is not None]
    return Row(
        first.drives, first.bundle, "all", first.sensor, first.condition, first.mode,
        **{name: sum(getattr(row, name) for row in rows) for name in counts},
        **means,
        found_after=tuple(count for row in rows for count in row.found_after),
        church_m=min(nearest) if nearest else None,
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def printed(rows: Sequence[Row]) -> str:
    """A table for each sensor: its towns as one, by condition and mode; then the runs that no drive has."""
    ordinary = [row for row in rows if row.town.startswith("town")]
    texts = []
    for sensor in dict.fromkeys(row.sensor for row in rows):
        of_sensor = [row for row in ordinary if row.sensor == sensor and not row.runs]
        if of_sensor:
            lines = [_line(pooled(group)) for group in _in_order(of_sensor)]
            towns = ", ".join(dict.fromkeys(row.town for row in of_sensor))
            texts.append(f"{sensor}, {towns}\n" + table_text(lines, list(lines[0])))
    other = [row for row in rows if not row.town.startswith("town") and not row.runs]
    if other:
        lines = [{"town": row.town, "sensor": row.sensor, **_line(row), **_reasons(row)} for row in other]
        texts.append("like houses\n" + table_text(lines, list(lines[0])))
    runs = [row for row in rows if row.runs]
    if runs:
        lines = [_run_line(row) for row in runs]
        texts.append("carried elsewhere, and on the way to the church\n" + table_text(lines, list(lines[0])))
    return "\n\n".join(texts)


def _in_order(rows: Sequence[Row]) -> list[list[Row]]:
    """Groups of one condition and mode: mode by mode, conditions as they come."""
    conditions = list(dict.fromkeys(row.condition for row in rows))
    groups = [[row for row in rows if (row.condition, row.mode) == (condition, mode)]
              for mode in MODES for condition in conditions]  # fmt: skip
    return [group for group in groups if group]


def _line(row: Row) -> dict[str, Any]:
    return {
        "mode": row.mode, "condition": row.condition, "frames": row.frames, "R@1": row.recall_at_1,
        "accepted": row.accepted, "wrong": row.wrong, "precision": row.precision, "lower bound": row.lower_bound,
        "recall": row.recall, "AUROC": row.auroc, "ECE": row.ece, "at 99.9 %": row.strict_accepted,
        "wrong of these": row.strict_wrong,
    }  # fmt: skip


def _reasons(row: Row) -> dict[str, Any]:
    return {"refused, wrong": row.refused_wrong, "ambiguous": row.ambiguous}


def _run_line(row: Row) -> dict[str, Any]:
    return {
        "town": row.town, "sensor": row.sensor, "what": row.condition, "mode": row.mode, "runs": row.runs,
        "found": row.found, "wrong": row.wrong, "frames, median": row.median_frames, "at most": row.max_frames,
        "m before the church": row.church_m,
    }  # fmt: skip
