"""StructVPR's stages on toy drives: both branches, what they make of the samples, and the student."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames, write_index
from vpr_core.data.samples import Samples
from vpr_core.errors import BundleError, InputError, RecipeError
from vpr_core.export import export
from vpr_core.losses.triplet import pair_triplets
from vpr_core.structvpr.partition import GROUP_NAMES
from vpr_core.structvpr.slme import weighted_one_hot
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.objective import Distiller, PairMasks
from vpr_core.training.recipe import Distillation, Recipe, as_json
from vpr_core.training.train import train_encoder
from vpr_core.training.validate import describe
from vpr_core.training.weigh import load_sample_weights, weigh

MakeDrive = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
CLASSES = 19
STRUCTVPR = {"architecture": "structvpr", "dim": None, "class_table": "cityscapes_19", "mining": "pairs",
             "margin": 0.1, "normalize": True, "task_weights": [1.0, 0.0, 0.0], "batch_size": 8,
             "steps": 3}  # fmt: skip


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, make_drive: MakeDrive) -> dict[str, Path]:
    """Two drives to train on and two others, all with labels; every place has its own."""
    folder, drives = tmp_path_factory.mktemp("labelled"), {}
    for seed, (name, places) in enumerate(
        {"first": range(8), "second": range(8), "database": range(20, 26), "queries": range(20, 26)}.items(), 1
    ):
        drives[name] = make_drive(folder / name, places, seed, clouds=False)
        add_labels(drives[name], seed)
    return drives


def add_labels(folder: Path, seed: int) -> None:
    drive, rng = Frames.load(folder), np.random.default_rng(seed)
    (folder / "labels").mkdir()
    frames = []
    for frame in drive.frames:
        own = np.random.default_rng([5, int(drive.positions_m[frame.index, 0]) // 60])
        label = np.kron(own.integers(CLASSES, size=(6, 8)), np.ones((8, 8))).astype(np.uint8)
        label[rng.random(label.shape) < 0.05] = 255
        frames.append(replace(frame, label=f"labels/{frame.index:06d}.png"))
        cv2.imwrite(str(folder / frames[-1].label), label)
    write_index(folder, frames, {name: value for name, value in drive.card.items() if name != "schema"})


@pytest.fixture(scope="module")
def branches(
    labelled: dict[str, Path], toy_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Stage I of both modalities."""
    folder, frames = tmp_path_factory.mktemp("branches"), [labelled["first"], labelled["second"]]
    return {
        modality: train_encoder(
            frames, folder / modality, toy_recipe(modality, **STRUCTVPR), [labelled["database"], labelled["queries"]]
        )  # fmt: skip
        for modality in ("camera", "labels")
    }


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


@pytest.mark.parametrize("mining", ["pairs", "batch_hard"])
def test_the_segmentation_branch_learns(
    mining: str, labelled: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    losses: list[float] = []
    recipe = toy_recipe("labels", **{**STRUCTVPR, "mining": mining, "margin": 0.5, "steps": 16, "augment": True})
    train_encoder([labelled["first"], labelled["second"]], tmp_path / "c", recipe,
                  progress=lambda step, total, figures: losses.append(figures["loss"]))  # fmt: skip
    first, last = np.mean(losses[:4]), np.mean(losses[-4:])
    assert last < 0.9 * first, f"the loss was {first:.3f} at first and {last:.3f} at last"


@pytest.mark.parametrize(("encoding", "channels"), [("paper", 6), ("three", 3), ("unclustered", 19)])
def test_label_maps_are_the_frames_labels_at_the_network_s_size(
    encoding: str, channels: int, labelled: dict[str, Path], toy_recipe: MakeRecipe
) -> None:
    drive = Frames.load(labelled["first"])
    recipe = toy_recipe("labels", **{**STRUCTVPR, "label_encoding": encoding, "image_height": 96})
    (maps,) = NetworkInput.of_recipe(recipe, [drive]).batch(Samples([drive]), [0, 5])
    assert isinstance(maps, torch.Tensor) and maps.shape == (2, channels, 96, 128)
    for row, index in enumerate((0, 5)):
        expected = weighted_one_hot(drive.label(index), "cityscapes_19", encoding)
        np.testing.assert_array_equal(maps[row].numpy(), expected.repeat(2, axis=1).repeat(2, axis=2))


def test_a_killed_branch_goes_on(labelled: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    frames, recipe = [labelled["first"], labelled["second"]], toy_recipe("labels", **STRUCTVPR)

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
    labelled: dict[str, Path], toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = toy_recipe("labels", **STRUCTVPR)
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
        ({"mining": "hard"}, "mining is 'hard', expected one of batch_hard, pairs"),
        ({"label_encoding": "six"}, "label_encoding is 'six', expected one of paper, unweighted"),
        ({"normalize_levels": "l2"}, "normalize_levels is 'l2', expected one of levels, global, none"),
        ({"distillation": {"method": "S"}}, "a network on labels is a teacher"),
    ],
)
def test_recipes_that_cannot_be_are_refused(changed: dict[str, Any], message: str, toy_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=message):
        toy_recipe(**{"modality": "labels", **STRUCTVPR, **changed})


def test_other_recipes_are_named_by_the_same_hash_as_before() -> None:
    assert not {"class_table", "label_encoding", "normalize_levels", "mining"} & set(as_json(Recipe()))
    recipe = Recipe(modality="labels", architecture="structvpr", mining="pairs", label_encoding="three")
    assert Recipe.from_json(json.loads(json.dumps(as_json(recipe)))) == recipe


@pytest.fixture(scope="module")
def weights(branches: dict[str, Path], labelled: dict[str, Path]) -> Path:
    out = branches["camera"].parent / "weights.npz"
    weigh(branches["camera"], branches["labels"], [labelled["first"], labelled["second"]], out)
    return out


def student_recipe(toy_recipe: MakeRecipe, **distillation: Any) -> Recipe:
    values = {"method": "structvpr", "teacher_modality": "labels", **distillation}
    return toy_recipe("camera", **{**STRUCTVPR, "distillation": values})


def test_ranks_are_those_of_lists_made_by_hand(
    branches: dict[str, Path], labelled: dict[str, Path], weights: Path
) -> None:
    drives = [Frames.load(labelled[name]) for name in ("first", "second")]
    positions_m = np.concatenate([drive.positions_m for drive in drives])
    with np.load(weights) as held:
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


def test_weights_and_shares_follow_from_the_ranks(weights: Path) -> None:
    loaded = load_sample_weights(weights)
    with np.load(weights) as held:
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
    branches: dict[str, Path], labelled: dict[str, Path], weights: Path, toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    from vpr_core.retrieval.mapping import build_map
    from vpr_core.retrieval.recognizer import PlaceRecognizer

    frames, nothing = [labelled["first"], labelled["second"]], tmp_path / "nothing.npz"
    weigh(branches["camera"], branches["labels"], frames, nothing, scheme="none")
    states, shown = {}, {}
    for name, file in (("weighted", weights), ("all", None), ("none", nothing)):
        figures: list[dict[str, float]] = []
        folder = train_encoder(frames, tmp_path / name, student_recipe(toy_recipe), teacher=branches["labels"],
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
    branches: dict[str, Path], labelled: dict[str, Path], weights: Path, toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    frames, recipe = [labelled["first"], labelled["second"]], student_recipe(toy_recipe)

    def stop(step: int, total: int, figures: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(frames, tmp_path / "killed", recipe, teacher=branches["labels"], sample_weights=weights,
                      save_every=1, progress=stop)  # fmt: skip
    with pytest.raises(RecipeError, match="of a run that was not finished, .*sample_weights: .* there, None here"):
        train_encoder(frames, tmp_path / "killed", recipe, teacher=branches["labels"])
    folders = [
        train_encoder(frames, tmp_path / name, recipe, teacher=branches["labels"], sample_weights=weights)
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


def test_weights_that_do_not_fit_are_refused(
    branches: dict[str, Path], labelled: dict[str, Path], weights: Path, toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    frames, recipe = [labelled["first"], labelled["second"]], student_recipe(toy_recipe)

    def refused(message: str, recipe: Recipe = recipe, frames: list[Path] = frames, file: Path = weights) -> None:
        with pytest.raises(RecipeError, match=message):
            train_encoder(frames, tmp_path / "c", recipe, teacher=branches["labels"], sample_weights=file)

    refused(
        "made on other drives or in another order .first, second., training is on second, first", frames=frames[::-1]
    )
    refused("within 10 m, the recipe takes those within 12 m: .* --positive_m 12", replace(recipe, positive_m=12.0))
    refused("does not exist: expected the file that `vpr-distill weigh` writes", file=tmp_path / "absent.npz")
    (tmp_path / "broken.npz").write_bytes(weights.read_bytes()[:200])
    refused("holds no sample weights", file=tmp_path / "broken.npz")
    refused("for distillation.method structvpr, S, C, SC, the recipe has kd", student_recipe(toy_recipe, method="kd"))
    refused("structvpr has no option 'T'; it has side, divide_by_mean", student_recipe(toy_recipe, options={"T": 1}))
    refused("side is 'both', expected student or teacher", student_recipe(toy_recipe, options={"side": "both"}))
    for changed, message in (({"positive_m": 0.5}, "no frame has another within 0.5 m"), ({"n_t": 0}, "n_t is 0")):
        with pytest.raises(RecipeError, match=message):
            weigh(branches["camera"], branches["labels"], frames[:1], tmp_path / "w.npz", **changed)
