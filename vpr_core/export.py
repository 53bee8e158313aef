"""From a checkpoint to a bundle, compared with the checkpoint's network on real frames before it is written."""

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
from vpr_core.preprocess import resize_image
from vpr_core.retrieval.camera_bundle import write_camera_bundle
from vpr_core.retrieval.lidar_bundle import LidarEncoder, load_network, write_lidar_bundle
from vpr_core.retrieval.runtime import open_session
from vpr_core.training.checkpoint import Checkpoint, load_checkpoint
from vpr_core.training.network_input import NetworkInput

PARITY = 1e-4
"""Largest difference of a descriptor's element between the checkpoint's network and the bundle's that is let pass."""


def export(checkpoint: str | Path, frames: str | Path, out: str | Path, compare: int = 16) -> Path:
    """Write the bundle folder `out` from a checkpoint folder.

    `compare` images or clouds of the drive in `frames` go through the checkpoint's network and through what is to be
    written; where their descriptors differ by more than PARITY, BundleError is raised and nothing is written.
    """
    return export_network(load_checkpoint(checkpoint), frames, out, compare)


def export_network(loaded: Checkpoint, frames: str | Path, out: str | Path, compare: int = 16) -> Path:
    """Like `export`, for a checkpoint that was loaded."""
    drive = Frames.load(frames)
    chosen = [int(index) for index in np.linspace(0, len(drive) - 1, min(compare, len(drive)))]
    if loaded.modality == "camera":
        return _export_camera(loaded, drive, chosen, Path(out))
    if loaded.modality == "lidar":
        return _export_lidar(loaded, drive, chosen, Path(out))
    raise BundleError(
        f"the checkpoint's network is a {loaded.modality} one: a robot runs a camera or a lidar network, "
        "so distil a student from it and export that"
    )


def _export_camera(loaded: Checkpoint, drive: Frames, chosen: list[int], out: Path) -> Path:
    width, height = loaded.input["image_size"]
    images = np.stack([resize_image(drive.image(index), height, width) for index in chosen])
    onnx = to_onnx(loaded.model, images[:1])
    with torch.no_grad():
        expected = _FromBytes(loaded.model)(torch.from_numpy(images)).numpy()
    (descriptors,) = open_session(onnx).run(None, {"image": images})
    card = {"model": loaded.spec, "parity": _parity("ONNX differs from torch", expected, np.asarray(descriptors))}
    return write_camera_bundle(
        out, onnx, input_size=(width, height), dim=expected.shape[1], **_acceptance_and_card(loaded, card)
    )


def _export_lidar(loaded: Checkpoint, drive: Frames, chosen: list[int], out: Path) -> Path:
    weights = io.BytesIO()
    torch.save(loaded.model.state_dict(), weights)
    fed = NetworkInput.from_json(loaded.modality, loaded.input)
    again = load_network(loaded.spec, weights.getvalue())
    clouds = [drive.cloud(index) for index in chosen]
    expected, descriptors = (
        LidarEncoder(model, fed.voxel_size_m, fed.max_range_m, grid=fed.grid).encode(clouds)
        for model in (loaded.model, again)
    )
    card = {"parity": _parity("the reloaded network differs from the checkpoint's", expected, descriptors)}
    return write_lidar_bundle(
        out, weights.getvalue(), model=loaded.spec, voxel_size_m=fed.voxel_size_m, max_range_m=fed.max_range_m,
        grid=fed.grid, dim=expected.shape[1], **_acceptance_and_card(loaded, card),
    )  # fmt: skip


def _parity(what: str, expected: np.ndarray, descriptors: np.ndarray) -> dict[str, Any]:
    """What the card says of the comparison; raises BundleError where the descriptors [B, D] differ too much."""
    difference = float(np.abs(descriptors - expected).max())
    if not difference <= PARITY:
        raise BundleError(f"{what} by {difference:.1e} on {len(expected)} frames, allowed is {PARITY:g}")
    return {"frames": len(expected), "largest_difference": float(f"{difference:.2g}")}


def _acceptance_and_card(loaded: Checkpoint, card: dict[str, Any]) -> dict[str, Any]:
    """What both kinds of bundle take from the checkpoint's card, with further entries of their own."""
    return {
        "accept_similarity": loaded.card.get("acceptance", {}).get("similarity"),
        "card": {**loaded.card, **card},
    }


class _FromBytes(nn.Module):
    """The network as the robot calls it: RGB uint8 [B, H, W, 3] in, unit descriptors [B, D] out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.model(image.permute(0, 3, 1, 2).float() / 255))


def to_onnx(model: nn.Module, example: np.ndarray) -> bytes:
    """The ONNX file of `model` for images of the example's size (uint8 [1, H, W, 3]) in batches of any length."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as they are on the robot; tracing warns of each
        _trace(model, example, buffer)
    return buffer.getvalue()


def _trace(model: nn.Module, example: np.ndarray, buffer: io.BytesIO) -> None:
    torch.onnx.export(
        _FromBytes(model).eval(),
        (torch.from_numpy(example),),
        buffer,  # type: ignore[arg-type]  # the annotation forgets what the documentation allows
        input_names=["image"],
        output_names=["descriptor"],
        dynamic_axes={"image": {0: "batch"}, "descriptor": {0: "batch"}},
        dynamo=False,  # its file is the same for the same weights, and it prints nothing
    )
