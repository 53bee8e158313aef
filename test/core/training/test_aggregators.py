"""Aggregators that a recipe can name: each trains on toy drives and goes to a robot; NetVLAD begins in the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from vpr_core.cli import _values, build_parser
from vpr_core.commands.training import recipe_of
from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.export import export
from vpr_core.models.encoder import ImageEncoder
from vpr_core.models.factory import build_model
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput
from vpr_core.training.recipe import Recipe, as_json, differences
from vpr_core.training.train import model_spec, train_encoder
from vpr_core.training.validate import describe

MakeRecipe = Callable[..., Recipe]
LEARNS = {"steps": 25, "batch_size": 12, "normalize": True, "task_weights": [1.0, 0.0, 0.0], "clusters": 6,
          "backbone": "resnet"}  # fmt: skip
"""Toy images have 3 x 4 places, for which 64 clusters would be many."""


@pytest.mark.parametrize("aggregator", ["gem", "max", "netvlad"])
def test_every_aggregator_learns_and_goes_to_a_robot(
    aggregator: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    losses: list[float] = []
    folder = train_encoder(
        [toy["first"], toy["second"]], tmp_path / "c", toy_recipe("camera", aggregator=aggregator, **LEARNS),
        [toy["database"], toy["queries"]], lambda step, total, figures: losses.append(figures["loss"]),
    )  # fmt: skip
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert last < 0.9 * first, f"the loss was {first:.3f} at first and {last:.3f} at last"
    loaded, drive = load_checkpoint(folder), Frames.load(toy["queries"])
    assert loaded.recipe.aggregator == aggregator and loaded.model.dim == 24
    assert loaded.card["validation"]["recall_at_1"]["embedding"] > 0.7  # by chance one place of twelve
    expected = describe(loaded.model, NetworkInput.from_json("camera", loaded.input), drive)
    bundle = export(folder, toy["queries"], tmp_path / "bundle")
    build_map(bundle, toy["database"], tmp_path / "map")
    recognizer = PlaceRecognizer.load(bundle, tmp_path / "map")
    found = recognizer.recognize(drive.image(5), 1)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-5)
    database = describe(loaded.model, NetworkInput.from_json("camera", loaded.input), Frames.load(toy["database"]))
    assert found.matches[0].similarity == pytest.approx(float((database @ expected[5]).max()), abs=1e-4)


def test_netvlad_s_clusters_begin_at_the_training_images(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """Of the network as it is: each centre is the mean of what is nearest to it, and the same again."""
    recipe = toy_recipe("camera", aggregator="netvlad", clusters=6, steps=0)
    models = [
        load_checkpoint(train_encoder([toy["first"]], tmp_path / name, recipe)).model for name in ("one", "again")
    ]
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    model, drive = models[0], Frames.load(toy["first"])
    assert isinstance(model, ImageEncoder)
    with torch.no_grad():
        (images,) = NetworkInput.of_recipe(recipe, [drive]).batch(Samples([drive]), range(len(drive)))
        places = model.local_features(images).movedim(1, 3).flatten(0, 2)  # type: ignore[arg-type]
    places = functional.normalize(places)
    centres = model.pooling.centres.detach()
    nearest = torch.cdist(places, centres).argmin(dim=1)
    assert set(nearest.tolist()) == set(range(6))
    means = torch.stack([places[nearest == k].mean(dim=0) for k in range(6)])
    apart = torch.cdist(centres, centres)[~torch.eye(6, dtype=torch.bool)].min()
    assert (means - centres).norm(dim=1).max() < 0.1 * apart


def test_descriptors_are_as_wide_as_the_recipe_says(toy_recipe: MakeRecipe) -> None:
    for values, width in (({"dim": 40}, 40), ({"dim": None}, 6 * 112), ({"aggregator": "max", "dim": None}, 112)):
        spec, _ = model_spec(toy_recipe("camera", **{"aggregator": "netvlad", "clusters": 6, **values}))
        model = build_model(spec["name"], **spec["options"])
        assert model.dim == width and model.eval()(torch.rand(2, 3, 48, 64)).shape == (2, width)


def test_a_killed_run_goes_on(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = toy_recipe("camera", aggregator="netvlad", clusters=6)

    def stop(step: int, total: int, figures: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder([toy["first"]], tmp_path / "killed", recipe, progress=stop, save_every=1)
    folders = [train_encoder([toy["first"]], tmp_path / name, recipe) for name in ("killed", "whole")]
    killed, whole = (load_checkpoint(folder).model.state_dict() for folder in folders)
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"aggregator": "vlad"}, "aggregator is 'vlad', expected one of gem, max, netvlad"),
        ({"aggregator": "netvlad", "modality": "fused"}, "for architecture minkloc and modality camera, .* fused"),
        ({"aggregator": "max", "architecture": "structvpr", "dim": None}, "the recipe has structvpr and camera"),
        ({"aggregator": "netvlad", "clusters": 1}, "clusters is 1, expected 2 or more"),
    ],
)
def test_recipes_that_cannot_be_are_refused(values: dict[str, object], message: str, toy_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=message):
        toy_recipe(**{"modality": "camera", **values})


def test_what_cannot_begin_is_told(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = toy_recipe("camera", aggregator="netvlad", clusters=300)
    with pytest.raises(RecipeError, match="300 clusters cannot begin at 288 local features, which 24 training frames"):
        train_encoder([toy["first"]], tmp_path / "c", recipe)
    torch.save({}, tmp_path / "published.pth")
    recipe = toy_recipe("camera", aggregator="netvlad", clusters=6, backbone="resnet")
    with pytest.raises(RecipeError, match="end in GeM, the recipe has aggregator netvlad: train with --aggregator gem"):
        train_encoder([toy["first"]], tmp_path / "c", recipe, weights=tmp_path / "published.pth")


def test_gem_is_what_networks_had_before_the_key(toy_recipe: MakeRecipe) -> None:
    """Tables name a recipe by the hash of its JSON, a checkpoint its network by name and options."""
    assert not {"aggregator", "clusters"} & set(as_json(Recipe()))
    assert model_spec(toy_recipe("camera"))[0]["options"].keys() == {"backbone", "dim", "pretrained"}
    changed = Recipe(aggregator="netvlad", clusters=16)
    assert {"aggregator": "netvlad", "clusters": 16}.items() <= as_json(changed).items()
    assert Recipe.from_json(as_json(changed)) == changed


BASELINES = sorted((Path(__file__).parents[3] / "config" / "baselines").glob("*.yaml"))


def parsed(path: Path) -> Recipe:
    config = build_parser().parse_args(["train", "--config", str(path), "--frames", "f", "--out", "o"])
    return recipe_of({**_values(config["train"]), "distillation": None})


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_every_baseline_parses_and_its_network_can_be_built(path: Path) -> None:
    recipe = parsed(path)
    spec, _ = model_spec(recipe)
    assert build_model(spec["name"], **spec["options"]).dim == (recipe.dim or 16 * 96)
    assert recipe.aggregator == path.stem.split("_")[1] and recipe.mining != "batch_hard"


def test_the_town_s_baselines_are_trained_as_the_rgb_branch() -> None:
    recipes = {path.stem: as_json(parsed(path)) for path in BASELINES if path.stem.startswith("town")}
    rgb = as_json(parsed(BASELINES[0].parents[1] / "structvpr" / "town_rgb.yaml"))
    for recipe in recipes.values():
        changed = {line.split(":")[0] for line in differences(rgb, recipe)}
        assert changed <= {"architecture", "backbone", "dim", "aggregator", "clusters"} and "architecture" in changed
    between = {line.split(":")[0] for line in differences(recipes["town_gem"], recipes["town_netvlad"])}
    assert between == {"aggregator", "clusters", "dim"}
