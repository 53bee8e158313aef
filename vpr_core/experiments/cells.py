"""Cells of tables: the network that a row asks for in a column, with each seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vpr_core.errors import RecipeError
from vpr_core.experiments.networks import Network, Weighing, of_length, read_recipe
from vpr_core.experiments.plans import ABSENT, ALONE, TEACHER, Column, Data, Pairing, Plan, PlanRow, read_values
from vpr_core.losses.baselines import METHODS
from vpr_core.training.distillation import RELATIONAL, STRUCTVPR, Distillation
from vpr_core.training.recipe import Recipe, as_json


@dataclass(frozen=True, eq=False)
class Cell:
    """A network that a table shows, with one seed."""

    plan: Plan
    column: Column
    row: PlanRow
    network: Network


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
        for row, network in Networks(column.pairings[data], seed, steps).of_rows(plan.rows)
    ]


class Networks:
    """The networks of a column's rows, with one seed."""

    def __init__(self, pairing: Pairing, seed: int, steps: int | None) -> None:
        """Raises RecipeError for a recipe or a file of methods that cannot be read."""
        self._pairing, self._seed, self._steps = pairing, seed, steps
        self._methods = read_values(pairing.methods)
        _, self._student = self._read(pairing.student)
        if self._student.distillation is None:
            raise RecipeError(f"{pairing.student} has no distillation: it is no recipe of a student with a teacher")
        self._alone = Network(pairing.student.stem, "alone", replace(self._student, distillation=None))

    def of_rows(self, rows: Sequence[PlanRow]) -> list[tuple[PlanRow, Network]]:
        """Raises RecipeError for a method that cannot be."""
        return [(row, self._of(row)) for row in rows if row.method != ABSENT]

    def _of(self, row: PlanRow) -> Network:
        if row.method == TEACHER:
            return self._teacher({})
        if row.method == ALONE:
            return self._alone
        entry = dict(entry_of(row, self._methods, self._pairing.methods))
        if recipe := entry.pop("recipe", None):
            label, own = self._read(self._pairing.methods.parent / recipe, entry | row.changes)
            return Network(label, "alone", own)
        weights, teacher = entry.pop("sample_weights", None), self._teacher(entry.pop("teacher", {}))
        assert self._student.distillation
        taught = distillation_of(self._student.distillation, row, entry, self._pairing.methods)
        label = self._pairing.student.stem
        is_own = taught == self._student.distillation and weights is None
        return Network(
            label if is_own else f"{label}_{_name(row)}",
            "distilled",
            replace(self._student, distillation=taught),
            teacher,
            self._weighing(weights) if weights is not None else None,
        )

    def _teacher(self, changes: dict[str, Any]) -> Network:
        label, recipe = self._read(self._pairing.teacher, changes)
        return Network(label, "teacher", recipe)

    def _weighing(self, values: dict[str, Any]) -> Weighing:
        try:
            groups = values.get("groups")
            return Weighing(self._alone, **{**values, "groups": tuple(groups) if groups is not None else None})
        except TypeError as error:
            raise RecipeError(f"{self._pairing.methods}: sample_weights is {values}: {error}") from error

    def _read(self, path: Path, changes: dict[str, Any] | None = None) -> tuple[str, Recipe]:
        """The name and the recipe of a file, with some of its keys changed."""
        recipe = read_recipe(path)
        if changes:
            recipe = Recipe.from_json({**as_json(recipe), **changes})
        recipe = replace(recipe, seed=self._seed)
        label = "_".join((path.stem, *map(str, (changes or {}).values())))
        return label, recipe if self._steps is None else of_length(recipe, self._steps)


def entry_of(row: PlanRow, methods: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a file of methods says of the row's; raises RecipeError where it does not know it."""
    if not isinstance(methods.get(row.method), dict):
        known = ", ".join((TEACHER, ALONE, *methods))
        raise RecipeError(f"{path} has no method {row.method}, which the row {row.title} asks for; there are {known}")
    return methods[row.method]


def distillation_of(own: Distillation, row: PlanRow, entry: dict[str, Any], path: Path) -> Distillation:
    """What a student of that row learns from its teacher.

    own: of the student's recipe, of which a baseline keeps warmup_steps and teacher_modality, and DistilVPR's own
    methods and StructVPR's every key that neither the row nor the method's entry has. Raises RecipeError.
    """
    values = {"method": row.method, **entry, **row.changes}
    known = (*RELATIONAL, STRUCTVPR, *METHODS)
    if values["method"] not in known:
        expected = ", ".join(known)
        raise RecipeError(f"{path}: {row.method} has method {values['method']}, expected one of {expected}")
    try:
        return Distillation.from_json({**{name: getattr(own, name) for name in _kept(own, values["method"])}, **values})
    except RecipeError as error:
        raise RecipeError(f"{path}: row {row.title}: {error}") from error


def _kept(own: Distillation, method: str) -> set[str]:
    """Keys of the student's recipe that mean something to the method too."""
    names = {field.name for field in fields(Distillation)}
    if method == STRUCTVPR:
        return names if own.method == STRUCTVPR else names - {"options"}
    return names - {"options"} if method in RELATIONAL else {"warmup_steps", "teacher_modality"}


def _name(row: PlanRow) -> str:
    """Of the row's networks, after their student's."""
    values = (value for change in row.changes.values() for value in (change if isinstance(change, list) else [change]))
    return "_".join(map(str, (row.method, *values)))
