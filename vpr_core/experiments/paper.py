"""Our figures and a paper's, cell by cell."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.errors import RecipeError
from vpr_core.experiments.cells import Cell
from vpr_core.experiments.plans import TEACHER, Column, Plan, PlanRow
from vpr_core.experiments.sources import Row, Source

RECALL = "recall_at_1"
PAPER_FIGURES = {
    "ar_at_1": RECALL, RECALL: RECALL, "recall_at_5": "recall_at_5", "recall_at_10": "recall_at_10",
    "samples_percent": "samples_weighed", "network_ms": "network_ms",
    "segmentation_ms": "segmentation_ms",
}  # fmt: skip
"""Columns of a paper's table: the figures of ours that they stand beside."""
Figures = dict[str, float]


@dataclass(frozen=True)
class Entry:
    """A cell of a table, over all seeds."""

    column: Column
    row: PlanRow
    name: str
    """Among those that it is compared with."""
    ours: dict[int, Figures]
    """By seed, as the source says [%]."""
    conditions: dict[int, Figures]
    """Recall@1 [%] of each condition, by seed."""
    seeds: int
    """How many were asked for."""
    paper: dict[str, Figures]
    """By table of the paper [%]."""
    is_ranked: bool = True
    """Among the others; a teacher is above them, unless the plan has it as one of the methods."""

    def of(self, figure: str = RECALL) -> dict[int, float]:
        """A figure of each seed that has it."""
        return {seed: figures[figure] for seed, figures in self.ours.items() if figure in figures}

    def mean(self, figure: str = RECALL) -> float:
        """NaN where nothing was measured."""
        return float(np.mean(list(self.of(figure).values()))) if self.of(figure) else float("nan")

    def spread(self, figure: str = RECALL) -> float:
        """Standard deviation over the seeds; NaN of fewer than two."""
        return float(np.std(list(self.of(figure).values()), ddof=1)) if len(self.of(figure)) > 1 else float("nan")

    def recall_of(self, table: str) -> float | None:
        """The paper's Recall@1 [%]."""
        return self.paper.get(table, {}).get(RECALL)


def groups_of(plan: Plan, rows: Mapping[Cell, Sequence[Row]], source: Source) -> dict[str, list[Entry]]:
    """The cells of a plan by what they are compared in, under its title: a column, or of some plans all columns."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    tables = paper_of(plan)
    by_place: dict[tuple[str, str], dict[int, list[Row]]] = defaultdict(dict)
    for cell, found in rows.items():
        if cell.plan is plan:
            whole = [row for row in found if not row["method"].endswith("half")]
            by_place[cell.column.name, cell.row.title][cell.network.recipe.seed] = whole
    for column in plan.columns:
        for row in plan.rows:
            seeds = by_place[column.name, row.title]
            figures = {seed: _figures(plan, of_seed, source) for seed, of_seed in seeds.items()}
            ours = {seed: found for seed, found in figures.items() if RECALL in found}
            conditions = {seed: source.by_condition(seeds[seed]) for seed in ours}
            place = (column.title, row.title)
            paper = {name: table[key] for name, table in tables.items() for key in (place, ("", row.title))
                     if key in table}  # fmt: skip
            is_ranked = plan.rank_teacher or row.method != TEACHER
            title, name = (plan.title, ": ".join(place)) if plan.across_columns else place
            groups[title].append(Entry(column, row, name, ours, conditions, len(seeds), paper, is_ranked))
    return groups


def _figures(plan: Plan, rows: Sequence[Row], source: Source) -> Figures:
    found = {figure: source.recall(rows, figure) for figure in plan.figures}
    return {figure: value for figure, value in found.items() if value is not None}


Table = dict[tuple[str, str], Figures]
"""Figures [%] by "teacher -> student", empty where the paper's rows are alike for all, and row."""


def paper_of(plan: Plan) -> dict[str, Table]:
    """The plan's tables of the paper by name; one of several data sets is as many, with their names."""
    found: dict[str, Table] = {}
    for name, path in plan.paper.items():
        tables = read_paper(path)
        found |= tables if len(tables) > 1 else dict.fromkeys([name], next(iter(tables.values())))
    return found


def read_paper(path: Path) -> dict[str, Table]:
    """By data set. Columns are dataset, row, some of PAPER_FIGURES, and teacher and student, or neither of them.

    Raises RecipeError where it is no table of a paper.
    """
    found: dict[str, Table] = defaultdict(dict)
    try:
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                pair = f"{line['teacher']} -> {line['student']}" if "teacher" in line else ""
                figures = {name: float(line[column]) for column, name in PAPER_FIGURES.items() if line.get(column)}
                found[line["dataset"]][pair, line["row"]] = figures
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _no_table(path, repr(error)) from error
    if not any(RECALL in figures for table in found.values() for figures in table.values()):
        raise _no_table(path, "no Recall@1")
    return dict(found)


def _no_table(path: Path, why: str) -> RecipeError:
    expected = f"dataset, row, and figures such as {', '.join(list(PAPER_FIGURES)[:2])}"
    return RecipeError(f"{path} is no table of a paper ({why}): expected columns {expected}")
