"""Networks of a comparison: which there are, what two of them share, and what is no recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vpr_core.errors import RecipeError
from vpr_core.experiments.networks import comparison, of_length
from vpr_core.training.distillation import Distillation
from vpr_core.training.recipe import Recipe, as_json


@pytest.fixture
def recipes(tmp_path: Path, toy_recipe: Callable[..., Any]) -> dict[str, Path]:
    """A teacher and two LiDAR students that differ in distillation."""

    def write(name: str, modality: str, **options: object) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(as_json(toy_recipe(modality, **options))))
        return path

    return {
        "teacher": write("teacher", "fused"),
        "student": write("student", "lidar", distillation={"method": "SC"}),
        "other": write("other", "lidar", distillation={"method": "rkd"}),
    }


def test_two_recipes_share_the_student_alone(recipes: dict[str, Path]) -> None:
    networks = comparison(recipes["teacher"], [recipes["student"], recipes["other"]], 3)
    assert [network.method for network in networks] == ["teacher", "alone", "distilled", "distilled"]
    assert {network.alone.hash for network in networks[1:]} == {networks[1].hash}
    assert {network.recipe.seed for network in networks} == {3}
    assert [n.hash for n in comparison(recipes["teacher"], [recipes["student"]], 4)] == [n.hash for n in networks[:3]]


def test_a_shorter_run_keeps_the_shares_of_its_steps(tmp_path: Path, toy_recipe: Callable[..., Any]) -> None:
    options = {"steps": 300, "validate_every": 60, "distillation": {"method": "SC", "warmup_steps": 90}}
    path = tmp_path / "student.yaml"
    path.write_text(yaml.safe_dump(as_json(toy_recipe("lidar", **options))))
    for network in comparison(path, [path], 0, steps=200):
        assert (network.recipe.steps, network.recipe.validate_every) == (200, 40)
    assert network.recipe.distillation and network.recipe.distillation.warmup_steps == 60


def test_what_is_no_recipe_is_refused(tmp_path: Path, recipes: dict[str, Path]) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="holds no recipe"):
        comparison(tmp_path / "list.yaml", [recipes["student"]], 0)
    with pytest.raises(RecipeError, match="absent.yaml cannot be read"):
        comparison(tmp_path / "absent.yaml", [recipes["student"]], 0)
    with pytest.raises(RecipeError, match="no distillation"):
        comparison(recipes["teacher"], [recipes["teacher"]], 0)


def test_a_recipe_of_epochs_can_be_shortened_to_steps() -> None:
    recipe = Recipe(epochs=60, decay_at=40, validate_every=1, distillation=Distillation(warmup_steps=500))
    short = of_length(recipe, 30)
    assert (short.steps, short.epochs, short.length, short.validate_every, short.decays_after) == (30, None, 30, 1, 20)
    assert short.distillation and short.distillation.warmup_steps == 10
