"""How long a run is, when its learning rates fall, and how its batches grow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.cli import _values, build_parser
from vpr_core.commands.training import recipe_of
from vpr_core.data.batching import PairSampler
from vpr_core.errors import RecipeError
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.objective import Violations
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.run import Run
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]
PAIRS = [np.array([index ^ 1]) for index in range(20)]
"""An epoch of batches of 8 has three, the last one smaller."""


def run_of(**options: object) -> Run:
    recipe = Recipe.from_json({"modality": "lidar", "batch_size": 8, **options})
    return Run.begin(torch.nn.Linear(2, 2), None, recipe, PairSampler(PAIRS, recipe.batch_size, 0))


def go_on(run: Run, steps: int, violations: Violations) -> list[tuple[int, float]]:
    """Frames of each batch and the learning rate with which it was learnt."""
    seen = []
    for _ in range(steps):
        batch, rate = next(run.sampler), run.optimiser.param_groups[0]["lr"]
        run.update(0.0, violations)
        seen.append((len(batch), rate))
    return seen


@pytest.mark.parametrize(
    ("options", "falls_before_step"),
    [
        ({"steps": 9}, 7),
        ({"steps": 9, "decay_at": 0.5}, 5),
        ({"steps": 9, "decay_at": 2}, 3),
        ({"epochs": 3}, 7),
        ({"epochs": 3, "decay_at": 0.34}, 4),
        ({"epochs": 3, "decay_at": 1}, 4),
        ({"epochs": 3, "decay_at": 3}, 10),
    ],
)
def test_the_learning_rate_falls_once(options: dict[str, float], falls_before_step: int) -> None:
    run = run_of(**options, cloud_learning_rate=0.5)
    rates = [rate for _, rate in go_on(run, 9, {"embedding": (1, 2)})]
    assert rates == pytest.approx([0.5] * (falls_before_step - 1) + [0.05] * (10 - falls_before_step))
    assert run.finished and run.epoch == 3


def test_the_paper_s_length() -> None:
    """60 epochs and a fall at the 40th, which is also what recipes say that count in steps of 47 an epoch."""
    assert Recipe(epochs=60).decays_after == Recipe(epochs=60, decay_at=40).decays_after == 40
    assert Recipe(steps=2820).decays_after == 40 * 47
    assert Recipe(epochs=80, decay_at=0.75).decays_after == 60


def test_epochs_are_as_long_as_the_drives(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    for name, drives in (("one", ["first"]), ("both", ["first", "second"])):
        seen: list[tuple[int, int, dict[str, float]]] = []
        recipe = toy_recipe("lidar", epochs=3, validate_every=2, batch_size=8)
        out = train_encoder([toy[drive] for drive in drives], tmp_path / name, recipe,
                            [toy["database"], toy["queries"]],
                            progress=lambda step, total, figures, seen=seen: seen.append((step, total, figures)),
                            )  # fmt: skip
        steps = load_checkpoint(out).card["steps"]
        assert [step for step, _, _ in seen] == list(range(1, steps + 1))
        assert 9 * len(drives) <= steps <= 9 * len(drives) + 6  # 24 frames make 12 to 16 pairs
        assert seen[-1][1] == steps and all(step <= total for step, total, _ in seen)
        looks = [step for step, _, figures in seen if "recall_at_1_embedding" in figures]
        assert len(looks) == 2 and looks[1] == steps and steps / 2 < looks[0] < steps


def test_steps_of_0_leave_the_network_as_it_begins(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    for name, options in (("steps", {"steps": 0, "epochs": 5}), ("epochs", {"epochs": 0})):
        card = load_checkpoint(train_encoder([toy["first"]], tmp_path / name, toy_recipe("lidar", **options))).card
        assert (card["steps"], card["final_loss"]) == (0, None)


def test_batches_grow_where_few_triplets_are_left() -> None:
    """MinkLoc++'s numbers: 8, 11, 15, ... of pairs, so an odd size is rounded up."""
    run = run_of(epochs=9, batch_limit=14)
    assert [size for size, _ in go_on(run, 3, {"embedding": (6, 10), "cloud_embedding": (7, 10)})] == [8, 8, 4]
    assert run.sampler.batch_size == 8  # one head is busy enough
    go_on(run, 2, {"embedding": (10, 10)})
    go_on(run, 1, {"embedding": (0, 10)})  # two thirds over the epoch
    assert run.sampler.batch_size == 11
    assert [size for size, _ in go_on(run, 2, {"embedding": (0, 10)})] == [12, 8]
    assert run.sampler.batch_size == 14 and run.epoch == 3
    go_on(run, 2, {"embedding": (0, 10)})
    assert run.sampler.batch_size == 14


def test_a_growing_run_goes_on_where_it_was(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    """Interrupted after every one of its steps, over epochs, larger batches and passes in parts."""
    recipe = toy_recipe("lidar", epochs=3, batch_size=4, batch_limit=12, batch_grows_below=1.0, batch_growth=2.0,
                        split_batch=3, cloud_learning_rate=1e-2, validate_every=1)  # fmt: skip
    drives = {"frames": [toy["first"]], "validation": [toy["database"], toy["queries"]]}
    sizes: list[float] = []

    def stop(_step: int, _total: int, figures: dict[str, float]) -> None:
        sizes.append(figures["batch_size"])
        raise KeyboardInterrupt

    whole = load_checkpoint(train_encoder(**drives, out=tmp_path / "whole", recipe=recipe))
    for _ in range(whole.card["steps"]):
        with pytest.raises(KeyboardInterrupt):
            train_encoder(**drives, out=tmp_path / "s", recipe=recipe, save_every=1, progress=stop)
    resumed = load_checkpoint(train_encoder(**drives, out=tmp_path / "s", recipe=recipe))
    assert resumed.hash == whole.hash and resumed.card["steps"] == whole.card["steps"] == len(sizes)
    assert {4.0, 8.0} <= set(sizes)


def test_a_state_is_written_within_a_time(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    def stop(_step: int, _total: int, _figures: dict[str, float]) -> None:
        raise KeyboardInterrupt

    for seconds, is_kept in ((0.0, True), (3600.0, False)):
        out = tmp_path / f"{seconds}"
        with pytest.raises(KeyboardInterrupt):
            train_encoder([toy["first"]], out, toy_recipe("lidar"), save_every=50, save_within_s=seconds, progress=stop)
        assert (out / "state.pt").exists() == is_kept


def test_keys_left_at_their_defaults_leave_a_recipe_s_json_as_it_was() -> None:
    unset = {"batch_limit", "batch_growth", "batch_grows_below", "split_batch", "precision", "epochs", "decay_at"}
    assert not unset & set(as_json(Recipe()))
    assert as_json(Recipe(epochs=60, decay_at=40))["epochs"] == 60
    assert Recipe.from_json(as_json(Recipe(epochs=60, precision="bf16-mixed"))).precision == "bf16-mixed"
    assert Recipe.from_json({"precision": 32}) == Recipe()


def test_the_commands_take_null_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text('epochs: 60\nprecision: "32"\ndecay_at: 40\nbatch_limit: 96\nsplit_batch: 16\n')
    given = ["--config", str(tmp_path / "r.yaml"), "--frames", "f", "--out", "o"]
    for command in ("train", "train-teacher"):
        for more, expected in (
            ([], (60, "32")),
            (["--epochs", "null", "--precision", "bf16-mixed"], (None, "bf16-mixed")),
        ):
            recipe = recipe_of(_values(build_parser().parse_args([command, *given, *more])[command]))
            assert (recipe.epochs, recipe.precision) == expected
            assert (recipe.decay_at, recipe.batch_limit, recipe.split_batch) == (40, 96, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": -1}, "epochs must be 0 or more"),
        ({"decay_at": 0.0}, "decay_at is 0.0, expected a share"),
        ({"batch_limit": 8}, "batch_limit 8 must not be under batch_size 48"),
        ({"batch_limit": 96, "batch_growth": 1.0}, "cannot grow by batch_growth 1.0 .* expected a factor"),
        ({"batch_limit": 96, "batch_grows_below": 70.0}, "below a share of 70.0"),
        ({"split_batch": 0}, "split_batch is 0, expected 1 frame or more"),
        ({"precision": "8"}, "precision is '8', expected 32 or bf16-mixed or 16-mixed"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Recipe.from_json(options)
