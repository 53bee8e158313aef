"""SuperPoint, with SuperGlue or LightGlue, of a Hugging Face model folder; brings torch and transformers.

The folder is one that `save_pretrained` writes: of SuperPointForKeypointDetection for `superpoint`, of
SuperGlueForKeypointMatching or LightGlueForKeypointMatching, which hold a SuperPoint, for the others.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForKeypointDetection, AutoModelForKeypointMatching
from transformers.utils import logging

from vpr_core.errors import VprError
from vpr_core.files import sha256_bytes, sha256_json
from vpr_core.retrieval.kornia_features import from_tensors
from vpr_core.retrieval.local_features import FeatureKind, LocalFeatures


def load_superpoint(name: str, folder: Path, device: str = "cpu") -> FeatureKind:
    """The network of a folder, which is never looked for elsewhere.

    name: "superpoint", whose descriptors are matched where they are mutually nearest, "superglue" or "lightglue".
    Raises VprError where the folder holds another network, or lacks weights.
    """
    network = _read(name, folder).to(device).eval()
    match = None
    detector = network
    if name != "superpoint":
        detector, network.keypoint_detector = network.keypoint_detector, _Stored()
        match = partial(_match, network, device)
    return FeatureKind(name, partial(_detect, detector, device), match, folder, _hash_of(folder))


def _read(name: str, folder: Path) -> Any:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    kind = AutoModelForKeypointDetection if name == "superpoint" else AutoModelForKeypointMatching
    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if found != name:
            raise VprError(f"{folder} holds {found}, expected {name}")
        network, told = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise VprError(
            f"{name} cannot be loaded from {folder} ({str(error).strip().splitlines()[0]}): expected a folder of a "
            f"Hugging Face model of that kind, with config.json and its weights"
        ) from error
    if absent := sorted(told["missing_keys"]):
        raise VprError(f"{folder} lacks weights of {name}, {absent[0]} and {len(absent) - 1} others")
    return network


def _detect(detector: Any, device: str, image: np.ndarray) -> LocalFeatures:
    """As SuperPoint's image processor prepares it, but as large as it comes: grey, from 0 to 1, in three channels."""
    grey = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).to(device).float() / 255
    with torch.inference_mode():
        found = detector(grey.expand(1, 3, -1, -1))
    size = torch.tensor([image.shape[1], image.shape[0]], device=device)
    return from_tensors(image, found.keypoints[0] * size, found.scores[0], found.descriptors[0])


class _Stored(torch.nn.Module):
    """In place of the detector of a matching network: hands it what was detected before."""

    given: tuple[torch.Tensor, ...] = ()

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Keypoints [2, K, 2] as shares of the image's size, scores, descriptors, and 1 where there is a keypoint."""
        return self.given


def _match(network: Any, device: str, query: LocalFeatures, candidate: LocalFeatures) -> np.ndarray:
    """int64 [M, 2]: rows that the network takes for the same point."""
    if not len(query) or not len(candidate):
        return np.empty((0, 2), np.int64)
    both = (query, candidate)
    most = max(map(len, both))
    arrays = zip(*(_padded(features, most) for features in both), strict=True)
    network.keypoint_detector.given = tuple(torch.from_numpy(np.stack(pair)).to(device) for pair in arrays)
    width, height = candidate.size
    with torch.inference_mode():
        # Of the pixels the network itself takes nothing but the image's size.
        found = network(torch.zeros((), device=device).expand(1, 2, 3, height, width)).matches[0, 0].cpu().numpy()
    rows = np.flatnonzero(found[: len(query)] >= 0)
    return np.stack([rows, found[rows]], axis=1).astype(np.int64)


def _padded(features: LocalFeatures, length: int) -> tuple[np.ndarray, ...]:
    """Keypoints, scores, descriptors and mask of one image, with rows of zeros to that length."""
    columns = (features.points / np.array(features.size, np.float32), features.scores, features.descriptors)
    more = length - len(features)
    padded = [np.pad(column.astype(np.float32), [(0, more)] + [(0, 0)] * (column.ndim - 1)) for column in columns]
    return (*padded, (np.arange(length) < len(features)).astype(np.int32))


def _hash_of(folder: Path) -> str:
    weights = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    return sha256_json([sha256_bytes(path.read_bytes()) for path in weights])[:16]
