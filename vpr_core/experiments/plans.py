"""Plans of tables: which columns and rows a table of a paper has, with their recipes and the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from vpr_core.errors import RecipeError

Data = Literal["town", "town_labels", "oxford", "boreas"]
Shows = Literal["recall", "cost", "drives"]
TEACHER, ALONE, ABSENT = "teacher", "alone", "absent"
"""Methods that no file of methods has: the column's teacher, its student without it, and what only the paper has."""
FIGURES = {"recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10", "samples_weighed": "samples"}
"""Figures [%] of a cell, by the column of results that has them: what tables call them."""
NAMES = {"distilvpr": "table*.yaml", "structvpr": "structvpr_*.yaml"}
"""All plans of a paper by its name, as they are called in FOLDER."""
FOLDER = Path("config/tables")
_PLAN = {"title", "paper", "methods", "compare", "columns", "rows", "figures", "by_condition", "shows", "note",
         "rank_teacher"}  # fmt: skip
_PAIRING = {"teacher", "student", "methods"}


@dataclass(frozen=True)
class Pairing:
    """Recipes of a teacher and a student, and the file of methods that belongs to them."""

    teacher: Path
    student: Path
    methods: Path


@dataclass(frozen=True)
class Column:
    """A teacher and a student of the paper."""

    name: str
    title: str
    """As the paper has it, "MinkLoc++ -> MinkLoc++2D"."""
    pairings: dict[str, Pairing]
    """By kind of data."""


@dataclass(frozen=True)
class PlanRow:
    """A row of the paper's table."""

    title: str
    method: str
    changes: dict[str, Any]
    """What the row's distillation has beside what the file of methods says."""


@dataclass(frozen=True)
class Plan:
    """A file of config/tables."""

    path: Path
    title: str
    paper: dict[str, Path]
    """Files with the paper's figures, by what to call them."""
    columns: tuple[Column, ...]
    rows: tuple[PlanRow, ...]
    across_columns: bool
    """Cells are compared over all columns, not within each."""
    figures: tuple[str, ...] = ("recall_at_1",)
    """Of FIGURES, the first of them recall_at_1, by which cells are ranked."""
    by_condition: bool = False
    """Each condition of the town stands in the place of a data set."""
    shows: Shows = "recall"
    """cost: what networks take, which no training changes; drives: what the other tables are of."""
    rank_teacher: bool = False
    """The teacher is a method among the others."""
    note: str = ""
    """What the reader has to know of the paper's side."""


def read_plans(paths: Sequence[Path]) -> list[Plan]:
    """The plans of files, of all files in folders, and of a paper by one of NAMES. Raises RecipeError."""
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise RecipeError(
            f"no plan in {', '.join(map(str, paths))}: expected YAML files such as config/tables/table4.yaml, or "
            f"{' or '.join(NAMES)} in a folder that has {FOLDER}"
        )
    return [read_plan(file) for file in files]


def _files(path: Path) -> list[Path]:
    if str(path) in NAMES and not path.exists():
        return sorted(FOLDER.glob(NAMES[str(path)]))
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def choose(plans: Sequence[Plan], columns: Sequence[str], methods: Sequence[str], data: Data) -> list[Plan]:
    """The plans with these columns and methods only, or with all where none is named; and with this data.

    Raises RecipeError for a name that no plan has, or where nothing is left.
    """
    for what, names, known in (
        ("column", columns, {column.name for plan in plans for column in plan.columns}),
        ("method", methods, {row.method for plan in plans for row in plan.rows} - {ABSENT}),
    ):
        if unknown := set(names) - known:
            raise RecipeError(
                f"no plan has the {what} {', '.join(sorted(unknown))}: known are {', '.join(sorted(known))}"
            )
    chosen = [
        replace(
            plan,
            columns=tuple(c for c in plan.columns if c.name in (columns or (c.name,)) and data in c.pairings),
            rows=tuple(row for row in plan.rows if row.method in (methods or (row.method,))),
        )
        for plan in plans
    ]
    found = [plan for plan in chosen if plan.columns and (plan.rows or plan.shows == "drives")]
    if not any(plan.rows for plan in found) and any(plan.rows for plan in plans):
        raise RecipeError(f"no plan has a column for {data} with these methods")
    return found


def data_of(plans: Sequence[Plan]) -> Data:
    """The town where a column has recipes for it, else the first data that one has."""
    known = [data for plan in plans for column in plan.columns for data in column.pairings]
    return next((data for data in get_args(Data) if data in known), "town")


def read_plan(path: Path) -> Plan:
    """A plan, its paths resolved from its own folder; raises RecipeError naming what does not fit."""
    values = read_values(path)
    _check_keys(path, "a plan", values, _PLAN, required={"title", "columns", "rows"})
    defaults = values.get("methods") or {}
    columns = tuple(_column(path, name, column, defaults) for name, column in values["columns"].items())
    rows = tuple(_row(path, str(title), row) for title, row in values["rows"].items())
    paper = {name: path.parent / file for name, file in (values.get("paper") or {}).items()}
    compare, figures = values.get("compare", "rows"), tuple(values.get("figures", ("recall_at_1",)))
    if compare not in ("rows", "columns"):
        raise RecipeError(f"{path}: compare is {compare!r}, expected rows or columns")
    if figures[:1] != ("recall_at_1",) or not set(figures) <= set(FIGURES):
        expected = ", ".join(FIGURES)
        raise RecipeError(f"{path}: figures is {list(figures)}, expected recall_at_1 and others of {expected}")
    if values.get("shows", "recall") not in get_args(Shows):
        raise RecipeError(f"{path}: shows is {values['shows']!r}, expected one of {', '.join(get_args(Shows))}")
    shown = {name: values[name] for name in ("by_condition", "shows", "note", "rank_teacher") if name in values}
    return Plan(path, values["title"], paper, columns, rows, compare == "columns", figures, **shown)


def _column(path: Path, name: str, values: dict[str, Any], defaults: dict[str, str]) -> Column:
    where = f"{path}: column {name}"
    _check_keys(where, "a column", values, {"title", *get_args(Data)}, required={"title"})
    pairings = {}
    for data in (known for known in values if known != "title"):
        files = {"methods": defaults.get(data), **values[data]}
        _check_keys(where, f"its {data}", {key: file for key, file in files.items() if file}, _PAIRING, _PAIRING)
        pairings[data] = Pairing(**{key: path.parent / file for key, file in files.items()})
    return Column(name, values["title"], pairings)


def _row(path: Path, title: str, values: Any) -> PlanRow:
    values = ABSENT if values is None else values
    changes = dict(values) if isinstance(values, dict) else {"method": values}
    if not isinstance(changes.get("method"), str):
        raise RecipeError(f"{path}: row {title} is {values!r}, expected a method, or keys of which one is method")
    return PlanRow(title, changes.pop("method"), changes)


def read_values(path: Path) -> dict[str, Any]:
    """Of a file of YAML; raises RecipeError."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read as a plan or its methods: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds neither a plan nor methods: expected keys, as in config/tables/table4.yaml")
    return values


def _check_keys(where: object, what: str, values: Any, known: set[str], required: set[str]) -> None:
    if not isinstance(values, dict) or set(values) - known or required - set(values):
        there = ", ".join(map(str, values)) if isinstance(values, dict) else repr(values)
        raise RecipeError(
            f"{where}: {what} has {there}; expected {', '.join(sorted(required))}, and nothing beside "
            f"{', '.join(sorted(known))}"
        )
