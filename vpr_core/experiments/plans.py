"""Plans of tables: which networks a table of the paper asks for, each with its column, its row and its recipes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from vpr_core.errors import RecipeError
from vpr_core.experiments.networks import Network, of_length, read_recipe
from vpr_core.losses.baselines import METHODS
from vpr_core.training.recipe import RELATIONAL, Distillation, Recipe

Data = Literal["town", "oxford", "boreas"]
TEACHER, ALONE = "teacher", "alone"
"""Methods that no file of methods has: the column's teacher, and its student without it."""
_PLAN = {"title", "paper", "methods", "compare", "columns", "rows"}
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


@dataclass(frozen=True, eq=False)
class Cell:
    """A network that a table shows, with one seed."""

    plan: Plan
    column: Column
    row: PlanRow
    network: Network


def read_plans(paths: Sequence[Path]) -> list[Plan]:
    """The plans of files, and of all files in folders. Raises RecipeError."""
    files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    if not files:
        raise RecipeError(
            f"no plan in {', '.join(map(str, paths))}: expected YAML files such as config/tables/table4.yaml"
        )
    return [read_plan(file) for file in files]


def choose(plans: Sequence[Plan], columns: Sequence[str], methods: Sequence[str], data: Data) -> list[Plan]:
    """The plans with these columns and methods only, or with all where none is named; and with this data.

    Raises RecipeError for a name that no plan has, or where nothing is left.
    """
    for what, names, known in (
        ("column", columns, {column.name for plan in plans for column in plan.columns}),
        ("method", methods, {row.method for plan in plans for row in plan.rows}),
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
    if not any(plan.columns and plan.rows for plan in chosen):
        raise RecipeError(f"no plan has a column for {data} with these methods")
    return [plan for plan in chosen if plan.columns and plan.rows]


def read_plan(path: Path) -> Plan:
    """A plan, its paths resolved from its own folder; raises RecipeError naming what does not fit."""
    values = _read(path)
    _check_keys(path, "a plan", values, _PLAN, required={"title", "columns", "rows"})
    defaults = values.get("methods") or {}
    columns = tuple(_column(path, name, column, defaults) for name, column in values["columns"].items())
    rows = tuple(_row(path, str(title), row) for title, row in values["rows"].items())
    paper = {name: path.parent / file for name, file in (values.get("paper") or {}).items()}
    compare = values.get("compare", "rows")
    if compare not in ("rows", "columns"):
        raise RecipeError(f"{path}: compare is {compare!r}, expected rows or columns")
    return Plan(path, values["title"], paper, columns, rows, compare == "columns")


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
    changes = dict(values) if isinstance(values, dict) else {"method": values}
    if not isinstance(changes.get("method"), str):
        raise RecipeError(f"{path}: row {title} is {values!r}, expected a method, or keys of which one is method")
    return PlanRow(title, changes.pop("method"), changes)


def cells_of(plans: Iterable[Plan], data: Data, seeds: Sequence[int], steps: int | None = None) -> list[Cell]:
    """Every cell of the plans with every seed; raises RecipeError for a recipe or a method that cannot be.

    steps: instead of the recipes' own, see `of_length`.
    """
    return [
        Cell(plan, column, row, network)
        for plan in plans
        for column in plan.columns
        if data in column.pairings
        for seed in seeds
        for row, network in _networks(column.pairings[data], plan.rows, seed, steps)
    ]


def _networks(pairing: Pairing, rows: Sequence[PlanRow], seed: int, steps: int | None) -> list[tuple[PlanRow, Network]]:
    def read(path: Path) -> Recipe:
        recipe = replace(read_recipe(path), seed=seed)
        return recipe if steps is None else of_length(recipe, steps)

    student, methods = read(pairing.student), _read(pairing.methods)
    if student.distillation is None:
        raise RecipeError(f"{pairing.student} has no distillation: it is no recipe of a student with a teacher")
    teacher = Network(pairing.teacher.stem, "teacher", read(pairing.teacher))
    label, found = pairing.student.stem, []
    for row in rows:
        if row.method == TEACHER:
            found.append((row, teacher))
        elif row.method == ALONE:
            found.append((row, Network(label, "alone", replace(student, distillation=None))))
        else:
            taught = distillation_of(student.distillation, row, methods, pairing.methods)
            name = label if taught == student.distillation else f"{label}_{_name(row)}"
            found.append((row, Network(name, "distilled", replace(student, distillation=taught), teacher)))
    return found


def distillation_of(own: Distillation, row: PlanRow, methods: dict[str, Any], path: Path) -> Distillation:
    """What a student of that row learns from its teacher.

    own: of the student's recipe, of which a baseline keeps warmup_steps and teacher_modality, and DistilVPR's own
    methods every key that neither the row nor the method has. Raises RecipeError.
    """
    if not isinstance(methods.get(row.method), dict):
        known = ", ".join((TEACHER, ALONE, *methods))
        raise RecipeError(f"{path} has no method {row.method}, which the row {row.title} asks for; there are {known}")
    values = {"method": row.method, **methods[row.method], **row.changes}
    if values["method"] not in (*RELATIONAL, *METHODS):
        known = ", ".join((*RELATIONAL, *METHODS))
        raise RecipeError(f"{path}: {row.method} has method {values['method']}, expected one of {known}")
    kept = {field.name for field in fields(Distillation)} - {"options"}
    if values["method"] not in RELATIONAL:
        kept = {"warmup_steps", "teacher_modality"}
    try:
        return Distillation.from_json({**{name: getattr(own, name) for name in kept}, **values})
    except RecipeError as error:
        raise RecipeError(f"{path}: row {row.title}: {error}") from error


def _name(row: PlanRow) -> str:
    """Of the row's networks, after their student's."""
    values = (value for change in row.changes.values() for value in (change if isinstance(change, list) else [change]))
    return "_".join(map(str, (row.method, *values)))


def _read(path: Path) -> dict[str, Any]:
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
