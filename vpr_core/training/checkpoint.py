"""A trained network as a folder: weights, the recipe they come from, and what training and validation saw."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vpr_core.errors import BundleError
from vpr_core.files import commit, read_checked, read_manifest, sha256_json
from vpr_core.models.factory import build_model
from vpr_core.training.distillation import Modality
from vpr_core.training.recipe import Recipe, as_json

SCHEMA = 2
MANIFEST = "checkpoint.json"
MADE_BY = "vpr-distill train"
KEYS = ("weights", "modality", "spec", "input", "recipe", "card")
_WEIGHTS = "weights.pt"


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` read."""

    model: nn.Module
    """In eval mode; `model.dim` is the width of its descriptors."""
    modality: Modality
    spec: dict[str, Any]
    """{"name", "options"} of `build_model`."""
    input: dict[str, Any]
    """As `NetworkInput.as_json` gives it."""
    recipe: Recipe
    card: dict[str, Any]
    hash: str
    """Of weights, network and input: two checkpoints with one hash give the same descriptors."""


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    spec: dict[str, Any],
    recipe: Recipe,
    network_input: dict[str, Any],
    card: dict[str, Any],
) -> Path:
    """Write `folder`, replacing an older checkpoint only when everything is on the disk."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)

    def manifest(stored: dict[str, str]) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "weights": stored[_WEIGHTS],
            "modality": recipe.modality,
            "spec": spec,
            "input": network_input,
            "recipe": as_json(recipe),
            "card": card,
        }

    commit(folder, MANIFEST, {_WEIGHTS: buffer.getvalue()}, manifest)
    return folder


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint with its network in eval mode; raises BundleError where it is absent or damaged."""
    folder = Path(folder)
    manifest = read_manifest(folder, MANIFEST, SCHEMA, BundleError, MADE_BY, KEYS)
    data = read_checked(folder, manifest["weights"], BundleError, MADE_BY)
    spec = manifest["spec"]
    with torch.random.fork_rng(devices=[]):  # the weights that a network is built with are thrown away
        model = build_model(spec["name"], **spec["options"])
    model.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    return Checkpoint(
        model.eval(),
        manifest["modality"],
        spec,
        manifest["input"],
        Recipe.from_json(manifest["recipe"]),
        manifest["card"],
        sha256_json({name: manifest[name] for name in ("weights", "spec", "input")}),
    )
