"""A camera encoder as ONNX; it runs without torch.

bundle/
  bundle.json         besides what every bundle has: input_size, width and height of the network's input [px]
  encoder-<hash>.onnx RGB uint8 [B, H, W, 3] in, unit descriptors float32 [B, D] out
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vpr_core.errors import BundleError
from vpr_core.files import read_checked
from vpr_core.preprocess import check_image, resize_image
from vpr_core.retrieval.bundle import MADE_BY, Bundle, identity, write_bundle
from vpr_core.retrieval.light import light_of
from vpr_core.retrieval.runtime import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class CameraBundle(Bundle):
    """A camera encoder ready to run."""

    modality = "camera"
    input_keys = ("input_size",)
    session: InferenceSession
    input_size: tuple[int, int]
    """Width and height of the network's input [px]."""

    @classmethod
    def read(cls, folder: Path, manifest: dict[str, Any], device: str, threads: int) -> CameraBundle:
        session = open_session(read_checked(folder, manifest["encoder"], BundleError, MADE_BY), device, threads)
        width, height = manifest["input_size"]
        return cls(
            manifest["dim"],
            manifest["accept_similarity"],
            identity(manifest, *cls.input_keys),
            manifest["card"],
            session,
            (width, height),
        )

    def encode(self, observations: Sequence[np.ndarray]) -> np.ndarray:
        """RGB uint8 images [H, W, 3] of any size to unit descriptors float32 [B, D]; raises InputError."""
        for image in observations:
            check_image(image)
        width, height = self.input_size
        batch = np.stack([resize_image(image, height, width) for image in observations])
        (descriptors,) = self.session.run(None, {"image": batch})
        return np.asarray(descriptors)

    def light_of(self, observation: np.ndarray) -> tuple[float, ...]:
        return light_of(observation)


def write_camera_bundle(
    folder: Path,
    onnx: bytes,
    *,
    input_size: tuple[int, int],
    dim: int,
    accept_similarity: float | None,
    card: dict[str, Any],
) -> Path:
    """Write a camera bundle; an older one stays whole until everything is on the disk."""
    return write_bundle(folder, "camera", ("encoder.onnx", onnx), input={"input_size": list(input_size)}, dim=dim,
                        accept_similarity=accept_similarity, card=card)  # fmt: skip
