"""How a camera projects: intrinsics and distortion as sensor_msgs/CameraInfo has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from vpr_core.errors import InputError

PLUMB_BOB, RATIONAL, EQUIDISTANT = DISTORTION_MODELS = ("plumb_bob", "rational_polynomial", "equidistant")
"""The last is cv2.fisheye's. Further names for it and for no distortion are in `_ALSO`."""
_ALSO = {"": PLUMB_BOB, "none": PLUMB_BOB, "radtan": PLUMB_BOB, "rational": RATIONAL, "fisheye": EQUIDISTANT}
_COEFFICIENTS = {PLUMB_BOB: (0, 4, 5), RATIONAL: (0, 4, 5, 8, 12, 14), EQUIDISTANT: (0, 4)}


@dataclass(frozen=True)
class CameraModel:
    """Optical frame: x right, y down, z forward. (0, 0) is the centre of the upper left pixel."""

    K: tuple[float, ...]
    """9 numbers, row by row."""
    D: tuple[float, ...]
    width: int
    height: int
    distortion_model: str = PLUMB_BOB
    """One of DISTORTION_MODELS."""

    @classmethod
    def of(cls, about: Mapping[str, Any], source: str) -> CameraModel:
        """Of K, D, width, height and distortion_model, as a frames folder's card has them.

        source: where they came from, for errors. Raises InputError (kind "camera_info") where they are no camera's.
        """
        named = str(about.get("distortion_model", ""))
        model = _ALSO.get(named, named)
        if model not in DISTORTION_MODELS:
            known = ", ".join(DISTORTION_MODELS)
            raise _refused(f"{source} has the distortion model {named!r}, expected one of {known}")
        try:
            K, D = (tuple(float(number) for number in about[name]) for name in ("K", "D"))
            width, height = int(about["width"]), int(about["height"])
        except (KeyError, TypeError, ValueError) as error:
            raise _refused(
                f"{source} is no camera's calibration ({error!r}): expected K, D, width and height"
            ) from error
        camera = cls(K, D, width, height, model)
        camera._check(source)
        return camera

    @classmethod
    def from_file(cls, path: str | Path) -> CameraModel:
        """Of the YAML that ROS's camera_calibration writes; raises InputError where it is none."""
        try:
            read = yaml.safe_load(Path(path).read_text())
            about = {
                "K": read["camera_matrix"]["data"],
                "D": read["distortion_coefficients"]["data"],
                "width": read["image_width"],
                "height": read["image_height"],
                "distortion_model": read.get("distortion_model", ""),
            }
        except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise _refused(
                f"{path} is no camera's calibration file ({error!r}): expected what ROS's camera_calibration writes, "
                "with image_width, image_height, camera_matrix and distortion_coefficients"
            ) from error
        return cls.of(about, str(path))

    def _check(self, source: str) -> None:
        if len(self.K) != 9 or not all(map(math.isfinite, (*self.K, *self.D))) or min(self.K[0], self.K[4]) <= 0:
            raise _refused(f"{source} has K {list(self.K)}: the camera is not calibrated, expected 9 numbers of which "
                           "the focal lengths (the first and the fifth) are positive")  # fmt: skip
        if len(self.D) not in _COEFFICIENTS[self.distortion_model]:
            expected = " or ".join(map(str, _COEFFICIENTS[self.distortion_model]))
            raise _refused(f"{source} has {len(self.D)} coefficients, {self.distortion_model} has {expected}")
        if min(self.width, self.height) < 1:
            raise _refused(f"{source} is of images of {self.width}x{self.height}, expected their width and height")

    def check_size(self, size: Sequence[int], source: str) -> None:
        """Raise InputError (kind "camera_info") unless images are as large [px] as those that this is of."""
        if (self.width, self.height) != tuple(size):
            raise _refused(f"{source} is of images of {self.width}x{self.height}, they are {size[0]}x{size[1]}: give "
                           "the calibration of the images as they are sent, without binning or region")  # fmt: skip

    @property
    def card(self) -> dict[str, Any]:
        """As `of` takes it."""
        return {"K": list(self.K), "D": list(self.D), "width": self.width, "height": self.height,
                "distortion_model": self.distortion_model}  # fmt: skip

    def focal_px(self, size: Sequence[float]) -> float:
        """Mean focal length of its images brought to another width and height [px]."""
        return (self.K[0] * size[0] / self.width + self.K[4] * size[1] / self.height) / 2

    def rays(self, points: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Where points [N, 2] [px] of its images, brought to `size` (width, height), look: [N, 2] x / z and y / z.

        In the optical frame. NaN where the distortion leads to no ray before the camera.
        """
        if not len(points):
            return np.empty((0, 2))
        scale = np.array([self.width, self.height]) / np.asarray(size, np.float64)
        seen = ((points.astype(np.float64) + 0.5) * scale - 0.5).reshape(-1, 1, 2)
        matrix, D = np.array(self.K).reshape(3, 3), np.array(self.D, np.float64)
        if self.distortion_model == EQUIDISTANT:
            rays = cv2.fisheye.undistortPoints(seen, matrix, D if len(D) else np.zeros(4)).reshape(-1, 2)
        else:
            steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
            rays = cv2.undistortPointsIter(seen, matrix, D, np.eye(3), np.eye(3), steps).reshape(-1, 2)
        rays[~(np.abs(self.pixels(rays) - seen.reshape(-1, 2)) < 0.5).all(axis=1)] = np.nan
        return rays

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """Where rays [N, 2] (x / z, y / z) meet the image, [N, 2] [px]."""
        matrix, D = np.array(self.K).reshape(3, 3), np.array(self.D, np.float64)
        if self.distortion_model == EQUIDISTANT:
            there = cv2.fisheye.distortPoints(rays.reshape(-1, 1, 2), matrix, D if len(D) else np.zeros(4))
            return np.asarray(there).reshape(-1, 2)
        ahead = np.column_stack([rays, np.ones(len(rays))])
        return np.asarray(cv2.projectPoints(ahead, np.zeros(3), np.zeros(3), matrix, D)[0]).reshape(-1, 2)


def _refused(text: str) -> InputError:
    return InputError(text, kind="camera_info")
