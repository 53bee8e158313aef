"""StructVPR's stage I on toy drives: both branches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import BundleError, InputError, RecipeError
from vpr_core.export import export
from vpr_core.structvpr.slme import weighted_one_hot
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import describe

MakeRecipe = Callable[..., Recipe]


def test_branches_are_as_wide_as_the_paper_s_and_describe_drives(
    branches: dict[str, Path], labelled: dict[str, Path]
) -> None:
    for modality, width in (("camera", 448), ("labels", 480)):
        loaded = load_checkpoint(branches[modality])
        assert (loaded.modality, loaded.model.dim) == (modality, width) and "acceptance" in loaded.card
        rows = describe(loaded.model, NetworkInput.from_json(modality, loaded.input), Frames.load(labelled["first"]))
        assert rows.shape == (16, width) and np.isfinite(rows).all()
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert loaded.input == {"image_size": [64, 48], "class_table": "cityscapes_19", "label_encoding": "paper"}


@pytest.mark.parametrize("mining", ["pairs", "batch_hard", "all"])
def test_the_segmentation_branch_learns(
    mining: str, labelled: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path
) -> None:
    losses: list[float] = []
    recipe = structvpr_recipe("labels", **{"mining": mining, "margin": 0.5, "steps": 16, "augment": True})
    train_encoder([labelled["first"], labelled["second"]], tmp_path / "c", recipe,
                  progress=lambda step, total, figures: losses.append(figures["loss"]))  # fmt: skip
    first, last = np.mean(losses[:4]), np.mean(losses[-4:])
    assert last < 0.9 * first, f"the loss was {first:.3f} at first and {last:.3f} at last"


@pytest.mark.parametrize(("encoding", "channels"), [("paper", 6), ("three", 3), ("unclustered", 19)])
def test_label_maps_are_the_frames_labels_at_the_network_s_size(
    encoding: str, channels: int, labelled: dict[str, Path], structvpr_recipe: MakeRecipe
) -> None:
    drive = Frames.load(labelled["first"])
    recipe = structvpr_recipe("labels", **{"label_encoding": encoding, "image_height": 96})
    (maps,) = NetworkInput.of_recipe(recipe, [drive]).batch(Samples([drive]), [0, 5])
    assert isinstance(maps, torch.Tensor) and maps.shape == (2, channels, 96, 128)
    for row, index in enumerate((0, 5)):
        expected = weighted_one_hot(drive.label(index), "cityscapes_19", encoding)
        np.testing.assert_array_equal(maps[row].numpy(), expected.repeat(2, axis=1).repeat(2, axis=2))


def test_a_killed_branch_goes_on(labelled: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path) -> None:
    frames, recipe = [labelled["first"], labelled["second"]], structvpr_recipe("labels")

    def stop(step: int, total: int, figures: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(frames, tmp_path / "killed", recipe, progress=stop, save_every=1)
    folders = [train_encoder(frames, tmp_path / name, recipe) for name in ("killed", "whole")]
    killed, whole = (load_checkpoint(folder).model.state_dict() for folder in folders)
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_the_rgb_branch_goes_to_a_robot_and_the_segmentation_branch_does_not(
    branches: dict[str, Path], labelled: dict[str, Path], tmp_path: Path
) -> None:
    from vpr_core.retrieval.bundle import Bundle

    bundle = Bundle.load(export(branches["camera"], labelled["queries"], tmp_path / "bundle"))
    assert (bundle.modality, bundle.dim) == ("camera", 448)
    with pytest.raises(BundleError, match="is a labels one"):
        export(branches["labels"], labelled["queries"], tmp_path / "other")


def test_what_drives_lack_is_told(
    labelled: dict[str, Path], toy: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = structvpr_recipe("labels")
    with pytest.raises(RecipeError, match="24 of 24 frames of .* have no label, .*vpr-distill segment"):
        train_encoder([toy["first"]], tmp_path / "c", recipe)
    with pytest.raises(RecipeError, match="have no label"):
        train_encoder([labelled["first"]], tmp_path / "c", recipe, [toy["database"], toy["queries"]])
    three = tmp_path / "three.csv"
    three.write_text("id,name,group\n0,road,ground\n1,wall,buildings\n2,sky,sky\n")
    with pytest.raises(InputError, match="which the table .* of 3 classes .* does not know"):
        train_encoder([labelled["first"]], tmp_path / "c", replace(recipe, class_table=str(three)))
    named = tmp_path / "named"
    named.symlink_to(labelled["first"])
    drive = Frames.load(named)
    card: dict[str, Any] = {**drive.card, "labels": {"table": "ade20k_150"}}
    with pytest.raises(RecipeError, match="are of class table ade20k_150, .* --class_table ade20k_150"):
        NetworkInput.of_recipe(recipe, [replace(drive, card=card)])
    card["labels"] = {"table": None, "classes": ["road", "wall", "sky", "tree"]}
    with pytest.raises(RecipeError, match="of 4 classes .road, wall, sky, .* has 19: write a CSV file"):
        NetworkInput.of_recipe(recipe, [replace(drive, card=card)])
    card["labels"] = {"table": "three", "classes": ["road", "wall", "sky"]}
    NetworkInput.of_recipe(replace(recipe, class_table=str(three)), [replace(drive, card=card)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"modality": "lidar"}, "structvpr is for modality camera or labels, the recipe has lidar"),
        ({"architecture": "minkloc"}, "modality labels is for architecture structvpr, the recipe has minkloc"),
        ({"dim": 24}, "dim is 24: the width"),
        ({"mining": "hard"}, "mining is 'hard', expected one of batch_hard, pairs, all"),
        ({"label_encoding": "six"}, "label_encoding is 'six', expected one of paper, unweighted"),
        ({"normalize_levels": "l2"}, "normalize_levels is 'l2', expected one of levels, global, none"),
        ({"distillation": {"method": "S"}}, "a network on labels is a teacher"),
    ],
)
def test_recipes_that_cannot_be_are_refused(
    changed: dict[str, Any], message: str, structvpr_recipe: MakeRecipe
) -> None:
    with pytest.raises(RecipeError, match=message):
        structvpr_recipe(**{"modality": "labels", **changed})


def test_other_recipes_are_named_by_the_same_hash_as_before() -> None:
    assert not {"class_table", "label_encoding", "normalize_levels", "mining"} & set(as_json(Recipe()))
    recipe = Recipe(modality="labels", architecture="structvpr", mining="pairs", label_encoding="three")
    assert Recipe.from_json(json.loads(json.dumps(as_json(recipe)))) == recipe
