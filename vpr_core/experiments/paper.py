"""Our figures and a paper's, cell by cell."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.errors import RecipeError
from vpr_core.experiments.plans import TEACHER, Cell, Column, Plan, PlanRow
from vpr_core.experiments.sources import Row, Source

PAPER_COLUMNS = ("dataset", "teacher", "student", "row", "ar_at_1_percent", "ar_at_1", "note")


@dataclass(frozen=True)
class Entry:
    """A cell of a table, over all seeds."""

    column: Column
    row: PlanRow
    name: str
    """Among those that it is compared with."""
    ours: dict[int, float]
    """By seed, as the source says [%]."""
    seeds: int
    """How many were asked for."""
    paper: dict[str, float]
    """AR@1 [%] by table of the paper."""

    @property
    def is_student(self) -> bool:
        return self.row.method != TEACHER

    @property
    def mean(self) -> float:
        """NaN where nothing was measured."""
        return float(np.mean(list(self.ours.values()))) if self.ours else float("nan")

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; NaN of fewer than two."""
        return float(np.std(list(self.ours.values()), ddof=1)) if len(self.ours) > 1 else float("nan")


def groups_of(plan: Plan, rows: Mapping[Cell, Sequence[Row]], source: Source) -> dict[str, list[Entry]]:
    """The cells of a plan by what they are compared in, under its title: a column, or of some plans all columns."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    tables = {name: read_paper(path) for name, path in plan.paper.items()}
    by_place: dict[tuple[str, str], dict[int, float | None]] = defaultdict(dict)
    for cell, found in rows.items():
        if cell.plan is plan:
            place = (cell.column.name, cell.row.title)
            by_place[place][cell.network.recipe.seed] = source.recall(
                [row for row in found if not row["method"].endswith("half")]
            )
    for column in plan.columns:
        for row in plan.rows:
            seeds = by_place[column.name, row.title]
            ours = {seed: value for seed, value in seeds.items() if value is not None}
            place = (column.title, row.title)
            paper = {name: table[place] for name, table in tables.items() if place in table}
            title, name = (plan.title, ": ".join(place)) if plan.across_columns else place
            groups[title].append(Entry(column, row, name, ours, len(seeds), paper))
    return groups


def read_paper(path: Path) -> dict[tuple[str, str], float]:
    """AR@1 [%] by "teacher -> student" and row; raises RecipeError where it is no table of a paper."""
    try:
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        return {(f"{line['teacher']} -> {line['student']}", line["row"]): float(line["ar_at_1"]) for line in lines}
    except (OSError, KeyError, TypeError, ValueError) as error:
        expected = ",".join(PAPER_COLUMNS)
        raise RecipeError(f"{path} is no table of a paper ({error!r}): expected columns {expected}") from error
