"""Networks of a comparison trained side by side, then looked at on the same drives."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import BundleError
from vpr_core.evaluation.evaluate import Describe, Evaluation, evaluate
from vpr_core.experiments.networks import Network, Weighing, titles_of
from vpr_core.experiments.town import Drives, TestTown
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe
from vpr_core.training.teacher import teacher_descriptors
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import describe_samples
from vpr_core.training.weigh import weigh

SAVE_EVERY = 50


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
