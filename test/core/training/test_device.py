"""Training says where it cannot run; and where there is a GPU, it trains there what it would train on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vpr_core.cli import main
from vpr_core.errors import RecipeError
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_gpu_is_told_what_to_do(
    toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecipeError, match="device is cuda, but torch .* finds no GPU: .*, or train with --device cpu"):
        train_encoder([toy["first"]], tmp_path / "c", toy_recipe("lidar"), device="cuda")
    options = ["--frames", str(toy["first"]), "--out", str(tmp_path / "c"), "--device", "cuda"]
    with pytest.raises(SystemExit):
        main(["train", *options, "--modality", "lidar", "--steps", "1"])
    assert "vpr-distill: error: device is cuda, but torch" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_an_unknown_device_is_named(toy: dict[str, Path], toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="device is 'tpu', expected cpu or cuda"):
        train_encoder([toy["first"]], tmp_path / "c", toy_recipe("lidar"), device="tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_the_gpu_trains_what_the_cpu_does(
    modality: str, toy: dict[str, Path], toy_recipe: MakeRecipe, teacher: Path, tmp_path: Path
) -> None:
    """Weights stay close over two steps, a stored state goes on, and the checkpoint needs no GPU."""
    recipe = toy_recipe(modality, steps=2, distillation={"method": "SC"})
    options = {"validation": [toy["database"], toy["queries"]], "teacher": teacher, "save_every": 1}

    def stop(step: int, _total: int, _figures: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder([toy["first"]], tmp_path / "cuda", recipe, **options, device="cuda", progress=stop)
    there, here = (
        load_checkpoint(train_encoder([toy["first"]], tmp_path / device, recipe, **options, device=device))
        for device in ("cuda", "cpu")
    )
    weights = there.model.state_dict(), here.model.state_dict()
    assert {value.device.type for value in weights[0].values()} == {"cpu"}
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-2, atol=5e-3)
