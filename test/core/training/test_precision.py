"""Networks run in half precision where it bears them; losses, weights and what is stored stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.models.minkloc import lidar_student
from vpr_core.models.sparse import batch_clouds
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("modality", "precision"), [("camera", "bf16-mixed"), ("lidar", "bf16-mixed"), ("lidar", "16-mixed")]
)
def test_half_precision_learns(
    modality: str, precision: str, toy: dict[str, Path], toy_recipe: MakeRecipe, teacher: Path, tmp_path: Path
) -> None:
    def losses(precision: str, steps: int) -> list[float]:
        seen: list[float] = []

        def progress(_step: int, _total: int, figures: dict[str, float]) -> None:
            seen.append(figures["loss"] + figures["distillation"])

        recipe = toy_recipe(modality, precision=precision, steps=steps, batch_size=24,
                            distillation={"method": "SC"})  # fmt: skip
        frames = [toy["first"], toy["second"]]
        train_encoder(frames, tmp_path / precision, recipe, teacher=teacher, progress=progress)
        return seen

    half, whole = losses(precision, 10), losses("32", 1)
    assert np.isfinite(half).all() and np.mean(half[-3:]) < 0.7 * half[0], half
    assert half[0] != whole[0] and half[0] == pytest.approx(whole[0], rel=0.05)
    weights = load_checkpoint(tmp_path / precision).model.state_dict().values()
    assert {value.dtype for value in weights if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_sparse_convolutions_keep_their_precision(precision: torch.dtype) -> None:
    """Up and down the levels and back through them: sums over many neighbours are none for half precision."""
    torch.manual_seed(0)
    network = lidar_student(24, (8, 8, 16), num_top_down=1)
    voxels = torch.unique(torch.randint(-9, 9, (900, 3)), dim=0).int()
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", precision, enabled=enabled):
            found = network(batch_clouds([voxels[::2], voxels[1::3]]))
        network.zero_grad()
        found.float().square().sum().backward()
        gradients.append(torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None]))
    assert not torch.equal(*gradients) and torch.cosine_similarity(*gradients, dim=0) > 0.99
