"""What both branches make of the samples of toy drives, and the weights of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import RecipeError
from vpr_core.structvpr.partition import GROUP_NAMES
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import describe
from vpr_core.training.weigh import load_sample_weights, weigh

MakeRecipe = Callable[..., Recipe]


def test_ranks_are_those_of_lists_made_by_hand(
    branches: dict[str, Path], labelled: dict[str, Path], sample_weights: Path
) -> None:
    drives = [Frames.load(labelled[name]) for name in ("first", "second")]
    positions_m = np.concatenate([drive.positions_m for drive in drives])
    with np.load(sample_weights) as held:
        stored = {name: held[name] for name in held.files}
    expected = [(i, j) for i in range(32) for j in range(32)
                if i != j and np.linalg.norm(positions_m[i] - positions_m[j]) <= 10]  # fmt: skip
    assert stored["samples"].tolist() == [list(pair) for pair in expected] and len(expected) == 32 * 3
    for modality, name in (("labels", "teacher_rank"), ("camera", "student_rank")):
        loaded = load_checkpoint(branches[modality])
        fed = NetworkInput.from_json(modality, loaded.input)
        rows = np.concatenate([describe(loaded.model, fed, drive) for drive in drives]).astype(np.float64)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for (query, positive), rank in zip(expected, stored[name], strict=True):
            ahead = np.delete(rows[query] @ unit.T - rows[query] @ unit[positive], query)
            assert (ahead > 1e-9).sum() <= rank - 1 <= (ahead >= -1e-9).sum() - 1, (query, positive)


def test_weights_and_shares_follow_from_the_ranks(sample_weights: Path) -> None:
    loaded = load_sample_weights(sample_weights)
    with np.load(sample_weights) as held:
        x, y = held["teacher_rank"], held["student_rank"]
    np.testing.assert_array_equal(loaded.weights, np.where(x <= 10, np.minimum(y, 100) / x, 0))
    assert loaded.card["shares"]["D4"] == pytest.approx((x > 10).mean(), abs=1e-4)
    assert sum(loaded.card["shares"][name] for name in GROUP_NAMES) == pytest.approx(1, abs=1e-3)
    assert sum(loaded.card["weight_shares"][name] for name in GROUP_NAMES) == pytest.approx(1, abs=1e-3)
    assert loaded.card["weight_shares"]["D4"] == 0 and loaded.card["sessions"] == ["first", "second"]
    queries, positives = loaded.samples[[5, 0, 40]].T
    indices = np.stack([queries, positives], axis=1).ravel()
    np.testing.assert_allclose(loaded.of_pairs(indices), loaded.weights[[5, 0, 40]], rtol=1e-6)
    with pytest.raises(RecipeError, match="frames 0 and 31 were not weighed"):
        loaded.of_pairs(np.array([0, 31]))


def test_weights_that_do_not_fit_are_refused(
    branches: dict[str, Path],
    labelled: dict[str, Path],
    sample_weights: Path,
    student_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    frames, recipe = [labelled["first"], labelled["second"]], student_recipe()

    def refused(
        message: str, recipe: Recipe = recipe, frames: list[Path] = frames, file: Path = sample_weights
    ) -> None:
        with pytest.raises(RecipeError, match=message):
            train_encoder(frames, tmp_path / "c", recipe, teacher=branches["labels"], sample_weights=file)

    refused(
        "made on other drives or in another order .first, second., training is on second, first", frames=frames[::-1]
    )
    refused("within 10 m, the recipe takes those within 12 m: .* --positive_m 12", replace(recipe, positive_m=12.0))
    refused("does not exist: expected the file that `vpr-distill weigh` writes", file=tmp_path / "absent.npz")
    (tmp_path / "broken.npz").write_bytes(sample_weights.read_bytes()[:200])
    refused("holds no sample weights", file=tmp_path / "broken.npz")
    refused("for distillation.method structvpr, S, C, SC, the recipe has kd", student_recipe(method="kd"))
    refused("structvpr has no option 'T'; it has side, divide_by_mean", student_recipe(options={"T": 1}))
    refused("side is 'both', expected student or teacher", student_recipe(options={"side": "both"}))
    for changed, message in (({"positive_m": 0.5}, "no frame has another within 0.5 m"), ({"n_t": 0}, "n_t is 0")):
        with pytest.raises(RecipeError, match=message):
            weigh(branches["camera"], branches["labels"], frames[:1], tmp_path / "w.npz", **changed)
