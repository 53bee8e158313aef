"""A network starts from weights as MinkLoc++ and DistilVPR publish them, up to the bundle that a robot loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import BundleError, RecipeError
from vpr_core.export import export
from vpr_core.models.backbones import minkfpn, resnet
from vpr_core.models.minkloc import (
    CloudBranch,
    ImageBranch,
    MinkLoc3D,
    MinkLocMultimodal,
    MinkLocRGB,
    lidar_student,
)
from vpr_core.retrieval.bundle import Bundle
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import NetworkInput, heads
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]
UNUSED = ("model.layer4.0.conv1.weight", "model.fc.bias", "imagenetvlad.centroids")


def image_branch() -> ImageBranch:
    return ImageBranch(resnet.build(pretrained=False), 24)


def cloud_branch() -> CloudBranch:
    return CloudBranch(minkfpn.build(16, (8, 8, 16), num_top_down=0))


NETWORKS: dict[str, tuple[str, Callable[[], nn.Module], str]] = {
    "DistilVPR's camera student": ("camera", image_branch, ""),
    "DistilVPR's LiDAR student": ("lidar", lambda: lidar_student(24, (8, 8, 16)), ""),
    "a teacher": ("fused", lambda: MinkLocMultimodal(cloud_branch(), image_branch()), "image_fe."),
    "MinkLoc's camera network": ("camera", lambda: MinkLocRGB(image_branch()), "image_fe."),
    "MinkLoc's LiDAR network": ("lidar", lambda: MinkLoc3D(lidar_student(24, (8, 8, 16))), "cloud_fe."),
}


def publish(network: nn.Module, path: Path, prefix: str = "", unused: tuple[str, ...] = ()) -> Path:
    state: dict[str, Tensor] = dict(network.state_dict())
    torch.save(state | {prefix + name: torch.zeros(2) for name in unused}, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_published_one(
    name: str, toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    modality, build, prefix = NETWORKS[name]
    torch.manual_seed(5)
    network = build().eval()
    unused = () if modality == "lidar" else UNUSED
    file = publish(network, tmp_path / "published.pth", prefix, unused)
    recipe = toy_recipe(modality, backbone="resnet", steps=0, pretrained=True)
    loaded = load_checkpoint(train_encoder([toy["first"]], tmp_path / "c", recipe, weights=file))
    told = loaded.card["weights"]
    assert told["file"] == "published.pth" and len(told["sha256"]) == 64
    assert (told["loaded"], told["unused"]) == (len(network.state_dict()), len(unused))
    samples = Samples([Frames.load(toy["queries"])])
    batch = NetworkInput.from_json(modality, loaded.input).batch(samples, range(3))
    with torch.no_grad():
        expected, found = (heads(model, batch, normalize=True) for model in (network, loaded.model))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[head], expected[head]) for head in expected)
    if modality != "fused":
        bundle = Bundle.load(export(tmp_path / "c", toy["first"], tmp_path / "bundle"))
        assert (bundle.modality, bundle.dim, bundle.card["weights"]) == (modality, 24, told)


def test_training_goes_on_from_them_and_they_are_part_of_a_run_s_identity(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    file = publish(lidar_student(24, (8, 8, 16)), tmp_path / "published.pth")
    still, moved, other = (
        load_checkpoint(train_encoder([toy["first"]], tmp_path / name, toy_recipe("lidar", steps=steps), weights=start))
        for name, steps, start in (("still", 0, file), ("moved", 2, file), ("other", 2, None))
    )
    assert len({still.hash, moved.hash, other.hash}) == 3 and "weights" not in other.card
    first = still.model.state_dict()["backbone.conv0.kernel"]
    near, far = ((model.state_dict()["backbone.conv0.kernel"] - first).norm() for model in (moved.model, other.model))
    assert 0 < near < 0.1 * far

    def stop(step: int, _total: int, _figures: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder([toy["first"]], tmp_path / "s", toy_recipe("lidar"), weights=file, save_every=1, progress=stop)
    with pytest.raises(RecipeError, match="not finished, with another recipe .weights: [0-9a-f]{64} there, None here"):
        train_encoder([toy["first"]], tmp_path / "s", toy_recipe("lidar"))


def test_weights_that_do_not_fit_are_refused_with_what_to_do(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path
) -> None:
    lidar = publish(lidar_student(24, (8, 8, 16)), tmp_path / "lidar.pth")
    camera = publish(image_branch(), tmp_path / "camera.pth")
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "nested.pth")
    for file, options, error, words in (
        (
            lidar,
            {"dim": 32},
            BundleError,
            r"lidar.pth does not fit the recipe's lidar network: .* another size: .*; dim",
        ),
        (lidar, {"num_top_down": 1}, BundleError, "is not of this model: it lacks"),
        (camera, {}, BundleError, "camera.pth does not fit the recipe's lidar network"),
        (camera, {"modality": "camera"}, RecipeError, "of backbone resnet, the recipe has efficientnet_lite0: train "),
        (camera, {"modality": "fused"}, RecipeError, "train with --backbone resnet"),
        (lidar, {"modality": "fused", "backbone": "resnet"}, BundleError, "the recipe's fused network"),
        (tmp_path / "text.pth", {}, BundleError, "text.pth is no state dict"),
        (tmp_path / "nested.pth", {}, BundleError, "nested.pth holds something else than weights by name"),
    ):
        recipe = toy_recipe(**{"modality": "lidar", "steps": 0, **options})
        with pytest.raises(error, match=words) as caught:
            train_encoder([toy["first"]], tmp_path / "c", recipe, weights=file)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_by_command(toy: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = publish(MinkLocMultimodal(cloud_branch(), image_branch()), tmp_path / "published.pth", "image_fe.", UNUSED)
    options = ["--frames", toy["first"], "--out", tmp_path / "c", "--weights", file, "--steps", 0, "--dim", 24,
               "--backbone", "resnet", "--cloud_dim", 16, "--planes", "[8, 8, 16]", "--image_height", 48]  # fmt: skip
    main(["train-teacher", *map(str, options)])
    told = load_checkpoint(tmp_path / "c").card["weights"]
    assert (told["file"], told["unused"]) == ("published.pth", len(UNUSED))
    with pytest.raises(SystemExit):
        main(["train", *map(str, options), "--modality", "camera"])
    assert "does not fit the recipe's camera network" in capsys.readouterr().err
