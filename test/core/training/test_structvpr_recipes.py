"""The recipes of config/structvpr parse with their commands, and the stages fit one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr_core.cli import _values, build_parser
from vpr_core.commands.training import recipe_of
from vpr_core.models.factory import build_model
from vpr_core.training.objective import Distiller
from vpr_core.training.recipe import Recipe, as_json, differences
from vpr_core.training.train import model_spec

CONFIG = Path(__file__).parents[3] / "config" / "structvpr"
RECIPES = sorted(path.stem for path in CONFIG.glob("*.yaml"))


def parsed(name: str, command: str = "train") -> Recipe:
    needed = ["--frames", "f", "--out", "o", *(["--teacher", "t"] if command == "distill" else [])]
    config = build_parser().parse_args([command, "--config", str(CONFIG / f"{name}.yaml"), *needed])
    options = _values(config[command])
    return recipe_of({**options, "distillation": None} if command == "train" else options)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_of_a_branch_as_wide_as_the_paper_s(name: str) -> None:
    recipe = parsed(name)
    spec, _ = model_spec(recipe)
    assert recipe.architecture.startswith("structvpr") and recipe.margin == 0.1
    width = {"camera": 448, "labels": 480, "segmented": 928 if name.endswith("concat_feat") else 448}[recipe.modality]
    assert build_model(spec["name"], **spec["options"]).dim == width


@pytest.mark.parametrize("where", ["town", "paper"])
def test_both_branches_are_trained_alike(where: str) -> None:
    rgb, segmentation = (as_json(parsed(f"{where}_{branch}")) for branch in ("rgb", "segmentation"))
    changed = {line.split(":")[0] for line in differences(rgb, segmentation)}
    assert changed <= {"modality", "class_table", "label_encoding", "pretrained"} and "modality" in changed


@pytest.mark.parametrize("name", ["multi_task", "concat_feat", "concat_input"])
def test_what_the_student_is_compared_with_is_trained_alike(name: str) -> None:
    rgb, other = (as_json(parsed(f"town_{network}")) for network in ("rgb", name))
    changed = {line.split(":")[0] for line in differences(rgb, other)}
    assert {"architecture"} < changed <= {
        "architecture", "modality", "class_table", "label_encoding", "segmentation_weight"
    }  # fmt: skip


@pytest.mark.parametrize("where", ["town", "paper"])
def test_the_student_alone_is_the_rgb_branch(where: str) -> None:
    """Stage II begins where stage I began, so that the distillation is all that is between the two."""
    assert parsed(f"{where}_student") == parsed(f"{where}_rgb")
    distillation = parsed(f"{where}_student", "distill").distillation
    assert distillation and (distillation.method, distillation.teacher_modality) == ("structvpr", "labels")
    Distiller(distillation, 448, 480)
