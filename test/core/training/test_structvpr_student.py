"""StructVPR's stage II: the distillation over triplets, and a student that learns by the samples' weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.errors import RecipeError
from vpr_core.export import export
from vpr_core.losses.triplet import pair_triplets
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.distillation import Distillation
from vpr_core.training.objective import Distiller, PairMasks
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder
from vpr_core.training.weigh import weigh

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_the_distillation_is_the_weighted_distance_over_triplets(side: str) -> None:
    """Against a loop over the pairs of a batch."""
    torch.manual_seed(0)
    student, teacher, given = torch.randn(8, 4), torch.randn(8, 6), torch.tensor([0.0, 2.0, 0.5, 1.0])
    place = torch.arange(8) // 2
    masks = PairMasks(place[:, None] == place, place[:, None] != place)
    distiller = Distiller(Distillation(method="structvpr", weight=3.0, options={"side": side}), 4, 6)
    loss, figures = distiller(student, teacher, masks, given)
    with torch.no_grad():
        layer = distiller.loss.transformation
        s, t = (layer(student), teacher) if side == "student" else (student, layer(teacher))
        terms = []
        for pair, (query, positive, negative) in enumerate(zip(*pair_triplets(student, masks.negative), strict=True)):
            apart = [float((s[row] - t[row]).square().sum()) for row in (query, positive, negative)]
            terms.append(float(given[pair]) * sum(apart) / 3)
    assert float(loss.detach()) == pytest.approx(3 * sum(terms) / 4, rel=1e-5)
    assert figures["feature"] == pytest.approx(sum(terms) / 4, rel=1e-5)
    assert figures["sample_weight"] == pytest.approx(3.5 / 4)


def test_a_batch_without_triplets_distils_nothing() -> None:
    student = torch.randn(4, 4, requires_grad=True)
    masks = PairMasks(torch.ones(4, 4) > 0, torch.ones(4, 4) < 0)
    loss, _ = Distiller(Distillation(method="structvpr"), 4, 6)(student, torch.randn(4, 6), masks, torch.ones(2))
    loss.backward()
    assert float(loss.detach()) == 0 and student.grad is not None and not student.grad.any()


def test_the_student_learns_by_the_weights_and_goes_to_a_robot(
    branches: dict[str, Path],
    labelled: dict[str, Path],
    sample_weights: Path,
    student_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    from vpr_core.retrieval.mapping import build_map
    from vpr_core.retrieval.recognizer import PlaceRecognizer

    frames, nothing = [labelled["first"], labelled["second"]], tmp_path / "nothing.npz"
    weigh(branches["camera"], branches["labels"], frames, nothing, scheme="none")
    states, shown = {}, {}
    for name, file in (("weighted", sample_weights), ("all", None), ("none", nothing)):
        figures: list[dict[str, float]] = []
        folder = train_encoder(frames, tmp_path / name, student_recipe(), teacher=branches["labels"],
                               sample_weights=file, diagnose_every=1,
                               progress=lambda step, total, of_step, kept=figures: kept.append(of_step))  # fmt: skip
        states[name], shown[name] = load_checkpoint(folder), figures
    assert shown["weighted"][0]["feature"] > 0 and shown["weighted"][0]["gradient_distillation"] > 0
    assert shown["none"][0]["feature"] == 0 and shown["none"][0]["gradient_distillation"] == 0
    assert "sample_weight" not in shown["all"][0] and shown["all"][0]["loss"] == shown["none"][0]["loss"]
    assert states["weighted"].card["sample_weights"]["scheme"] == "paper"
    assert len({sum(float(value.double().sum()) for value in state.model.state_dict().values())
                for state in states.values()}) == 3  # fmt: skip
    assert not [name for name in states["weighted"].model.state_dict() if "transformation" in name]

    export(tmp_path / "weighted", labelled["first"], tmp_path / "bundle")
    build_map(tmp_path / "bundle", labelled["first"], tmp_path / "map")
    drive = Frames.load(labelled["first"])
    found = PlaceRecognizer.load(tmp_path / "bundle", tmp_path / "map").recognize(drive.image(3), 0)
    assert found.descriptor.shape == (448,) and found.matches[0].place_id == 3


def test_a_killed_student_goes_on_with_the_same_weights_alone(
    branches: dict[str, Path],
    labelled: dict[str, Path],
    sample_weights: Path,
    student_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    frames, recipe = [labelled["first"], labelled["second"]], student_recipe()

    def stop(step: int, total: int, figures: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(frames, tmp_path / "killed", recipe, teacher=branches["labels"], sample_weights=sample_weights,
                      save_every=1, progress=stop)  # fmt: skip
    with pytest.raises(RecipeError, match="of a run that was not finished, .*sample_weights: .* there, None here"):
        train_encoder(frames, tmp_path / "killed", recipe, teacher=branches["labels"])
    folders = [
        train_encoder(frames, tmp_path / name, recipe, teacher=branches["labels"], sample_weights=sample_weights)
        for name in ("killed", "whole")
    ]
    killed, whole = (load_checkpoint(folder).model.state_dict() for folder in folders)
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_any_checkpoint_teaches(
    labelled: dict[str, Path], toy_recipe: MakeRecipe, branches: dict[str, Path], tmp_path: Path
) -> None:
    """A bigger camera network weighs samples and teaches a student that is not StructVPR's."""
    frames, out = [labelled["first"], labelled["second"]], tmp_path / "weights.npz"
    big = train_encoder(frames, tmp_path / "big", toy_recipe("camera", dim=40, steps=1))
    weigh(branches["camera"], big, frames, out, scheme="all", groups=["D1", "D2"])
    recipe = toy_recipe("camera", steps=1, distillation={"method": "structvpr"})
    card = load_checkpoint(
        train_encoder(frames, tmp_path / "student", recipe, teacher=big, sample_weights=out)
    ).card  # fmt: skip
    assert card["sample_weights"]["groups"] == ["D1", "D2"]
