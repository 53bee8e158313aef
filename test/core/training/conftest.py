"""Drives with labels, and StructVPR's stages on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vpr_core.data.frames import Frames, write_index
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder
from vpr_core.training.weigh import weigh

MakeDrive = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
CLASSES = 19
STRUCTVPR = {"architecture": "structvpr", "dim": None, "class_table": "cityscapes_19", "mining": "pairs",
             "margin": 0.1, "normalize": True, "task_weights": [1.0, 0.0, 0.0], "batch_size": 8,
             "steps": 3}  # fmt: skip


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory, make_drive: MakeDrive) -> dict[str, Path]:
    """Two drives to train on and two others, all with labels; every place has its own."""
    folder, drives = tmp_path_factory.mktemp("labelled"), {}
    for seed, (name, places) in enumerate(
        {"first": range(8), "second": range(8), "database": range(20, 26), "queries": range(20, 26)}.items(), 1
    ):
        drives[name] = make_drive(folder / name, places, seed, clouds=False)
        _add_labels(drives[name], seed)
    return drives


def _add_labels(folder: Path, seed: int) -> None:
    drive, rng = Frames.load(folder), np.random.default_rng(seed)
    (folder / "labels").mkdir()
    frames = []
    for frame in drive.frames:
        own = np.random.default_rng([5, int(drive.positions_m[frame.index, 0]) // 60])
        label = np.kron(own.integers(CLASSES, size=(6, 8)), np.ones((8, 8))).astype(np.uint8)
        label[rng.random(label.shape) < 0.05] = 255
        frames.append(replace(frame, label=f"labels/{frame.index:06d}.png"))
        cv2.imwrite(str(folder / frames[-1].label), label)
    write_index(folder, frames, {name: value for name, value in drive.card.items() if name != "schema"})


@pytest.fixture(scope="session")
def structvpr_recipe(toy_recipe: MakeRecipe) -> MakeRecipe:
    """A recipe of one of StructVPR's networks on the drives of `labelled`, with what is to differ."""

    def make(modality: str, **options: Any) -> Recipe:
        return toy_recipe(modality, **{**STRUCTVPR, **options})

    return make


@pytest.fixture(scope="session")
def student_recipe(structvpr_recipe: MakeRecipe) -> MakeRecipe:
    """That of stage II, with what is to differ in its distillation."""

    def make(**distillation: Any) -> Recipe:
        values = {"method": "structvpr", "teacher_modality": "labels", **distillation}
        return structvpr_recipe("camera", distillation=values)

    return make


@pytest.fixture(scope="session")
def branches(
    labelled: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Stage I of both modalities."""
    folder, frames = tmp_path_factory.mktemp("branches"), [labelled["first"], labelled["second"]]
    return {
        modality: train_encoder(
            frames, folder / modality, structvpr_recipe(modality), [labelled["database"], labelled["queries"]]
        )  # fmt: skip
        for modality in ("camera", "labels")
    }


@pytest.fixture(scope="session")
def sample_weights(branches: dict[str, Path], labelled: dict[str, Path]) -> Path:
    out = branches["camera"].parent / "weights.npz"
    weigh(branches["camera"], branches["labels"], [labelled["first"], labelled["second"]], out)
    return out
