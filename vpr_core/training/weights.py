"""Published weights of MinkLoc++, DistilVPR and AdaFusion, from which a network's training starts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpr_core.errors import BundleError, RecipeError
from vpr_core.files import sha256_bytes
from vpr_core.models.minkloc import load_published
from vpr_core.training.recipe import Recipe
from vpr_core.training.structvpr import ARCHITECTURES

BACKBONE = "resnet"
"""The image backbone of MinkLoc++'s and DistilVPR's published networks."""


def start_from(path: Path, model: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """Load a published state dict into the recipe's network; what a checkpoint's card says of it.

    Raises RecipeError where the recipe's image backbone is not the published one, and BundleError where the file is no
    state dict or one of another network.
    """
    if recipe.architecture in ARCHITECTURES:
        raise RecipeError(
            f"published weights are of MinkLoc++ and AdaFusion, the recipe has architecture {recipe.architecture}"
        )
    if recipe.aggregator != "gem":
        raise RecipeError(
            f"published weights are of networks that end in GeM, the recipe has aggregator {recipe.aggregator}: train "
            "with --aggregator gem, or without --weights"
        )
    has_backbone = recipe.architecture == "minkloc" and recipe.modality != "lidar"
    if has_backbone and recipe.backbone != BACKBONE:
        raise RecipeError(
            f"published weights are of backbone {BACKBONE}, the recipe has {recipe.backbone}: train with --backbone "
            f"{BACKBONE}, or without --weights"
        )
    data = path.read_bytes()
    state = _state_dict(path, data)
    try:
        report = load_published(model, state)
    except BundleError as error:
        raise BundleError(
            f"{path} does not fit the recipe's {recipe.modality} network: {error}; dim, cloud_dim, planes, layers and "
            "num_top_down must be those of the weights"
        ) from error
    counts = {"loaded": len(report.loaded), "unused": len(report.unused)}
    return {"file": path.name, "sha256": sha256_bytes(data), **counts}


def _state_dict(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own words tell how to load it unsafely
        raise BundleError(
            f"{path} is no state dict ({type(error).__name__}): expected what torch.save(model.state_dict()) writes"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BundleError(f"{path} holds something else than weights by name: expected a state dict by itself")
    return state
