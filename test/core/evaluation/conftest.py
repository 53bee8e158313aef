"""Drives without pictures: positions alone, and a method whose descriptor is an angle given by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.types import Pose

MakeDrive = Callable[..., Frames]


@pytest.fixture
def make_drive() -> MakeDrive:
    """make(name, x_m, map_frame="map", yaw_deg=None): a drive along x with a frame at each of these positions.

    yaw_deg: heading of each frame; where there is none, all have the same orientation.
    """

    def make(name: str, x_m: Sequence[float], map_frame: str = "map", yaw_deg: Sequence[float] | None = None) -> Frames:
        card = {"session": name, "map_frame": map_frame, "image_size": None}
        yaw_rad = np.radians(np.zeros(len(x_m)) if yaw_deg is None else yaw_deg)
        poses = [Pose.from_xy_yaw(float(x), 0.0, float(yaw)) for x, yaw in zip(x_m, yaw_rad, strict=True)]
        return Frames(Path(name), card, tuple(Frame(i, i, None, pose=pose) for i, pose in enumerate(poses)))

    return make


def by_angle(angles_deg: dict[str, Sequence[float]]) -> Callable[[Frames], np.ndarray]:
    """A method that describes frame i of a drive by the i-th angle given for it."""

    def describe(drive: Frames) -> np.ndarray:
        radians = np.radians(angles_deg[drive.session])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)

    return describe


@pytest.fixture
def angles() -> Callable[[dict[str, Sequence[float]]], Callable[[Frames], np.ndarray]]:
    return by_angle
