"""A distilled student learns from task and teacher, and the teacher's descriptors are computed once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.errors import RecipeError
from vpr_core.losses.baselines import METHODS
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.distillation import Distillation
from vpr_core.training.objective import Distiller, PairMasks, gradient_norms, task_loss
from vpr_core.training.recipe import Recipe
from vpr_core.training.run import parameter_groups
from vpr_core.training.teacher import teacher_descriptors
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]
Figures = list[dict[str, float]]


@pytest.fixture
def distilled(
    toy: dict[str, Path], toy_recipe: MakeRecipe, teacher: Path, tmp_path: Path
) -> Callable[..., tuple[dict[str, torch.Tensor], Figures]]:
    """distilled(distillation, **recipe): weights and figures of a LiDAR student; without a teacher where None."""

    def train(
        distillation: dict[str, Any] | None, modality: str = "lidar", **options: object
    ) -> tuple[dict[str, torch.Tensor], Figures]:
        figures: Figures = []
        recipe = toy_recipe(modality, distillation=distillation, **options)
        folder = train_encoder([toy["first"], toy["second"]], tmp_path / "student", recipe,
                               progress=lambda step, total, shown: figures.append(shown),
                               teacher=teacher if distillation else None, diagnose_every=2)  # fmt: skip
        return load_checkpoint(folder).model.state_dict(), figures

    return train


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_task_and_teacher_both_move_the_student(distilled: Callable[..., Any]) -> None:
    alone, shown_alone = distilled(None)
    taught, shown = distilled({"method": "SC"})
    assert not same(alone, taught)
    assert shown[0]["loss"] == shown_alone[0]["loss"]
    assert shown[0]["gradient_task"] > 0 and shown[0]["gradient_distillation"] > 0
    assert shown[0]["gradient_ratio"] == pytest.approx(shown[0]["gradient_distillation"] / shown[0]["gradient_task"])
    assert {"distillation", "self_distance", "self_angle", "self_geodesic", "cross_euc"} <= set(shown[0])
    assert "gradient_ratio" in shown[2] and "gradient_ratio" not in shown[1] and "distillation" not in shown_alone[0]


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_a_teacher_without_weight_or_still_in_the_warm_up_changes_nothing(
    distilled: Callable[..., Any], modality: str
) -> None:
    """The adaptor from 24 to the teacher's 40 dimensions draws no random numbers of the student's."""
    student = {"modality": modality, "augment": True}
    alone, _ = distilled(None, **student)
    assert same(alone, distilled({"method": "SC", "weight": 0.0}, **student)[0])
    warming, shown = distilled({"method": "SC", "warmup_steps": 4}, **student)
    assert same(alone, warming) and "distillation" not in shown[-1]
    half, shown = distilled({"method": "SC", "warmup_steps": 2}, **student)
    assert not same(alone, half) and ["distillation" in figures for figures in shown] == [False, False, True, True]


def test_gradients_of_both_losses_add_up(toy_recipe: MakeRecipe) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(8, 24, requires_grad=True), torch.randn(8, 40)
    place = torch.arange(8) // 2
    positive = (place[:, None] == place) & ~torch.eye(8, dtype=torch.bool)
    masks = PairMasks(positive, place[:, None] != place)
    task = task_loss({"embedding": student}, masks, toy_recipe("lidar")).loss
    taught, _ = Distiller(Distillation(), 24, 40)(student, teacher, masks)
    norms = gradient_norms(task, taught, student)
    of_task, of_teacher = (torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (task, taught))
    (task + taught).backward()
    torch.testing.assert_close(student.grad, of_task + of_teacher)
    assert norms["gradient_task"] == pytest.approx(float(of_task.norm()))
    assert norms["gradient_distillation"] == pytest.approx(float(of_teacher.norm()))


def test_the_weights_of_a_teacher_s_halves(toy_recipe: MakeRecipe) -> None:
    torch.manual_seed(0)
    rows = {name: torch.randn(8, 6) for name in ("embedding", "cloud_embedding", "image_embedding")}
    place = torch.arange(8) // 2
    masks = PairMasks((place[:, None] == place) & ~torch.eye(8, dtype=torch.bool), place[:, None] != place)
    loss, figures, violations = task_loss(rows, masks, toy_recipe("fused"))
    assert float(loss) == pytest.approx(0.5 * figures["loss"] + 0.5 * figures["loss_cloud"])
    assert set(violations) == set(rows)  # also of the half without weight
    loss, figures, _ = task_loss(rows, masks, toy_recipe("fused", task_weights=[0.0, 0.0, 2.0]))
    assert float(loss) == pytest.approx(2.0 * figures["loss_image"])


def test_the_adaptor_is_trained_with_the_student_and_left_out_of_it(toy_recipe: MakeRecipe) -> None:
    student, distiller = torch.nn.Linear(3, 24), Distiller(Distillation(), 24, 40)
    (group,) = parameter_groups(student, distiller, toy_recipe("lidar", cloud_learning_rate=0.5))
    assert any(parameter.shape == (40, 24) for parameter in group["params"]) and group["lr"] == 0.5
    assert not list(Distiller(Distillation(), 40, 40).parameters())


@pytest.mark.parametrize("method", ["S", "C", *METHODS])
def test_every_method_trains(distilled: Callable[..., Any], method: str) -> None:
    _, shown = distilled({"method": method}, steps=1)
    assert np.isfinite(shown[0]["distillation"]) and shown[0]["gradient_distillation"] > 0


def test_unknown_methods_and_options_are_named(distilled: Callable[..., Any], teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="method is 'KDD', expected one of kd, .*own methods are S, C, SC"):
        distilled({"method": "KDD"})
    with pytest.raises(RecipeError, match="kd has no option 'heat'; it has temperature"):
        distilled({"method": "kd", "options": {"heat": 2.0}})
    with pytest.raises(RecipeError, match="go together"):
        train_encoder([], tmp_path, Recipe(), teacher=teacher)
    with pytest.raises(RecipeError, match="a fused network is a teacher"):
        Recipe(modality="fused", distillation=Distillation())


def test_a_teacher_s_descriptors_are_computed_once_and_not_taken_from_another(
    toy: dict[str, Path], toy_recipe: MakeRecipe, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drives = [Frames.load(toy[name]) for name in ("first", "second")]
    first = teacher_descriptors(teacher, drives, tmp_path)
    again = teacher_descriptors(teacher, drives, tmp_path / "elsewhere")
    assert torch.equal(first.rows, again.rows) and first.rows.shape == (48, 40)
    (kept,) = tmp_path.glob("*.npz")
    assert kept.read_bytes() == next((tmp_path / "elsewhere").glob("*.npz")).read_bytes()

    other = train_encoder([toy["first"]], tmp_path / "other", toy_recipe("fused", seed=1))
    assert not torch.equal(teacher_descriptors(other, drives, tmp_path).rows, first.rows)
    assert torch.equal(teacher_descriptors(teacher, drives, tmp_path).rows, first.rows)
    kept.write_bytes(kept.read_bytes()[:100])
    assert torch.equal(teacher_descriptors(teacher, drives, tmp_path).rows, first.rows)
    turned = teacher_descriptors(teacher, drives[::-1], tmp_path)
    assert torch.equal(turned.rows, first.rows.roll(24, 0)) and len(list(tmp_path.glob("*.npz"))) == 2

    shutil.rmtree(toy_images := tmp_path / "copy", ignore_errors=True)
    shutil.copytree(toy["first"], toy_images)
    copied = [Frames.load(toy_images), drives[1]]
    shutil.rmtree(toy_images / "images")  # a second computation would need them
    assert torch.equal(teacher_descriptors(teacher, copied, tmp_path).rows, first.rows)
