"""The frames of several drives, numbered through, read from disk as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.pointcloud import within_range
from vpr_core.preprocess import resize_image

_AREAS_APART_M = 1e8
"""More than any two positions on Earth, in any projection, lie apart."""


class Samples:
    """Images and clouds by number over all drives. Nothing is kept, so memory does not grow with the drives."""

    def __init__(self, drives: Sequence[Frames]) -> None:
        self._drives = drives
        self._where = [(drive, index) for drive in drives for index in range(len(drive))]

    def __len__(self) -> int:
        return len(self._where)

    @cached_property
    def positions_m(self) -> np.ndarray:
        """[N, 3] in the map frame, every area moved so far along x that it has no place in common with another.

        Raises FramesError where a drive has no poses.
        """
        areas = list(dict.fromkeys(drive.area for drive in self._drives))
        apart = np.array([_AREAS_APART_M, 0.0, 0.0])
        return np.concatenate([drive.positions_m + areas.index(drive.area) * apart for drive in self._drives])

    @cached_property
    def yaws_rad(self) -> np.ndarray:
        """[N] heading of each frame in its map frame; raises FramesError where a drive has no poses."""
        _ = self.positions_m
        return np.array([pose.yaw_rad for drive, index in self._where if (pose := drive.frames[index].pose)])

    def images(self, indices: Sequence[int] | np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """RGB uint8 [B, H, W, 3] of width and height `image_size` [px]."""
        width, height = image_size
        frames = [self._where[index] for index in indices]
        return np.stack([resize_image(drive.image(index), height, width) for drive, index in frames])

    def labels(self, indices: Sequence[int] | np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Class of each pixel, uint8 [B, H, W], of the nearest pixel where the size [px] is not the frame's."""
        frames = [self._where[index] for index in indices]
        labels = (drive.label(index) for drive, index in frames)
        return np.stack([cv2.resize(label, image_size, interpolation=cv2.INTER_NEAREST) for label in labels])

    def clouds(self, indices: Sequence[int] | np.ndarray, max_range_m: float | None = None) -> list[np.ndarray]:
        """float32 [N_i, 4] each, in the LiDAR frame."""
        frames = [self._where[index] for index in indices]
        return [within_range(drive.cloud(index), max_range_m) for drive, index in frames]
