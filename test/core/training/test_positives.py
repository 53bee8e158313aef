"""Which frames are drawn as positives: near ones, the most similar view, or the nearest descriptor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vpr_core.data import places
from vpr_core.data.frames import Frames, write_index
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.models.factory import build_model
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.material import Material
from vpr_core.training.positives import drawn_positives, weak_positives
from vpr_core.training.processes import processes
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.train import model_spec, train_encoder
from vpr_core.types import Pose

MakeDrive = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]


def test_the_nearest_descriptor_of_the_near_ones_is_taken() -> None:
    angles = np.radians([0.0, 30.0, 10.0, 50.0, 1.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    near = [np.array([1, 2, 3]), np.array([0, 3]), np.array([0, 1]), np.array([1]), np.array([], np.int64)]
    chosen = weak_positives(near, rows)
    assert [found.tolist() for found in chosen] == [[2], [3], [0], [1], []], "frame 4 is most similar but not near"
    for query, (found, best) in enumerate(zip(near, chosen, strict=True)):
        if len(found):
            distances = [np.linalg.norm(rows[query] - rows[other]) for other in found]
            assert best[0] == found[int(np.argmin(distances))]


@pytest.fixture
def turning(make_drive: MakeDrive, tmp_path: Path) -> list[Frames]:
    """Two drives past three places, two views a place; the first view of each place in the first drive looks back."""
    drives = []
    for name, seed in (("there", 1), ("again", 2)):
        drive = Frames.load(make_drive(tmp_path / name, range(3), seed, clouds=False))
        yaws = [np.pi if name == "there" and index % 2 == 0 else 0.0 for index in range(len(drive))]
        poses = [Pose.from_xy_yaw(float(x_m), 0.0, yaw) for x_m, yaw in zip(drive.positions_m[:, 0], yaws, strict=True)]
        frames = [replace(frame, pose=pose) for frame, pose in zip(drive.frames, poses, strict=True)]
        write_index(drive.folder, frames, {key: value for key, value in drive.card.items() if key != "schema"})
        drives.append(Frames.load(drive.folder))
    return drives


def test_the_most_similar_view_is_drawn(turning: list[Frames], toy_recipe: MakeRecipe) -> None:
    samples, recipe = Samples(turning), toy_recipe("camera", mining="pairs")
    near = drawn_positives(samples, recipe)
    seen = drawn_positives(samples, replace(recipe, positives="field_of_view"))
    backwards = np.abs(samples.yaws_rad) > 1
    assert backwards.sum() == 3 and all(len(found) == 3 for found in near)
    for frame, found in enumerate(seen):
        assert len(found) == (0 if backwards[frame] else 1), "nobody looks back beside the one that does"
        assert not backwards[found].any() and {*found} <= {*near[frame]}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"positives": "any"}, "positives is 'any', expected one of distance, field_of_view, weak"),
        ({"positives": "weak", "mining": "batch_hard"}, "positives weak are frames that are drawn, and mining batch_h"),
        ({"fov_deg": 0.0}, "make no view"), ({"fov_overlap": 1.5}, "make no view"),
    ],
)  # fmt: skip
def test_recipes_that_make_no_sense(toy_recipe: MakeRecipe, options: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        toy_recipe("camera", **{"mining": "pairs", **options})


def test_older_recipes_keep_their_json() -> None:
    assert not {"positives", "fov_deg", "fov_reach_m", "fov_overlap"} & {*as_json(Recipe())}
    recipe = Recipe(mining="pairs", positives="weak", fov_deg=60.0)
    assert Recipe.from_json(as_json(recipe)) == recipe and as_json(recipe)["fov_deg"] == 60.0


def test_weak_positives_are_those_that_the_network_finds(toy: dict[str, Path], toy_recipe: MakeRecipe) -> None:
    recipe = toy_recipe("camera", mining="pairs", positives="weak", positive_m=70.0, negative_m=150.0)
    torch.manual_seed(0)
    spec, _ = model_spec(recipe)
    with processes("cpu") as group:
        material = Material.gather([toy["first"], toy["second"]], recipe, (), None, None, group)
        chosen = material.weak_positives(build_model(spec["name"], **spec["options"]))
    near = places.positives(material.samples.positions_m, 70.0)
    assert all(len(best) == 1 and best[0] in found and len(found) > 3 for best, found in zip(chosen, near, strict=True))
    place = np.round(material.samples.positions_m[:, 0] / 60.0)
    own = np.mean([place[best[0]] == place[frame] for frame, best in enumerate(chosen)])
    by_lot = np.mean([np.mean(place[found] == place[frame]) for frame, found in enumerate(near)])
    assert own > by_lot, "even untrained it takes the same place rather than the next one"


class Killed(BaseException):
    """As a kill, it leaves the state that was written."""


def test_a_run_with_weak_positives_goes_on_as_if_nothing_had_been(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """Over the end of an epoch, at which they are chosen again, and from within one."""
    recipe = toy_recipe("camera", mining="pairs", positives="weak", steps=5, batch_size=8, positive_m=70.0,
                        negative_m=150.0)  # fmt: skip
    options: dict[str, Any] = {"frames": [toy["first"]], "recipe": recipe, "save_every": 1}
    whole = train_encoder(out=tmp_path / "whole", **options)
    for killed_at in (2, 3):

        def stop(step: int, total: int, figures: dict[str, float], at: int = killed_at) -> None:
            if step == at:
                raise Killed

        out = tmp_path / f"killed_{killed_at}"
        with pytest.raises(Killed):
            train_encoder(out=out, progress=stop, **options)
        assert os.listdir(out) == ["state.pt"]
        resumed = train_encoder(out=out, **options)
        assert load_checkpoint(resumed).hash == load_checkpoint(whole).hash
    other = train_encoder(out=tmp_path / "other", **options | {"recipe": replace(recipe, positives="distance")})
    assert load_checkpoint(other).card["final_loss"] != load_checkpoint(whole).card["final_loss"]
