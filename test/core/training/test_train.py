"""Training learns, is repeatable, and says what is wrong with its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError, RecipeError
from vpr_core.export import export
from vpr_core.models.encoder import build_image_encoder
from vpr_core.retrieval.bundle import Bundle
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput, image_size_of
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

TINY = Recipe(steps=3, batch_size=8, image_height=48)


def test_the_same_seed_gives_the_same_weights(frames: Path, tmp_path: Path) -> None:
    first, second, other = (
        train_encoder([frames], tmp_path / name, Recipe(**{**TINY.__dict__, "seed": seed}))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    weights = [load_checkpoint(folder).model.state_dict() for folder in (first, second, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_checkpoint_keeps_recipe_and_figures(frames: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    train_encoder([frames], tmp_path / "c", TINY, progress=lambda step, total, figures: steps.append(step))
    loaded = load_checkpoint(tmp_path / "c")
    assert steps == [1, 2, 3]
    assert loaded.recipe == TINY and loaded.input == {"image_size": [64, 48]}
    assert loaded.card["drives"][0]["session"] == "frames" and np.isfinite(loaded.card["final_loss"])
    assert not loaded.model.training


def test_training_moves_other_light_closer(trained: Path, untrained: Path, drives: dict[str, Path]) -> None:
    """Recall at night against a map at noon rises, on a stretch of the town that training did not see."""
    from vpr_core.evaluation.evaluate import bundle_describer, evaluate

    database, night = Frames.load(drives["other_noon"]), Frames.load(drives["other_night"])
    before, after = (
        evaluate(name, bundle_describer(folder), database, [night])[0].result.at[1]
        for name, folder in (("untrained", untrained), ("trained", trained))
    )
    assert after > before + 0.1, f"Recall@1 noon to night was {before:.2f} before training and {after:.2f} after"


def test_the_acceptance_threshold_comes_from_validation_drives(trained: Path, untrained: Path) -> None:
    bundle = Bundle.load(trained)
    assert bundle.accept_similarity == bundle.card["acceptance"]["similarity"]
    assert 0 < bundle.card["acceptance"]["accepted"] < bundle.card["acceptance"]["queries"]
    assert bundle.card["acceptance"]["queries_without_place"] > 0
    assert Bundle.load(untrained).accept_similarity is None


def test_drives_that_cannot_train_anything_are_refused(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="fewer than 4 have another within 0.001 m"):
        train_encoder([frames], tmp_path / "c", Recipe(**{**TINY.__dict__, "positive_m": 0.001}))
    with pytest.raises(RecipeError, match="no drives given"):
        image_size_of([], 120)
    with pytest.raises(RecipeError, match="unknown backbone 'resnet1000': known are .*efficientnet_lite0"):
        build_image_encoder("resnet1000")
    with pytest.raises(RecipeError, match="even number"):
        Recipe(batch_size=7)
    assert not (tmp_path / "c").exists()


def test_an_export_that_differs_from_torch_is_not_written(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_encoder([frames], tmp_path / "c", TINY)
    monkeypatch.setattr("vpr_core.export.PARITY", 0.0)  # no two engines agree to the last bit
    with pytest.raises(BundleError, match="ONNX differs from torch"):
        export(tmp_path / "c", frames, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_bundle_gives_torch_s_descriptors(frames: Path, trained: Path) -> None:
    bundle = Bundle.load(trained)
    checkpoint = load_checkpoint(trained.parent / "checkpoint")
    drive = Frames.load(frames)
    from vpr_core.training.validate import describe

    expected = describe(checkpoint.model, NetworkInput.from_json(checkpoint.modality, checkpoint.input), drive)
    np.testing.assert_allclose(bundle.encode([drive.image(i) for i in range(len(drive))]), expected, atol=1e-4)
