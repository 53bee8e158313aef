"""Results of an evaluation as tables: printed, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vpr_core.evaluation.breakdown import direction_rows, pooled_direction_rows
from vpr_core.evaluation.comparison import Drives, averages
from vpr_core.evaluation.evaluate import Evaluation, by_method, table_text
from vpr_core.evaluation.reranking import COLUMNS
from vpr_core.files import write_atomic, write_json

SHARES = ("recall_at_1", "recall_at_5", "recall_at_10", "recall_at_1_percent", "average_precision", "pr_auc",
          "recall_at_100_precision", "auroc")  # fmt: skip
OF_DIRECTION = ("recall_at_1", "average_precision", "pr_auc", "recall_at_100_precision", "auroc")
Tables = dict[str, list[dict[str, Any]]]
"""By name, rows whose cells are None where there is no figure."""


def tables(found: Sequence[Evaluation], drives: Drives) -> Tables:
    """`rows` and `by_direction` of every evaluation; of pairs of runs also `averages` and `by_direction_of_all`.

    The last counts the queries of all pairs together, under one threshold.
    """
    of_each: Tables = {
        "rows": [evaluation.row() for evaluation in found],
        "by_direction": [row for evaluation in found for row in direction_rows(evaluation)],
    }
    if drives.database:
        return of_each
    pooled = [row for group in by_method(found).values() for row in pooled_direction_rows(group)]
    return {**of_each, "averages": averages(found), "by_direction_of_all": pooled}


def figures_text(of_all: Tables) -> str:
    """The rows and their averages as text."""
    averaged = of_all.get("averages", [])
    known = ("method", "metric", *(("database",) if averaged else ()), "queries")
    return table_text([*of_all["rows"], *averaged], (*known, *SHARES, "evaluated", "skipped"))


def direction_text(of_all: Tables) -> str:
    """Directions as text, of pairs of runs those of all pairs together."""
    rows = of_all.get("by_direction_of_all", of_all["by_direction"])
    return table_text(rows, ("method", "metric", "queries", "direction", *OF_DIRECTION, "evaluated"))


def reranking_text(rows: Sequence[dict[str, Any]]) -> str:
    """What re-ranking gives and costs, as text."""
    return table_text(rows, COLUMNS)


def write_tables(path: Path, of_all: Tables) -> None:
    """Write .json with the tables by name, or .csv with one below the other and the name in the column `table`."""
    if path.suffix == ".json":
        write_json(path, of_all)
        return
    rows = [{"table": name, **row} for name, table in of_all.items() for row in table]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(column for row in rows for column in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())
