"""The networks of StructVPR's Table 4 beside its branches, trained on toy drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import BundleError, RecipeError
from vpr_core.export import export
from vpr_core.structvpr.slme import weighted_one_hot
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe
from vpr_core.training.structvpr import LabelMaps, SegmentationTargets, segmentation_loss
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import describe

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(("architecture", "width"), [("structvpr_concat_feat", 928), ("structvpr_concat_input", 448)])
def test_images_and_labels_together_train_and_describe(
    architecture: str, width: int, labelled: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = structvpr_recipe("segmented", architecture=architecture, steps=2)
    looked_at = [labelled["database"], labelled["queries"]]
    folder = train_encoder([labelled["first"], labelled["second"]], tmp_path / "c", recipe, looked_at)
    loaded, drive = load_checkpoint(folder), Frames.load(labelled["queries"])
    fed = NetworkInput.from_json(loaded.modality, loaded.input)
    assert loaded.recipe == recipe and loaded.model.dim == width and "acceptance" in loaded.card
    images, labels = fed.batch(Samples([drive]), [0, 5])
    assert images.shape == (2, 3, 48, 64) and labels.shape == (2, 6, 48, 64)  # type: ignore[union-attr]
    rows = describe(loaded.model, fed, drive)
    with torch.no_grad():
        np.testing.assert_allclose(rows[[0, 5]], loaded.model(images, labels).numpy(), rtol=1e-4, atol=1e-6)
    with pytest.raises(BundleError, match="is a segmented one"):
        export(folder, labelled["queries"], tmp_path / "bundle")


def test_a_network_of_several_tasks_learns_both_and_goes_to_a_robot(
    labelled: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path
) -> None:
    from vpr_core.retrieval.bundle import Bundle

    shown: list[dict[str, float]] = []
    recipe = structvpr_recipe(
        "camera", architecture="structvpr_multi_task", mining="all", steps=16, learning_rate=0.003, split_batch=4
    )
    folder = train_encoder(
        [labelled["first"], labelled["second"]], tmp_path / "c", recipe, [labelled["database"], labelled["queries"]],
        progress=lambda step, total, figures: shown.append(figures),
    )  # fmt: skip
    for name in ("segmentation", "loss"):
        first, last = (np.mean([figures[name] for figures in part]) for part in (shown[:4], shown[-4:]))
        assert last < first, f"{name} was {first:.3f} at first and {last:.3f} at last"
    assert set(load_checkpoint(folder).card["validation"]["recall_at_1"]) == {"embedding"}
    unlabelled = Frames.load(labelled["queries"])
    unlabelled = replace(unlabelled, frames=tuple(replace(frame, label=None) for frame in unlabelled.frames))
    loaded = load_checkpoint(folder)
    assert describe(loaded.model, NetworkInput.from_json("camera", loaded.input), unlabelled).shape == (12, 448)
    bundle = Bundle.load(export(folder, labelled["queries"], tmp_path / "bundle"))
    assert (bundle.modality, bundle.dim) == ("camera", 448)


def test_the_weight_of_the_segmentation_counts(
    labelled: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """Without it the descriptors learn as the RGB branch's, and the decoder nothing."""
    states = {}
    for weight in (0.0, 1.0):
        recipe = structvpr_recipe("camera", architecture="structvpr_multi_task", steps=1, segmentation_weight=weight,
                                  weight_decay=0.0)  # fmt: skip
        folder = train_encoder([labelled["first"]], tmp_path / str(weight), recipe)
        states[weight] = load_checkpoint(folder).model.state_dict()
    rgb = train_encoder([labelled["first"]], tmp_path / "rgb", structvpr_recipe("camera", steps=1, weight_decay=0.0))
    alone = load_checkpoint(rgb).model.state_dict()
    assert all(torch.equal(value, states[0.0][f"rgb.{name}"]) for name, value in alone.items())
    assert not torch.equal(states[0.0]["lateral.0.weight"], states[1.0]["lateral.0.weight"])


def test_targets_are_the_frames_groups(labelled: dict[str, Path], structvpr_recipe: MakeRecipe) -> None:
    drive, recipe = Frames.load(labelled["first"]), structvpr_recipe("camera", architecture="structvpr_multi_task")
    targets = SegmentationTargets.of_recipe(recipe, [drive], (64, 44))
    assert targets is not None and targets.size == (8, 6)
    found = SegmentationTargets(LabelMaps("cityscapes_19", "paper"), (64, 48)).read(Samples([drive]), [3])
    maps = weighted_one_hot(drive.label(3), "cityscapes_19", "paper")
    assert (found[0].numpy()[drive.label(3) == 255] == -1).all() and (found == -1).any()
    known = found[0].numpy() >= 0
    np.testing.assert_array_equal(found[0].numpy()[known], maps.argmax(axis=0)[known])
    assert SegmentationTargets.of_recipe(structvpr_recipe("camera"), [drive], (64, 48)) is None


def test_the_loss_is_the_mean_cross_entropy_of_places_that_count() -> None:
    scores, targets = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.tensor([[[0, -1], [2, 1]], [[-1, 0], [1, 1]]])
    terms = [
        -float(scores[i, :, y, x].log_softmax(dim=0)[targets[i, y, x]])
        for i in range(2) for y in range(2) for x in range(2) if targets[i, y, x] >= 0
    ]  # fmt: skip
    assert len(terms) == 6 and float(segmentation_loss(scores.flatten(1), targets)) == pytest.approx(sum(terms) / 6)


def test_what_drives_lack_is_told(
    toy: dict[str, Path], structvpr_recipe: MakeRecipe, tmp_path: Path
) -> None:  # fmt: skip
    for modality, architecture in (("camera", "structvpr_multi_task"), ("segmented", "structvpr_concat_input")):
        with pytest.raises(RecipeError, match="24 of 24 frames of .* have no label, .*vpr-distill segment"):
            train_encoder([toy["first"]], tmp_path / "c", structvpr_recipe(modality, architecture=architecture))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"modality": "labels"}, "structvpr_multi_task is for modality camera, the recipe has labels"),
        ({"architecture": "minkloc", "modality": "segmented"},
         "segmented is for architecture structvpr_concat_feat or structvpr_concat_input, the recipe has minkloc"),
        ({"segmentation_weight": -1.0}, "segmentation_weight is -1, expected 0 or more"),
        ({"architecture": "structvpr_concat_feat", "modality": "segmented", "distillation": {"method": "structvpr"}},
         "a network on labels is a teacher"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_are_refused(
    changed: dict[str, object], message: str, structvpr_recipe: MakeRecipe
) -> None:
    with pytest.raises(RecipeError, match=message):
        structvpr_recipe(**{"modality": "camera", "architecture": "structvpr_multi_task", **changed})
