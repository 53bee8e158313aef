"""StructVPR's weights on DistilVPR's relations: a camera and LiDAR teacher, trusted where it helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.cli import main
from vpr_core.errors import RecipeError
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.distillation import Distillation
from vpr_core.training.objective import Distiller, PairMasks
from vpr_core.training.recipe import Recipe
from vpr_core.training.teacher import teacher_descriptors
from vpr_core.training.train import train_encoder
from vpr_core.training.weigh import load_sample_weights, weigh

MakeRecipe = Callable[..., Recipe]
METHODS = ("S", "C", "SC")


@pytest.fixture(scope="module")
def frames(toy: dict[str, Path]) -> list[Path]:
    return [toy["first"], toy["second"]]


@pytest.fixture(scope="module")
def student(frames: list[Path], toy_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera student trained alone."""
    return train_encoder(frames, tmp_path_factory.mktemp("alone"), toy_recipe("camera"))


@pytest.fixture(scope="module")
def weights(student: Path, teacher: Path, frames: list[Path]) -> Path:
    weigh(student, teacher, frames, student / "weights.npz", n_t=3)
    return student / "weights.npz"


def test_ranks_of_a_camera_and_lidar_teacher_are_those_of_its_whole_descriptor(
    weights: Path, teacher: Path, frames: list[Path]
) -> None:
    from vpr_core.data.frames import Frames

    rows = teacher_descriptors(teacher, [Frames.load(folder) for folder in frames]).rows.double().numpy()
    assert rows.shape == (48, 40)  # 16 of the cloud, 24 of the image
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    with np.load(weights) as held:
        samples, x = held["samples"], held["teacher_rank"]
    for (query, positive), rank in zip(samples.tolist(), x.tolist(), strict=True):
        ahead = np.delete(unit[query] @ unit.T - unit[query] @ unit[positive], query)
        assert (ahead > 1e-9).sum() <= rank - 1 <= (ahead >= -1e-9).sum() - 1, (query, positive)
    card = load_sample_weights(weights).card
    assert card["samples"] == len(samples) == 48 * 3 and 0 < card["shares"]["x<=N_t"] <= 1


@pytest.mark.parametrize("method", METHODS)
def test_both_rows_of_a_sample_have_its_weight(method: str) -> None:
    torch.manual_seed(0)
    rows, told, given = torch.randn(8, 4), torch.randn(8, 6), torch.tensor([0.0, 2.0, 0.5, 1.0])
    place = torch.arange(8) // 2
    masks = PairMasks(place[:, None] == place, place[:, None] != place)
    distiller = Distiller(Distillation(method=method, weight=3.0, divide_by_mean=True), 4, 6)
    loss, figures = distiller(rows, told, masks, given)
    expected, terms = distiller.loss(rows, told, torch.tensor([0.0, 0, 2, 2, 0.5, 0.5, 1, 1]) * 8 / 7)
    torch.testing.assert_close(loss, 3 * expected)
    assert figures == pytest.approx({"distillation": 3 * float(expected.detach()), "sample_weight": 7 / 8}
                                    | {name: float(term.detach()) for name, term in terms.items()})  # fmt: skip
    plain = distiller(rows, told, masks)[0]
    torch.testing.assert_close(distiller(rows, told, masks, torch.ones(4))[0], plain, rtol=1e-6, atol=0)
    assert float(distiller(rows, told, masks, torch.zeros(4))[0].detach()) == 0


def test_a_student_learns_relations_by_the_weights_and_goes_on_after_an_interrupt(
    weights: Path, student: Path, teacher: Path, frames: list[Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = toy_recipe("camera", distillation={"method": "SC", "divide_by_mean": True})
    weigh(student, teacher, frames, tmp_path / "ones.npz", scheme="all")

    def train(name: str, file: Path | None) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        shown: list[dict[str, float]] = []
        out = train_encoder(frames, tmp_path / name, recipe, teacher=teacher, sample_weights=file, save_every=1,
                            progress=lambda step, total, figures: shown.append(figures))  # fmt: skip
        return load_checkpoint(out).model.state_dict(), shown

    (weighted, told), (plain, told_plain), (_, told_ones) = (
        train(name, file) for name, file in (("w", weights), ("p", None), ("o", tmp_path / "ones.npz"))
    )
    name = next(iter(weighted))
    assert not torch.equal(weighted[name], plain[name])
    assert told[0]["loss"] == told_plain[0]["loss"] and "sample_weight" not in told_plain[0]
    assert told[0]["cross_hyp"] != told_plain[0]["cross_hyp"]
    assert told_ones[0] == pytest.approx({**told_plain[0], "sample_weight": 1.0}, rel=1e-5)

    def stop(step: int, total: int, figures: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(frames, tmp_path / "k", recipe, teacher=teacher, sample_weights=weights, save_every=1,
                      progress=stop)  # fmt: skip
    gone_on, shown = train("k", weights)
    assert len(shown) == recipe.steps - 2
    assert all(torch.equal(gone_on[key], value) for key, value in weighted.items())


def test_by_commands(
    student: Path, teacher: Path, frames: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "weights.npz", tmp_path / "student"
    main([str(part) for part in ("weigh", "--student", student, "--teacher", teacher, "--frames", *frames,
                                 "--out", weights, "--n_t", 3, "--scheme", "gp_s_constant")])  # fmt: skip
    main([str(part) for part in ("distill", "--teacher", teacher, "--sample_weights", weights, "--frames", *frames,
                                 "--out", out, "--steps", 2, "--batch_size", 12, "--dim", 24, "--image_height", 48,
                                 "--pretrained", "false", "--tensorboard", "false",
                                 "--distillation.divide_by_mean", "true")])  # fmt: skip
    assert f"{weights}: 144 samples, mean weight" in capsys.readouterr().out
    told = json.loads((out / "checkpoint.json").read_text())
    assert told["card"]["sample_weights"]["scheme"] == "gp_s_constant"
    assert told["recipe"]["distillation"]["method"] == "SC" and told["recipe"]["distillation"]["divide_by_mean"]


def test_what_cannot_be_weighed_is_refused() -> None:
    assert "divide_by_mean" not in Distillation().as_json()
    for method in ("kd", "structvpr"):
        with pytest.raises(RecipeError, match=f"divide_by_mean is for S, C, SC; method {method} has it among"):
            Distillation(method=method, divide_by_mean=True)
