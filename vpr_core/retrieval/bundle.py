"""What a robot loads: an exported encoder with everything needed to feed it, and its model card.

bundle/
  bundle.json         schema, modality, input size, descriptor width, acceptance threshold, card
  encoder-<hash>.onnx RGB uint8 [B, H, W, 3] in, unit descriptors float32 [B, D] out; runs without torch
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vpr_core.errors import BundleError
from vpr_core.files import commit, read_checked, read_manifest, sha256_json
from vpr_core.preprocess import check_image, resize_image
from vpr_core.retrieval.runtime import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SCHEMA = 1
MANIFEST = "bundle.json"
MADE_BY = "vpr-distill export"


@dataclass(frozen=True)
class Bundle:
    """A camera encoder ready to run."""

    session: InferenceSession
    input_size: tuple[int, int]
    """Width and height of the network's input [px]."""
    dim: int
    accept_similarity: float | None
    """Similarity from which a match is accepted, chosen on validation drives; None where there were none."""
    hash: str
    """Identity: two bundles with the same hash give the same descriptors."""
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", threads: int = 0) -> Bundle:
        """Read a bundle folder; `threads` 0 lets ONNX Runtime choose.

        Raises BundleError where the folder is absent or damaged, or this machine cannot run it on `device`.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, MANIFEST, SCHEMA, BundleError, MADE_BY)
        if manifest["modality"] != "camera":
            raise BundleError(f"{folder} is a {manifest['modality']} bundle, this version runs camera bundles")
        session = open_session(read_checked(folder, manifest["encoder"], BundleError, MADE_BY), device, threads)
        width, height = manifest["input_size"]
        return cls(session, (width, height), manifest["dim"], manifest["accept_similarity"], _hash(manifest),
                   manifest["card"])  # fmt: skip

    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        """RGB uint8 images [H, W, 3] of any size to unit descriptors float32 [B, D]; raises InputError."""
        for image in images:
            check_image(image)
        width, height = self.input_size
        batch = np.stack([resize_image(image, height, width) for image in images])
        (descriptors,) = self.session.run(None, {"image": batch})
        return np.asarray(descriptors)


def write_bundle(
    folder: Path,
    onnx: bytes,
    *,
    input_size: tuple[int, int],
    dim: int,
    accept_similarity: float | None,
    card: dict[str, Any],
) -> Path:
    """Write a camera bundle; an older one stays whole until everything is on the disk."""

    def manifest(stored: dict[str, str]) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "modality": "camera",
            "encoder": stored["encoder.onnx"],
            "input_size": list(input_size),
            "dim": dim,
            "accept_similarity": accept_similarity,
            "card": card,
        }

    commit(folder, MANIFEST, {"encoder.onnx": onnx}, manifest)
    return folder


def _hash(manifest: dict[str, Any]) -> str:
    return sha256_json([manifest[key] for key in ("modality", "encoder", "input_size", "dim")])[:16]
