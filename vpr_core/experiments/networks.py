"""A teacher, and each student alone and distilled from it: the networks of a comparison, and their recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from vpr_core.errors import RecipeError
from vpr_core.files import sha256_json
from vpr_core.structvpr.partition import N_T
from vpr_core.training.network_input import EMBEDDING
from vpr_core.training.recipe import Recipe, as_json

TITLES = {
    ("teacher", EMBEDDING): "teacher",
    ("teacher", "cloud_embedding"): "teacher cloud half",
    ("teacher", "image_embedding"): "teacher image half",
    ("alone", EMBEDDING): "student alone",
    ("distilled", EMBEDDING): "student distilled",
    ("untrained", EMBEDDING): "untrained",
}
"""What tables call the descriptors of a network, by its method and head."""


@dataclass(frozen=True)
class Network:
    """One network of a comparison."""

    label: str
    """Name of its recipe."""
    method: str
    """teacher, alone or distilled."""
    recipe: Recipe
    teacher: Network | None = None
    weighing: Weighing | None = None
    """How much each sample of its distillation counts; all alike where there is none."""

    @property
    def name(self) -> str:
        """Of its folder. A teacher of one sensor has that of the same network as a student alone."""
        method = "alone" if self.method == "teacher" and self.recipe.modality != "fused" else self.method
        return f"{self.label}_{method}_{self.hash}_seed{self.recipe.seed}"

    @property
    def hash(self) -> str:
        """Of the recipe, its teacher's and what weighs its samples, whatever the seed."""
        recipe = {**as_json(self.recipe), "seed": None}
        weighed = [self.weighing.as_json()] if self.weighing else []
        return sha256_json([recipe, self.teacher.hash if self.teacher else None, *weighed])[:12]

    @property
    def after(self) -> tuple[Network, ...]:
        """The networks that it learns from."""
        first = (self.teacher, self.weighing.student if self.weighing else None)
        return tuple(network for network in first if network)

    @property
    def alone(self) -> Network:
        """The same network without distillation."""
        return self if self.teacher is None else Network(self.label, "alone", replace(self.recipe, distillation=None))


@dataclass(frozen=True)
class Weighing:
    """How `weigh` weighs samples by a student alone and by its teacher."""

    student: Network
    scheme: str = "paper"
    n_t: int = N_T
    groups: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        groups = list(self.groups) if self.groups is not None else None
        return {"student": self.student.hash, "scheme": self.scheme, "n_t": self.n_t, "groups": groups}

    def path(self, folder: Path, teacher: Network) -> Path:
        """Of the file of weights, in the folder of the checkpoints."""
        name = sha256_json([self.as_json(), teacher.hash])[:12]
        return folder / f"weights_{name}_seed{teacher.recipe.seed}.npz"


def read_recipe(path: str | Path) -> Recipe:
    """A recipe of config/; one without a modality is a teacher's. Raises RecipeError."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no recipe: expected keys such as steps, as in config/teacher/town.yaml")
    return Recipe.from_json({"modality": "fused", **values})


def comparison(
    teacher: str | Path, students: Sequence[str | Path], seed: int, steps: int | None = None
) -> list[Network]:
    """The teacher, and of every student's recipe the student alone and distilled, from recipe files.

    The two students differ in `distillation` and in nothing else. steps: instead of the recipes' own, with what they
    count in steps shortened alike.
    """

    def read(path: str | Path) -> Recipe:
        recipe = replace(read_recipe(path), seed=seed)
        return recipe if steps is None else of_length(recipe, steps)

    taught = Network(Path(teacher).stem, "teacher", read(teacher))
    networks = {taught.name: taught}
    for path in students:
        recipe = read(path)
        if recipe.distillation is None:
            raise RecipeError(f"{path} has no distillation: it is no recipe of a student with a teacher")
        distilled = Network(Path(path).stem, "distilled", recipe, taught)
        # Recipes that differ in distillation only have the student alone in common.
        if distilled.alone.hash not in {network.hash for network in networks.values()}:
            networks[distilled.alone.name] = distilled.alone
        networks[distilled.name] = distilled
    return list(networks.values())


def of_length(recipe: Recipe, steps: int) -> Recipe:
    """The recipe in so many steps; looks at the validation drives, decay and warm-up keep their share of them.

    One that counts epochs counts steps then; its warm-up, which is in steps already, takes a third of them at most.
    """
    share = steps / max(recipe.length, 1)
    distillation = recipe.distillation
    if distillation:
        warmup = distillation.warmup_steps
        shorter = round(warmup * share) if recipe.epochs is None else min(warmup, steps // 3)
        distillation = replace(distillation, warmup_steps=shorter)
    validate_every = max(round(recipe.validate_every * share), min(recipe.validate_every, 1))
    decay_at = recipe.decay_at if recipe.decay_at is None or recipe.decay_at < 1 else max(recipe.decay_at * share, 1.0)
    return replace(
        recipe, steps=steps, epochs=None, validate_every=validate_every, decay_at=decay_at, distillation=distillation
    )


def untrained(network: Network) -> Network:
    """The same network as it is before its first step."""
    return Network(network.label, "untrained", replace(network.recipe, steps=0, distillation=None))


def titles_of(network: Network) -> dict[str, str]:
    """By head, what tables call the network's descriptors."""
    return {
        head: title
        for (method, head), title in TITLES.items()
        if method == network.method and (head == EMBEDDING or network.recipe.modality == "fused")
    }
