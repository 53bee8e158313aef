"""What the rows of a table say: recall by condition, and what a teacher gave its students."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from vpr_core.evaluation.evaluate import table_text
from vpr_core.experiments.sources import Row
from vpr_core.experiments.town import mean_of_others


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Recall@1 by town, modality, recipe and method: means over the seeds, and the spread of the mean of `others`.

    others: the conditions that the map was not made under; spread: standard deviation over the seeds.
    """
    groups: dict[tuple[str, ...], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        key = (row["town"], row["modality"], row["label"], row["method"])
        groups[key][row["seed"]][row["condition"]] = float(row["recall_at_1"])
    return [_summary_row(key, list(seeds.values())) for key, seeds in sorted(groups.items())]


def _summary_row(key: tuple[str, ...], seeds: Sequence[dict[str, float]]) -> dict[str, Any]:
    others = np.array([mean_of_others(found) for found in seeds])
    return {
        **dict(zip(("town", "modality", "recipe", "method"), key, strict=True)),
        "seeds": len(seeds),
        **{name: float(np.mean([found[name] for found in seeds])) for name in seeds[0]},
        "others": float(others.mean()),
        "spread": _spread(others),
    }


def gains(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What distillation added to Recall@1 in the mean of the other conditions, by modality and recipe.

    Each run, a seed in a town, is the difference of a student distilled from the same student alone, of the same seed.
    """
    differences: dict[str, list[float]] = defaultdict(list)
    found = _others_by_run(rows)
    for (method, modality, student, label, *run), taught in found.items():
        for (other, _, of, _, *at), alone in found.items():
            if (method, other) == ("student distilled", "student alone") and (student, run) == (of, at):
                differences[f"{modality} student, recipe {label}: distilled over alone"].append(taught - alone)
    return [_difference_row(name, values) for name, values in sorted(differences.items())]


def margins(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """How far the teacher is above each of its halves and above the students alone, run by run as in `gains`."""
    differences: dict[str, list[float]] = defaultdict(list)
    found = _others_by_run(rows)
    for (method, _, _, _, *run), teacher in found.items():
        for (other, modality, _, _, *at), value in found.items():
            if method == "teacher" and run == at and other in ("teacher cloud half", "teacher image half"):
                differences[f"teacher over its {other.removeprefix('teacher ')}"].append(teacher - value)
            if method == "teacher" and run == at and other == "student alone":
                differences[f"teacher over the {modality} student alone"].append(teacher - value)
    return [_difference_row(name, values) for name, values in sorted(differences.items())]


def _others_by_run(rows: Sequence[Row]) -> dict[tuple[str, ...], float]:
    """The mean of the other conditions, by method, modality, student, label, seed and town."""
    recall: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        run = tuple(row[name] for name in ("method", "modality", "student", "label", "seed", "town"))
        recall[run][row["condition"]] = float(row["recall_at_1"])
    return {run: mean_of_others(found) for run, found in recall.items()}


def _difference_row(name: str, values: Sequence[float]) -> dict[str, Any]:
    differences = np.array(values)
    return {
        "difference": name,
        "runs": len(differences),
        "mean": float(differences.mean()),
        "spread": _spread(differences),
        "smallest": float(differences.min()),
        "largest": float(differences.max()),
        "above 0": f"{int((differences > 0).sum())} of {len(differences)}",
    }


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def tables_text(rows: Sequence[Row]) -> str:
    """All tables as text, as they stand in BENCHMARKS.md."""
    differences = [*margins(rows), *gains(rows)]
    return "\n\n".join(table_text(table, list(table[0])) for table in (summary(rows), differences) if table)
