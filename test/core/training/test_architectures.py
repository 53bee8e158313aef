"""Every network that a recipe can name trains, teaches, learns from teachers of any modality and goes to a robot."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError, InputError, RecipeError
from vpr_core.export import export
from vpr_core.models.adafusion import AdaFusion
from vpr_core.models.encoder import backbone_names
from vpr_core.models.factory import build_model
from vpr_core.models.voxel_grid import CloudGrid
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.lidar_bundle import LidarBundle
from vpr_core.retrieval.mapping import describe as describe_as_robot
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.distillation import Distillation
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.run import parameter_groups
from vpr_core.training.train import model_spec, train_encoder
from vpr_core.training.validate import describe

MakeRecipe = Callable[..., Recipe]
CONFIG = Path(__file__).parents[3] / "config"
GRID = {"lower_m": [-16.0, -16.0, -1.0], "upper_m": [16.0, 16.0, 9.0], "cells": [16, 16, 8]}
ADAFUSION = {"architecture": "adafusion", "grid": GRID, "dim": 256, "steps": 2, "batch_size": 6}


@pytest.fixture(scope="module")
def adafusion(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of 256 dimensions, barely trained."""
    return train_encoder([toy["first"]], tmp_path_factory.mktemp("adafusion"), toy_recipe("fused", **ADAFUSION))


@pytest.mark.parametrize("backbone", backbone_names())
def test_every_image_backbone_trains_alone_and_in_a_teacher(
    backbone: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    for modality, dim in (("camera", 24), ("fused", 16 + 24)):
        recipe = toy_recipe(modality, backbone=backbone, steps=1, batch_size=4)
        loaded = load_checkpoint(train_encoder([toy["first"]], tmp_path / modality, recipe))
        assert loaded.model.dim == dim and loaded.recipe.backbone == backbone
        spec, _ = model_spec(recipe)
        torch.manual_seed(recipe.seed)
        before, after = build_model(spec["name"], **spec["options"]).state_dict(), loaded.model.state_dict()
        assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


@pytest.mark.parametrize("modality", ["camera", "lidar", "fused"])
def test_adafusion_learns(modality: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    losses: list[float] = []
    recipe = toy_recipe(modality, **{**ADAFUSION, "steps": 25, "batch_size": 8, "task_weights": [1.0, 0.0, 0.0]})
    train_encoder([toy["first"]], tmp_path / "c", recipe,
                  progress=lambda step, total, figures: losses.append(figures["loss"]))  # fmt: skip
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert last < 0.9 * first, f"the loss was {first:.3f} at first and {last:.3f} at last"


def test_adafusion_s_checkpoint_says_how_it_is_fed(adafusion: Path, toy: dict[str, Path]) -> None:
    loaded = load_checkpoint(adafusion)
    grid = {**GRID, "axes": "sensor"}
    assert loaded.input == {"image_size": [64, 48], "grid": grid} and as_json(loaded.recipe)["grid"] == grid
    assert loaded.modality == "fused" and loaded.model.dim == 256 and isinstance(loaded.model, AdaFusion)
    fed = NetworkInput.from_json(loaded.modality, loaded.input)
    together = describe(loaded.model, fed, drive := Frames.load(toy["queries"]))
    last = describe(loaded.model, fed, Frames(drive.folder, drive.card, drive.frames[-1:]))
    assert together.shape == (24, 256)
    np.testing.assert_allclose(last[0], together[-1], atol=1e-6)


def test_adafusion_s_branches_have_their_learning_rates(toy_recipe: MakeRecipe) -> None:
    model = AdaFusion()
    recipe = toy_recipe("fused", **ADAFUSION, learning_rate=1e-4, cloud_learning_rate=1e-3)
    clouds, images = parameter_groups(model, None, recipe)
    assert (clouds["lr"], images["lr"]) == (1e-3, 1e-4)
    assert len(clouds["params"]) + len(images["params"]) == len(list(model.parameters()))
    assert any(parameter is model.l_feature1[0].weight for parameter in clouds["params"])
    for part in (model.v_feature1, model.vl_atten_fusion):
        assert any(parameter is part[0].weight for parameter in images["params"])


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_adafusion_teaches_its_students_up_to_a_robot(
    modality: str, adafusion: Path, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = toy_recipe(modality, **ADAFUSION, distillation={"method": "SC", "teacher_modality": "fused"})
    shown: list[dict[str, float]] = []
    folder = train_encoder([toy["first"]], tmp_path / "c", recipe, teacher=adafusion,
                           progress=lambda step, total, figures: shown.append(figures))  # fmt: skip
    loaded, drive = load_checkpoint(folder), Frames.load(toy["queries"])
    assert loaded.recipe == recipe and loaded.card["teacher"] == load_checkpoint(adafusion).hash
    assert all(figures["distillation"] > 0 for figures in shown)
    bundle = Bundle.load(export(folder, toy["first"], tmp_path / "bundle"))
    assert (bundle.modality, bundle.dim) == (modality, 256)
    expected = describe(loaded.model, NetworkInput.from_json(loaded.modality, loaded.input), drive)
    np.testing.assert_allclose(describe_as_robot(bundle, drive), expected, atol=1e-4)
    if isinstance(bundle, LidarBundle):
        assert bundle.encoder.grid == CloudGrid.from_json(GRID)
        finer = replace(recipe, grid=CloudGrid.from_json({**GRID, "cells": [16, 16, 9]}), steps=0, distillation=None)
        other = export(train_encoder([toy["first"]], tmp_path / "o", finer), toy["first"], tmp_path / "finer")
        assert Bundle.load(other).hash != bundle.hash
        for cloud, kind in ((np.full((20, 3), np.nan), "empty"), (np.full((20, 3), 99.0), "range"),
                            (np.zeros((20, 3)), "sparse"), (np.zeros(5), "refused")):  # fmt: skip
            with pytest.raises(InputError) as caught:
                bundle.encode([cloud])
            assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("of_teacher", "of_student"),
    [
        ({"modality": "lidar"}, {}),
        ({"modality": "camera", "backbone": "resnet34"}, {"backbone": "resnet"}),
        ({"modality": "lidar", **ADAFUSION}, {**ADAFUSION}),
        ({"modality": "camera", **ADAFUSION, "width_factor": 2}, {**ADAFUSION}),
    ],
    ids=["MinkLoc++3D", "MinkLoc++2D-big", "AdaFusion3D", "AdaFusion2D-big"],
)
def test_a_camera_student_learns_from_one_sensor(
    of_teacher: dict[str, object], of_student: dict[str, object], toy: dict[str, Path], toy_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:  # fmt: skip
    teacher = train_encoder([toy["first"]], tmp_path / "teacher", toy_recipe(**{**of_teacher, "steps": 1}))
    modality = of_teacher["modality"]
    taught = {**of_student, "steps": 3, "distillation": {"method": "SC", "teacher_modality": modality}}
    shown: list[dict[str, float]] = []
    folder = train_encoder([toy["first"]], tmp_path / "student", toy_recipe("camera", **taught), teacher=teacher,
                           progress=lambda step, total, figures: shown.append(figures))  # fmt: skip
    assert load_checkpoint(folder).card["teacher"] == load_checkpoint(teacher).hash
    assert len(shown) == 3 and all(np.isfinite(list(figures.values())).all() for figures in shown)
    assert all(figures["distillation"] > 0 for figures in shown)


def test_a_recipe_for_another_teacher_is_refused(
    teacher: Path, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = toy_recipe("camera", distillation={"teacher_modality": "lidar"})
    with pytest.raises(RecipeError, match="is a fused network, distillation.teacher_modality is lidar: choose"):
        train_encoder([toy["first"]], tmp_path / "c", recipe, teacher=teacher)
    with pytest.raises(RecipeError, match="teacher_modality is 'radar', expected camera, lidar, fused"):
        Distillation(teacher_modality="radar")  # type: ignore[arg-type]


def test_options_of_the_other_architecture_are_refused() -> None:
    with pytest.raises(RecipeError, match="architecture is 'vlad', expected minkloc or adafusion"):
        Recipe(architecture="vlad")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="width_factor 2 is for architecture adafusion and modality camera"):
        Recipe(width_factor=2)


def test_clouds_outside_the_grid_are_named(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    far = {**ADAFUSION, "grid": {**GRID, "lower_m": [900.0, 900.0, 0.0], "upper_m": [950.0, 950.0, 9.0]}}
    with pytest.raises(InputError, match="none of the cloud's .* points lies in the grid"):
        train_encoder([toy["first"]], tmp_path / "c", toy_recipe("lidar", **far))


def test_recipes_keep_their_hash_where_they_do_not_use_these_keys() -> None:
    """Tables name a recipe by the hash of its JSON."""
    plain = as_json(Recipe(distillation=Distillation()))
    assert not {"architecture", "width_factor", "attention_gradient", "grid"} & set(plain)
    assert "teacher_modality" not in plain["distillation"]
    changed = Recipe(architecture="adafusion", attention_gradient=True, grid=CloudGrid(cells=(8, 8, 8)))
    assert Recipe.from_json(as_json(changed)) == changed


def test_published_weights_of_adafusion_start_a_network(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    published = AdaFusion()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    recipe = toy_recipe("fused", **{**ADAFUSION, "steps": 0})
    folder = train_encoder([toy["first"]], tmp_path / "c", recipe, weights=tmp_path / "published.pth")
    loaded = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in published.state_dict().items())
    with pytest.raises(BundleError, match="does not fit the recipe's fused network"):
        train_encoder([toy["first"]], tmp_path / "d", toy_recipe("fused", backbone="resnet", steps=0),
                      weights=tmp_path / "published.pth")  # fmt: skip


def test_a_lidar_teacher_and_its_camera_student_by_commands(toy: dict[str, Path], tmp_path: Path) -> None:
    """With the paper's recipes for AdaFusion, made small."""
    small = ["--batch_size", 4, "--steps", 1, "--frames", toy["first"], "--tensorboard", "false"]
    grid = ["--grid.lower_m", "[-16, -16, -1]", "--grid.upper_m", "[16, 16, 9]", "--grid.cells", "[16, 16, 8]"]
    with redirect_stdout(io.StringIO()):
        command = ["train-teacher", "--config", CONFIG / "teacher" / "paper_adafusion_lidar.yaml", *small, *grid]
        main([*map(str, command), "--out", str(tmp_path / "teacher")])
        command = ["distill", "--config", CONFIG / "distill" / "paper_adafusion_camera_from_lidar.yaml", *small]
        main([*map(str, command), "--image_height", "48", "--teacher", str(tmp_path / "teacher"),
              "--out", str(tmp_path / "student")])  # fmt: skip
    teacher, student = load_checkpoint(tmp_path / "teacher"), load_checkpoint(tmp_path / "student")
    assert (teacher.modality, student.modality) == ("lidar", "camera")
    assert teacher.recipe.grid.cells == (16, 16, 8) and student.card["teacher"] == teacher.hash
