"""kornia's local features; the one place that imports them, and torch with them."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from kornia.feature import DISK, SIFTFeature

from vpr_core.errors import VprError
from vpr_core.files import sha256_bytes
from vpr_core.retrieval.local_features import MAX_POINTS, FeatureKind, LocalFeatures


def load_kornia_sift(device: str = "cpu") -> FeatureKind:
    """SIFT with RootSIFT descriptors; it has no weights."""
    detector = SIFTFeature(MAX_POINTS, rootsift=True, device=torch.device(device)).eval()
    return FeatureKind("kornia_sift", partial(_sift, detector, device))


def load_disk(weights: Path, device: str = "cpu") -> FeatureKind:
    """DISK (Tyszkiewicz et al. 2020) with the weights of a file: a state dict, or one under the key `extractor`.

    Raises VprError where the file holds something else.
    """
    network = DISK()
    try:
        stored = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(stored.get("extractor", stored))
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise VprError(
            f"{weights} holds no weights of DISK ({str(error).strip().splitlines()[0]}): expected the file that "
            "kornia's DISK.from_pretrained fetches, or a state dict of kornia.feature.DISK"
        ) from error
    run = partial(_disk, network.to(device).eval(), device)
    return FeatureKind("disk", run, weights=weights, weights_hash=sha256_bytes(weights.read_bytes())[:16])


def _sift(detector: SIFTFeature, device: str, image: np.ndarray) -> LocalFeatures:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    with torch.inference_mode():
        frames, scores, descriptors = detector(torch.from_numpy(grey)[None, None].to(device))
    found = scores[0] > 0  # the rest fills up the number asked for
    return from_tensors(image, frames[0, found, :, 2], scores[0, found], descriptors[0, found])


def _disk(network: DISK, device: str, image: np.ndarray) -> LocalFeatures:
    given = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device).float() / 255
    with torch.inference_mode():
        found = network(given, n=MAX_POINTS, pad_if_not_divisible=True)[0]
    return from_tensors(image, found.keypoints, found.detection_scores, found.descriptors)


def from_tensors(
    image: np.ndarray, points: torch.Tensor, scores: torch.Tensor, descriptors: torch.Tensor
) -> LocalFeatures:
    """Features of an image from points [K, 2] (px), scores [K] and descriptors [K, D] of a network."""
    surest = scores.argsort(descending=True, stable=True)[:MAX_POINTS]
    given = (tensor[surest].float().cpu().numpy() for tensor in (points, scores, descriptors))
    places, sure, described = given
    size = (image.shape[1], image.shape[0])
    return LocalFeatures(size, places, sure, described.astype(np.float16), are_bits=False)
