"""A trained encoder as a folder: weights, the recipe they come from, and what training and validation saw."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vpr_core.errors import BundleError
from vpr_core.files import commit, read_checked, read_manifest
from vpr_core.models.encoder import ImageEncoder
from vpr_core.models.factory import build_model
from vpr_core.training.recipe import Recipe

SCHEMA = 1
MANIFEST = "checkpoint.json"
MADE_BY = "vpr-distill train"


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` read."""

    model: nn.Module
    """In eval mode."""
    modality: str
    """"camera", "lidar" or "fused"."""
    spec: dict[str, Any]
    """Name and options of the network, for `build_model`."""
    input: dict[str, Any]
    """camera: image_size, [width, height] of the network's input [px]; lidar: voxel_size_m, max_range_m."""
    recipe: Recipe
    card: dict[str, Any]
    hash: str = ""

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the network's input [px]."""
        width, height = self.input["image_size"]
        return width, height


def save_checkpoint(
    folder: Path, model: ImageEncoder, recipe: Recipe, image_size: tuple[int, int], card: dict[str, Any]
) -> Path:
    """Write `folder`, replacing an older checkpoint only when everything is on the disk."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)

    def manifest(stored: dict[str, str]) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "weights": stored["weights.pt"],
            "image_size": list(image_size),
            "recipe": asdict(recipe),
            "card": card,
        }

    commit(folder, MANIFEST, {"weights.pt": buffer.getvalue()}, manifest)
    return folder


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint with its network in eval mode; raises BundleError where it is absent or damaged."""
    folder = Path(folder)
    manifest = read_manifest(folder, MANIFEST, SCHEMA, BundleError, MADE_BY)
    data = read_checked(folder, manifest["weights"], BundleError, MADE_BY)
    recipe = Recipe(**manifest["recipe"])
    options = {"backbone": recipe.backbone, "dim": recipe.dim, "pretrained": False, "normalize": recipe.normalize}
    model = build_model("camera", **options)
    model.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    spec, input = {"name": "camera", "options": options}, {"image_size": manifest["image_size"]}
    return Checkpoint(model.eval(), "camera", spec, input, recipe, manifest["card"])
