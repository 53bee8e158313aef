"""Local features of an image, by name: points, and what the picture looks like around each of them.

sift, akaze, orb       OpenCV's, which run everywhere; SIFT as RootSIFT (Arandjelovic and Zisserman 2012)
kornia_sift            kornia's, which brings torch
disk=FILE              kornia's DISK, with the weights of a file
superpoint=FOLDER, superglue=FOLDER, lightglue=FOLDER
                       SuperPoint of a Hugging Face model folder; the last two also bring a network that matches
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vpr_core.errors import VprError
from vpr_core.preprocess import resize_image

DEFAULT = "sift"
LONGEST_PX = 640
"""Longer side of the images that features are taken of: larger ones are reduced, smaller ones stay as they are."""
MAX_POINTS = 500
"""Features of one image, those that the detector is surest of."""
OPENCV = ("sift", "akaze", "orb")
KORNIA = ("kornia_sift", "disk")
TRANSFORMERS = ("superpoint", "superglue", "lightglue")
NAMES = (*OPENCV, *KORNIA, *TRANSFORMERS)
_WITH_WEIGHTS = ("disk", *TRANSFORMERS)


@dataclass(frozen=True)
class LocalFeatures:
    """Those of one image, the surest first."""

    size: tuple[int, int]
    """Width and height of the image that they were taken of [px]."""
    points: np.ndarray
    """float32 [K, 2]: x and y, (0, 0) the centre of the upper left pixel."""
    scores: np.ndarray
    """float [K]: how sure the detector is, on its own scale."""
    descriptors: np.ndarray
    """uint8 [K, bytes] where they are bits; uint8 or float16 [K, D] where they are numbers."""
    are_bits: bool

    def __len__(self) -> int:
        return len(self.points)


Match = Callable[[LocalFeatures, LocalFeatures], np.ndarray]
"""Features of query and candidate to int64 [M, 2], rows of either that show the same point."""


@dataclass(frozen=True)
class FeatureKind:
    """One way to take local features, ready to run."""

    name: str
    """One of NAMES."""
    detect: Callable[[np.ndarray], LocalFeatures]
    """RGB uint8 [H, W, 3] to its features."""
    match: Match | None = None
    """Its own way to find the points that two images share; None where they are mutually nearest."""
    weights: Path | None = None
    weights_hash: str = ""
    """Which weights, "" without any."""

    def of(self, image: np.ndarray, size: tuple[int, int] | None = None) -> LocalFeatures:
        """The features of an RGB uint8 image [H, W, 3], brought to `size` (width, height) [px], or as large as it is.

        In either case its longer side is LONGEST_PX at most.
        """
        width, height = reduced(size or (image.shape[1], image.shape[0]))
        return self.detect(resize_image(image, height, width))


def reduced(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the image that features are taken of, from those of the image that there is [px]."""
    share = min(1.0, LONGEST_PX / max(size))
    return max(round(size[0] * share), 1), max(round(size[1] * share), 1)


def load_features(spec: str, device: str = "cpu") -> FeatureKind:
    """A kind of features by its name, of those with weights NAME=PATH.

    device: where those with a network run. Raises VprError for an unknown name, and where weights or a library are
    absent or do not fit.
    """
    name, _, path = spec.partition("=")
    if name not in NAMES:
        raise VprError(f"features {name!r} are not known: expected one of {', '.join(map(_spelled, NAMES))}")
    if bool(path) != (name in _WITH_WEIGHTS):
        raise VprError(f"features {spec!r}: expected {_spelled(name)}")
    if path and not Path(path).exists():
        raise VprError(f"features {spec!r}: there is no {path}; expected the weights in {_spelled(name)}")
    if name in OPENCV:
        return FeatureKind(name, partial(_detect, name))
    try:
        return _load_learned(name, Path(path) if path else None, device)
    except ImportError as error:
        needed = "transformers and torch" if name in TRANSFORMERS else "kornia and torch"
        raise VprError(f"features {name} need the packages {needed} ({error}): install them, or take sift") from error


def _spelled(name: str) -> str:
    if name not in _WITH_WEIGHTS:
        return name
    return f"{name}=FILE" if name in KORNIA else f"{name}=FOLDER"


def _load_learned(name: str, path: Path | None, device: str) -> FeatureKind:
    """Imported here, since they bring torch, which a robot with features of OpenCV need not have."""
    if path is not None and name in TRANSFORMERS:
        from vpr_core.retrieval.superpoint import load_superpoint

        return load_superpoint(name, path, device)
    from vpr_core.retrieval.kornia_features import load_disk, load_kornia_sift

    return load_disk(path, device) if path is not None else load_kornia_sift(device)


def _detect(name: str, image: np.ndarray) -> LocalFeatures:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    points, descriptors = _opencv(name).detectAndCompute(grey, None)
    size = (image.shape[1], image.shape[0])
    if descriptors is None:
        return LocalFeatures(size, *_NOTHING[name])
    scores = np.array([point.response for point in points], np.float32)
    surest = np.argsort(-scores, kind="stable")[:MAX_POINTS]
    places = np.array([point.pt for point in points], np.float32)
    described = _root(descriptors[surest]) if name == "sift" else descriptors[surest]
    return LocalFeatures(size, places[surest], scores[surest], described, name != "sift")


def _root(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT: Euclidean distances of these are Hellinger distances of the histograms; 512 to the unit, as uint8."""
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1.0)
    return np.clip(np.round(np.sqrt(share) * 512), 0, 255).astype(np.uint8)


def _opencv(name: str) -> cv2.Feature2D:
    """Detectors that find something on a street at night too: their own thresholds are for contrasts of the day."""
    if name == "orb":
        return cv2.ORB.create(MAX_POINTS, fastThreshold=5)
    if name == "akaze":
        return cv2.AKAZE.create(threshold=1e-4)
    return cv2.SIFT.create(MAX_POINTS, contrastThreshold=0.01)


_NOTHING = {
    name: (np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, width), np.uint8), name != "sift")
    for name, width in (("orb", 32), ("akaze", 61), ("sift", 128))
}
"""Points, scores, descriptors and whether they are bits, of a picture that shows nothing."""
