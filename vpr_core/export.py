"""From a checkpoint to a bundle: the network as ONNX, compared with torch on real frames before it is written."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError
from vpr_core.models.encoder import ImageEncoder
from vpr_core.preprocess import resize_image
from vpr_core.retrieval.bundle import write_bundle
from vpr_core.retrieval.runtime import open_session
from vpr_core.training.checkpoint import load_checkpoint

PARITY = 1e-4
"""Largest difference of a descriptor's element between torch and ONNX Runtime that is let through."""


def export(checkpoint: str | Path, frames: str | Path, out: str | Path, compare: int = 16) -> Path:
    """Write the bundle folder `out` from a checkpoint folder.

    `compare` images of the drive in `frames` go through torch and ONNX Runtime; where their descriptors differ by
    more than PARITY, BundleError is raised and nothing is written.
    """
    loaded = load_checkpoint(checkpoint)
    if not isinstance(loaded.model, ImageEncoder):
        raise BundleError(f"{checkpoint} is of modality {loaded.modality}: only a camera network is exported to ONNX")
    width, height = loaded.input["image_size"]
    drive = Frames.load(frames)
    chosen = np.linspace(0, len(drive) - 1, min(compare, len(drive))).astype(int)
    images = np.stack([resize_image(drive.image(int(index)), height, width) for index in chosen])
    onnx = to_onnx(loaded.model, images[:1])
    difference = _largest_difference(loaded.model, onnx, images)
    if not difference <= PARITY:
        raise BundleError(f"ONNX differs from torch by {difference:.1e} on {len(images)} frames, allowed is {PARITY:g}")
    card: dict[str, Any] = {
        **loaded.card,
        "backbone": loaded.recipe.backbone,
        "parity": {"frames": len(images), "largest_difference": float(f"{difference:.2g}")},
    }
    return write_bundle(
        Path(out),
        onnx,
        input_size=(width, height),
        dim=loaded.model.dim,
        accept_similarity=loaded.card.get("acceptance", {}).get("similarity"),
        card=card,
    )


class _FromBytes(nn.Module):
    """The network as the robot calls it: RGB uint8 [B, H, W, 3] in, unit descriptors [B, D] out."""

    def __init__(self, model: ImageEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.model(image.permute(0, 3, 1, 2).float() / 255))


def to_onnx(model: ImageEncoder, example: np.ndarray) -> bytes:
    """The ONNX file of `model` for images of the example's size (uint8 [1, H, W, 3]) in batches of any length."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as they are on the robot; tracing warns of each
        _trace(model, example, buffer)
    return buffer.getvalue()


def _trace(model: ImageEncoder, example: np.ndarray, buffer: io.BytesIO) -> None:
    torch.onnx.export(
        _FromBytes(model).eval(),
        (torch.from_numpy(example),),
        buffer,  # type: ignore[arg-type]  # the annotation forgets what the documentation allows
        input_names=["image"],
        output_names=["descriptor"],
        dynamic_axes={"image": {0: "batch"}, "descriptor": {0: "batch"}},
        dynamo=False,  # its file is the same for the same weights, and it prints nothing
    )


@torch.no_grad()
def _largest_difference(model: ImageEncoder, onnx: bytes, images: np.ndarray) -> float:
    expected = _FromBytes(model)(torch.from_numpy(images)).numpy()
    session = open_session(onnx)
    return float(np.abs(np.asarray(session.run(None, {"image": images})[0]) - expected).max())
