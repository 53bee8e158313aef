"""Every recipe under config/ parses with the command that it is for, and the commands agree with one another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vpr_core.cli import _values, build_parser
from vpr_core.commands.training import recipe_of
from vpr_core.errors import RecipeError
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.distillation import Distillation
from vpr_core.training.recipe import Recipe, as_json, differences
from vpr_core.training.train import model_spec

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"
COMMANDS = {"teacher": "train-teacher", "distill": "distill"}
STUDENTS = sorted((CONFIG / "distill").glob("*.yaml"))
RECIPES = sorted(path for folder in COMMANDS for path in (CONFIG / folder).rglob("*.yaml"))


def parsed(command: str, *arguments: object) -> Recipe:
    needed = ["--frames", "f", "--out", "o", *(["--teacher", "t"] if command == "distill" else [])]
    config = build_parser().parse_args([command, *map(str, arguments), *needed])
    options = _values(config[command])
    return recipe_of({**options, "distillation": None} if command == "train" else options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_every_recipe_parses_and_its_network_can_be_built(path: Path) -> None:
    from vpr_core.models.factory import build_model

    command = COMMANDS[path.relative_to(CONFIG).parts[0]]
    recipe = parsed(command, "--config", path)
    assert (recipe.distillation is not None) == (command == "distill")
    spec, _ = model_spec(recipe)
    assert build_model(spec["name"], **spec["options"]).dim > 0


def test_recipes_are_found() -> None:
    assert {path.relative_to(CONFIG).as_posix() for path in RECIPES} >= {"teacher/town.yaml", "teacher/paper.yaml"}


def test_the_paper_s_teacher_and_students_are_equally_wide() -> None:
    from vpr_core.models.factory import build_model

    recipes = [parsed("train-teacher", "--config", CONFIG / "teacher" / "paper.yaml")]
    recipes += [
        parsed("distill", "--config", CONFIG / "distill" / f"paper_{name}.yaml") for name in ("camera", "lidar")
    ]
    specs = [model_spec(recipe)[0] for recipe in recipes]
    assert [build_model(spec["name"], **spec["options"]).dim for spec in specs] == [384, 384, 384]


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ("paper_camera_resnet34", "paper_camera_from_big"),
        ("paper_camera_resnet50", "paper_camera_from_big"),
        ("paper_lidar", "paper_camera_from_lidar"),
        ("paper_adafusion", "paper_adafusion_camera"),
        ("paper_adafusion", "paper_adafusion_lidar"),
        ("paper_adafusion_camera_big", "paper_adafusion_camera_from_big"),
        ("paper_adafusion_lidar", "paper_adafusion_camera_from_lidar"),
        ("paper_oxford_adafusion", "paper_oxford_adafusion_camera"),
        ("paper_oxford_adafusion", "paper_oxford_adafusion_lidar"),
    ],
)
def test_the_columns_of_the_paper_s_tables(teacher: str, student: str) -> None:
    """Teacher and student are equally wide, of the modalities that their column says, and train 60 epochs alike."""
    teaching = parsed("train-teacher", "--config", CONFIG / "teacher" / f"{teacher}.yaml")
    learning = parsed("distill", "--config", CONFIG / "distill" / f"{student}.yaml")
    assert learning.distillation and learning.distillation.teacher_modality == teaching.modality
    assert teaching.architecture == learning.architecture
    assert num_parameters(teaching) >= num_parameters(learning) or teaching.modality == "lidar"
    widths = {_network(recipe).dim for recipe in (teaching, learning)}
    assert widths == {256 if teaching.architecture == "adafusion" else 384}
    for recipe in (teaching, learning):
        assert (recipe.batch_size, recipe.epochs, recipe.validate_every, recipe.decays_after) == (128, 60, 1, 40)
        assert recipe.cloud_learning_rate == 1e-3
        assert recipe.modality == "lidar" or recipe.learning_rate == 1e-4
    if learning.modality == "lidar" and teaching.modality == "fused":
        assert learning.grid == teaching.grid


@pytest.mark.parametrize("source", ["big", "lidar"])
@pytest.mark.parametrize("student", ["paper_camera", "paper_adafusion_camera", "town_camera", "town_adafusion_camera"])
def test_a_student_is_the_same_whoever_teaches_it(student: str, source: str) -> None:
    one, other = (
        as_json(parsed("distill", "--config", CONFIG / "distill" / f"{name}.yaml"))
        for name in (student, f"{student}_from_{source}")
    )
    one["distillation"].pop("teacher_modality", None)
    assert other["distillation"].pop("teacher_modality") == {"big": "camera", "lidar": "lidar"}[source]
    assert one == other


@pytest.mark.parametrize("path", sorted(CONFIG.rglob("paper_oxford*.yaml")), ids=lambda path: path.stem)
def test_oxford_differs_from_boreas_in_what_its_data_asks_for(path: Path) -> None:
    boreas = path.with_name(path.name.replace("paper_oxford", "paper"))
    command = COMMANDS[path.parent.name]
    here, there = (as_json(parsed(command, "--config", file)) for file in (path, boreas))
    changed = {line.split(":")[0] for line in differences(there, here)}
    assert changed or path.stem.endswith("camera")
    assert {name.split(".")[0] for name in changed} <= {
        "image_height", "voxel_size_m", "grid", "cloud_augmentation", "distillation"
    }  # fmt: skip
    if command == "distill":
        assert (here["distillation"]["weight_self"], there["distillation"]["weight_self"]) == (10.0, 1.0)
        assert here["distillation"] | {"weight_self": 1.0} == there["distillation"]


def test_minkloc_s_own_networks_have_the_published_sizes() -> None:
    for name, count in (("minkloc3d", 1055722), ("minkloc_rgb", 2848577)):
        assert num_parameters(parsed("train-teacher", "--config", CONFIG / "teacher" / f"{name}.yaml")) == count


def num_parameters(recipe: Recipe) -> int:
    return sum(parameter.numel() for parameter in _network(recipe).parameters())


def _network(recipe: Recipe) -> Any:
    from vpr_core.models.factory import build_model

    spec, _ = model_spec(recipe)
    return build_model(spec["name"], **spec["options"])


@pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)
def test_the_same_file_trains_the_student_alone(path: Path) -> None:
    alone, distilled = as_json(parsed("train", "--config", path)), as_json(parsed("distill", "--config", path))
    assert distilled.pop("distillation") and alone.pop("distillation") is None
    assert alone == distilled


def test_defaults_are_the_recipe_s_own() -> None:
    assert parsed("train") == Recipe()
    assert parsed("train-teacher") == Recipe(modality="fused")
    assert parsed("distill", "--modality", "lidar") == Recipe(modality="lidar", distillation=Distillation())
    assert Recipe.from_json(as_json(Recipe(distillation=Distillation()))) == Recipe(distillation=Distillation())


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(RecipeError, match="a recipe has no stepz"):
        Recipe.from_json({"stepz": 3})
    with pytest.raises(RecipeError, match="voxel_size_m"):
        Recipe(voxel_size_m=0.0)
    with pytest.raises(RecipeError, match="options are for baselines"):
        Distillation(options={"temperature": 2.0})
    with pytest.raises(RecipeError, match="a distillation has no wieght"):
        Recipe.from_json({"distillation": {"wieght": 3}})
    with pytest.raises(RecipeError, match="manifolds is .'euc', 'flat'., expected some of euc, cos, hyp"):
        Distillation(manifolds=("euc", "flat"))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="removed lies in"):
        Recipe.from_json({"cloud_augmentation": {"removed": 1.0}})


def test_keys_that_recipes_did_not_always_have_are_left_out_at_their_defaults() -> None:
    old = {"method", "weight", "warmup_steps", "weight_self", "weight_cross", "mode", "angle", "curvature", "options"}
    assert set(as_json(Recipe(distillation=Distillation()))["distillation"]) == old
    recipe = Recipe(distillation=Distillation(manifolds=("euc",), weight_tt_ts=0.5))
    assert as_json(recipe)["distillation"]["manifolds"] == ["euc"]
    assert Recipe.from_json(as_json(recipe)) == recipe
    assert parsed("distill", "--distillation.manifolds", "[euc]", "--distillation.weight_tt_ts", 0.5) == recipe


def test_relations_of_table_4_and_manifolds_of_table_5_come_into_the_loss() -> None:
    import torch

    from vpr_core.training.objective import Distiller, PairMasks

    student, teacher = torch.rand(6, 4), torch.rand(6, 8)
    masks = PairMasks(torch.eye(6) > 0, torch.eye(6) == 0)
    recipe = Distillation(method="C", weight_cross=0.0, weight_tt_ts=0.5, manifolds=("euc", "hyp"))
    loss, figures = Distiller(recipe, 4, 8)(student, teacher, masks)
    assert set(figures) == {"distillation", "cross_euc", "cross_hyp", "tt_ts_euc", "tt_ts_hyp"}
    assert float(loss.detach()) == pytest.approx(0.5 * (figures["tt_ts_euc"] + figures["tt_ts_hyp"]), rel=1e-6)
    assert loss.requires_grad  # through the map from 4 to 8


def test_teacher_and_student_by_commands(toy: dict[str, Path], tmp_path: Path) -> None:
    small = ("--pretrained", "false", "--image_height", 48, "--batch_size", 8, "--steps", 2, "--frames", toy["first"])
    for arguments in (
        ("train-teacher", "--config", CONFIG / "teacher" / "town.yaml", "--out", tmp_path / "teacher"),
        ("distill", "--config", CONFIG / "distill" / "town_lidar.yaml", "--teacher", tmp_path / "teacher",
         "--distillation.warmup_steps", 1, "--out", tmp_path / "student"),
    ):  # fmt: skip
        command = [sys.executable, "-m", "vpr_core", *map(str, arguments), *map(str, small)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
    student, teacher = load_checkpoint(tmp_path / "student"), load_checkpoint(tmp_path / "teacher")
    assert student.modality == "lidar" and student.card["teacher"] == teacher.hash
    assert list((tmp_path / "student" / "tensorboard").iterdir())


@pytest.mark.parametrize("command", ["train-teacher", "distill"])
def test_help_names_the_recipe_s_keys(command: str) -> None:
    result = subprocess.run([sys.executable, "-m", "vpr_core", command, "--help"], capture_output=True, text=True)
    assert (
        result.returncode == 0 and "--task_weights" in result.stdout and "--cloud_augmentation.block" in result.stdout
    )


def test_the_town_s_lidar_teacher_is_the_lidar_student_alone() -> None:
    teaching = parsed("train-teacher", "--config", CONFIG / "teacher" / "town_lidar.yaml")
    assert teaching == parsed("train", "--config", CONFIG / "distill" / "town_lidar.yaml")
    adafusion = parsed("train-teacher", "--config", CONFIG / "teacher" / "town_adafusion.yaml")
    for name in ("camera", "lidar"):
        student = parsed("distill", "--config", CONFIG / "distill" / f"town_adafusion_{name}.yaml")
        assert _network(student).dim == _network(adafusion).dim
        assert student.modality == "camera" or student.grid == adafusion.grid
    teaching = parsed("train-teacher", "--config", CONFIG / "teacher" / "town_adafusion_lidar.yaml")
    assert teaching == parsed("train", "--config", CONFIG / "distill" / "town_adafusion_lidar.yaml")
