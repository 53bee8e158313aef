"""A teacher, and each student alone and distilled from it: trained side by side, then looked at on the same drives."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import BundleError, RecipeError
from vpr_core.evaluation.evaluate import Describe, Evaluation, evaluate
from vpr_core.experiments.town import Drives, TestTown
from vpr_core.files import sha256_json
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.structvpr.partition import N_T
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import EMBEDDING, NetworkInput
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.teacher import teacher_descriptors
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import describe_samples
from vpr_core.training.weigh import weigh

TITLES = {
    ("teacher", EMBEDDING): "teacher",
    ("teacher", "cloud_embedding"): "teacher cloud half",
    ("teacher", "image_embedding"): "teacher image half",
    ("alone", EMBEDDING): "student alone",
    ("distilled", EMBEDDING): "student distilled",
    ("untrained", EMBEDDING): "untrained",
}
"""What tables call the descriptors of a network, by its method and head."""
SAVE_EVERY = 50


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


def train_networks(
    networks: Sequence[Network],
    folder: Path,
    drives: Drives,
    *,
    device: str = "cpu",
    workers: int | None = None,
    bar: bool = True,
    finished: Callable[[Network], None] | None = None,
) -> None:
    """Train every network into `folder`/its name and describe with it what it is tested on.

    Each runs in a process with one thread, so that a run repeats bit by bit, `workers` at once (one a core). One that
    is there already is not trained again, one that was interrupted goes on. `finished` is called as each is done.
    """
    tasks = {
        network.name: Task(_work, (network, folder, drives, device), tuple(first.name for first in network.after))
        for network in networks
    }
    by_name = {network.name: network for network in networks}
    in_steps = all(network.recipe.epochs is None for network in networks)
    run_tasks(
        tasks,
        workers=workers or cores(),
        unit="step",
        description="train",
        total=sum(network.recipe.steps for network in networks) if in_steps else None,
        bar=bar,
        finished=(lambda name: finished(by_name[name])) if finished else None,
    )


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _work(network: Network, folder: Path, drives: Drives, device: str, progress: Progress) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    out = folder / network.name
    teacher = folder / network.teacher.name if network.teacher else None
    weights = _weighed(network.weighing, network.teacher, folder, drives, device)
    if not _is_trained(out, network.recipe):
        train_encoder(
            drives.train,
            out,
            network.recipe,
            drives.validation,
            lambda step, total, _: progress(step, total),
            teacher=teacher,
            sample_weights=weights,
            save_every=SAVE_EVERY,
            device=device,
        )
    if network.method == "teacher":
        teacher_descriptors(out, [Frames.load(drive) for drive in drives.train], device=device)
    _describe(out, drives.described, device)


def _weighed(
    weighing: Weighing | None, teacher: Network | None, folder: Path, drives: Drives, device: str
) -> Path | None:
    """The file of weights of the training samples, made where it is not there; None where all count alike."""
    if weighing is None or teacher is None:
        return None
    path, student = weighing.path(folder, teacher), folder / weighing.student.name
    if not path.exists():
        options: dict[str, Any] = {"scheme": weighing.scheme, "n_t": weighing.n_t, "groups": weighing.groups}
        weigh(student, folder / teacher.name, drives.train, path, **options, device=device)
    return path


def _is_trained(folder: Path, recipe: Recipe) -> bool:
    try:
        return load_checkpoint(folder).recipe == recipe
    except BundleError:
        return False


def _describe(checkpoint: Path, drives: Sequence[Path], device: str) -> None:
    loaded = load_checkpoint(checkpoint)
    model = loaded.model.to(device)
    network_input = NetworkInput.from_json(loaded.modality, loaded.input)
    for drive in drives:
        described = describe_samples(model, network_input, Samples([Frames.load(drive)]))
        np.savez(_described(checkpoint, drive.name), **described)  # type: ignore[arg-type]  # one of numpy's stubs


def _described(checkpoint: Path, drive: str) -> Path:
    return checkpoint / f"{drive}.npz"


def describer(checkpoint: Path, head: str) -> Describe:
    """What `train_networks` described, by the drive."""

    def describe(drive: Frames) -> np.ndarray:
        with np.load(_described(checkpoint, drive.folder.name)) as stored:
            return stored[head]

    return describe


def evaluate_network(network: Network, folder: Path, town: TestTown) -> dict[str, list[Evaluation]]:
    """By title, what was described evaluated on a town's query drives, in the order of its conditions."""
    database = Frames.load(town.database)
    queries = [Frames.load(drive) for drive in town.queries.values()]
    return {
        title: evaluate(title, describer(folder / network.name, head), database, queries)
        for head, title in titles_of(network).items()
    }


def titles_of(network: Network) -> dict[str, str]:
    """By head, what tables call the network's descriptors."""
    return {
        head: title
        for (method, head), title in TITLES.items()
        if method == network.method and (head == EMBEDDING or network.recipe.modality == "fused")
    }


def table_rows(
    evaluations: Sequence[Evaluation], modality: str, seed: int | None, town: TestTown
) -> list[dict[str, Any]]:
    """Rows of a table: modality, method, condition, seed, recall (Recall@1), and all that `Evaluation.row` gives."""
    rows = []
    for condition, evaluation in zip(town.queries, evaluations, strict=True):
        row = evaluation.row()
        known = {"modality": modality, "method": row.pop("method"), "condition": condition, "seed": seed}
        rows.append({**known, "recall": row["recall_at_1"], "town": town.number, **row})
    return rows
