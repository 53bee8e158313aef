"""A run that is killed goes on as if nothing had been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vpr_core.errors import RecipeError
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]

KILLED_AT_STEP_5 = """
import json, os, signal, sys
import torch
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

options = json.loads(sys.argv[1])
recipe = Recipe.from_json(options.pop("recipe"))

def progress(step, total, figures):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

train_encoder(**options, recipe=recipe, progress=progress)
"""


def kill(recipe: Recipe, **options: object) -> None:
    """A process of its own starts the run and dies by SIGKILL in its fifth step."""
    arguments = json.dumps({"recipe": as_json(recipe), **options}, default=str)
    result = subprocess.run([sys.executable, "-c", KILLED_AT_STEP_5, arguments], capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL, result.stderr


def test_killed_and_resumed_equals_uninterrupted(
    toy: dict[str, Path], toy_recipe: MakeRecipe, teacher: Path, tmp_path: Path
) -> None:
    """To the last bit, over an epoch's end, with augmentation, an adaptor, and the best weights before the kill."""
    recipe = toy_recipe("lidar", steps=9, batch_size=8, augment=True, validate_every=2,
                        distillation={"method": "SC", "warmup_steps": 1})  # fmt: skip
    options = {"frames": [toy["first"]], "validation": [toy["database"], toy["queries"]], "teacher": teacher,
               "save_every": 2}  # fmt: skip
    kill(recipe, **options, out=tmp_path / "killed")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["state.pt"]

    steps: list[int] = []
    resumed = train_encoder(**options, recipe=recipe, out=tmp_path / "killed",
                            progress=lambda step, total, figures: steps.append(step))  # fmt: skip
    whole = train_encoder(**options, recipe=recipe, out=tmp_path / "whole")
    assert steps == [5, 6, 7, 8, 9]
    first, second = load_checkpoint(resumed), load_checkpoint(whole)
    assert first.hash == second.hash
    weights = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    for name in ("final_loss", "best_step", "validation", "acceptance"):
        assert first.card[name] == second.card[name]
    assert not (resumed / "state.pt").exists()


@pytest.mark.parametrize("modality", ["camera", "fused"])
def test_image_augmentation_goes_on_too(
    modality: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = toy_recipe(modality, steps=6, batch_size=8, augment=True)
    options = {"frames": [toy["first"]], "save_every": 4, "tensorboard": True}
    kill(recipe, **options, out=tmp_path / "killed")
    resumed, whole = (train_encoder(**options, recipe=recipe, out=tmp_path / name) for name in ("killed", "whole"))
    assert load_checkpoint(resumed).hash == load_checkpoint(whole).hash
    assert losses_in(resumed) == losses_in(whole) and [step for step, _ in losses_in(whole)] == [1, 2, 3, 4, 5, 6]


def losses_in(folder: Path) -> list[tuple[int, float]]:
    """By step. Files of two runs that began in one second are read in the order of their process numbers."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return sorted({(event.step, event.value) for event in events.Scalars("loss")})


def test_another_recipe_does_not_go_on_from_the_state(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    kill(toy_recipe("lidar", steps=9), frames=[toy["first"]], out=out, save_every=2)
    with pytest.raises(RecipeError, match=r"not finished.*\(steps: 9 there, 7 here; margin: 0.2 there, 0.5 here\)"):
        train_encoder([toy["first"]], out, toy_recipe("lidar", steps=7, margin=0.5))
    with pytest.raises(RecipeError, match="frames: "):
        train_encoder([toy["second"]], out, toy_recipe("lidar", steps=9))
    (out / "state.pt").write_bytes((out / "state.pt").read_bytes()[:500])
    with pytest.raises(RecipeError, match="cannot be read .* remove it"):
        train_encoder([toy["first"]], out, toy_recipe("lidar", steps=9))
