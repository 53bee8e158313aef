"""Camera, LiDAR and both: each learns on a toy drive, keeps the best it had, and says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError, RecipeError
from vpr_core.export import export
from vpr_core.models.factory import build_model
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe as describe_as_robot
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import Validation, describe

MakeRecipe = Callable[..., Recipe]
HEADS = {"embedding", "cloud_embedding", "image_embedding"}


@pytest.mark.parametrize("modality", ["camera", "lidar", "fused"])
def test_training_learns(modality: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    losses: list[float] = []
    recipe = toy_recipe(modality, steps=40, cloud_learning_rate=3e-3)
    train_encoder([toy["first"], toy["second"]], tmp_path / "c", recipe,
                  progress=lambda step, total, figures: losses.append(figures["loss"]))  # fmt: skip
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert last < 0.8 * first, f"the loss was {first:.3f} at first and {last:.3f} at last"


def test_a_lidar_network_recognises_places_it_was_not_trained_on(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    validation = [toy["database"], toy["queries"]]
    recipe = toy_recipe("lidar", steps=40, cloud_learning_rate=3e-3)
    folder = train_encoder([toy["first"], toy["second"]], tmp_path / "c", recipe, validation)
    loaded = load_checkpoint(folder)
    assert loaded.modality == "lidar" and loaded.input == {"voxel_size_m": 1.0, "max_range_m": None}
    assert loaded.card["validation"]["recall_at_1"]["embedding"] > 0.5
    assert loaded.card["acceptance"]["recall_at_1"] == loaded.card["validation"]["recall_at_1"]["embedding"]


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_a_robot_s_descriptors_are_those_of_training(
    modality: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    validation = [toy["database"], toy["queries"]]
    folder = train_encoder([toy["first"]], tmp_path / "c", toy_recipe(modality, max_range_m=12.0), validation)
    loaded, drive = load_checkpoint(folder), Frames.load(toy["queries"])
    bundle = Bundle.load(export(folder, toy["first"], tmp_path / "bundle"))
    assert (bundle.modality, bundle.dim) == (modality, 24)
    assert bundle.accept_similarity == loaded.card["acceptance"]["similarity"]
    expected = describe(loaded.model, NetworkInput.from_json(loaded.modality, loaded.input), drive)
    np.testing.assert_allclose(describe_as_robot(bundle, drive), expected, atol=1e-4)


def test_a_teacher_s_halves_stand_beside_it(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    folder = train_encoder([toy["first"], toy["second"]], tmp_path / "c", toy_recipe("fused"),
                           [toy["database"], toy["queries"]])  # fmt: skip
    loaded = load_checkpoint(folder)
    assert set(loaded.card["validation"]["recall_at_1"]) == HEADS
    assert loaded.modality == "fused" and loaded.model.dim == 16 + 24
    assert loaded.input == {"image_size": [64, 48], "voxel_size_m": 1.0, "max_range_m": None}
    with pytest.raises(BundleError, match="is a fused one: .* distil a student"):
        export(folder, toy["first"], tmp_path / "bundle")


def test_the_best_weights_on_validation_are_kept(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    recalls: dict[int, float] = {}

    def progress(step: int, _total: int, figures: dict[str, float]) -> None:
        if "recall_at_1_embedding" in figures:
            recalls[step] = figures["recall_at_1_embedding"]

    # A step far too large at a random moment: the last weights are not the best.
    recipe = toy_recipe("lidar", steps=9, validate_every=2, cloud_learning_rate=0.3)
    validation = [toy["database"], toy["queries"]]
    folder = train_encoder([toy["first"], toy["second"]], tmp_path / "c", recipe, validation, progress)
    loaded = load_checkpoint(folder)
    assert set(recalls) == {2, 4, 6, 8, 9}
    best = max(recalls.values())
    assert loaded.card["best_step"] == max(step for step, recall in recalls.items() if recall == best)
    examiner = Validation.load(validation, NetworkInput.from_json(loaded.modality, loaded.input), [])
    assert examiner.recall_at_1(loaded.model)["embedding"] == best > min(recalls.values())


def test_descriptors_do_not_depend_on_the_batch(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    loaded = load_checkpoint(train_encoder([toy["first"]], tmp_path / "c", toy_recipe("lidar")))
    network_input, drive = NetworkInput.from_json(loaded.modality, loaded.input), Frames.load(toy["queries"])
    together = describe(loaded.model, network_input, drive)
    last = Frames(drive.folder, drive.card, drive.frames[-1:])
    np.testing.assert_allclose(describe(loaded.model, network_input, last)[0], together[-1], atol=1e-6)
    assert together.shape == (24, 24) and np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_a_drive_without_the_sensor_is_refused_with_what_to_do(
    toy_recipe: MakeRecipe, make_drive: Callable[..., Path], teacher: Path, tmp_path: Path
) -> None:
    blind = make_drive(tmp_path / "blind", range(4), 1, clouds=False)
    with pytest.raises(RecipeError, match="8 of 8 frames of .*blind have no cloud.*--cloud_topic, or train with "
                       "--modality camera"):  # fmt: skip
        train_encoder([blind], tmp_path / "c", toy_recipe("lidar"))
    train_encoder([blind], tmp_path / "c", toy_recipe("camera", steps=1))
    taught = toy_recipe("camera", distillation={"method": "SC"})
    with pytest.raises(RecipeError, match="which a network of modality fused needs: .*--cloud_topic$"):
        train_encoder([blind], tmp_path / "c", taught, teacher=teacher)


def test_a_drive_cannot_train_and_validate(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="for training and for validation"):
        train_encoder([toy["first"]], tmp_path / "c", toy_recipe("camera"), [toy["first"], toy["queries"]])
    with pytest.raises(RecipeError, match="one or more query drives"):
        train_encoder([toy["first"]], tmp_path / "c", toy_recipe("camera"), [toy["database"]])


def test_each_branch_has_its_learning_rate(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    def weights(**rates: float) -> dict[str, torch.Tensor]:
        recipe = toy_recipe("fused", steps=1, **rates)
        return load_checkpoint(train_encoder([toy["first"]], tmp_path / "c", recipe)).model.state_dict()

    before, after = weights(), weights(cloud_learning_rate=2e-3)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"cloud_fe"}


def test_figures_go_to_tensorboard(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown: list[float] = []
    for _ in range(2):  # the second run leaves nothing of the first
        shown.clear()
        train_encoder([toy["first"]], tmp_path / "c", toy_recipe("fused"), tensorboard=True,
                      progress=lambda step, total, figures: shown.append(figures["loss_cloud"]))  # fmt: skip
    events = EventAccumulator(str(tmp_path / "c" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss_cloud")] == [1, 2, 3, 4]
    np.testing.assert_allclose([event.value for event in events.Scalars("loss_cloud")], shown, rtol=1e-6)


def test_models_are_built_by_name() -> None:
    assert build_model("lidar", dim=8, planes=[4, 4], layers=[1, 1]).dim == 8
    with pytest.raises(RecipeError, match="unknown model 'radar': known are camera, lidar, teacher"):
        build_model("radar")
    with pytest.raises(RecipeError, match="model 'lidar' has no option 'width'; it has dim, planes"):
        build_model("lidar", width=8)
    with pytest.raises(RecipeError, match="cannot be built: planes"):
        build_model("lidar", planes=[4], layers=[1, 1])
