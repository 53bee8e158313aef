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
    """make(name, x_m, map_frame="map"): a drive along x with a frame at each of these positions."""

    def make(name: str, x_m: Sequence[float], map_frame: str = "map") -> Frames:
        card = {"session": name, "map_frame": map_frame, "image_size": None}
        frames = (Frame(i, i, None, pose=Pose((float(x), 0.0, 0.0))) for i, x in enumerate(x_m))
        return Frames(Path(name), card, tuple(frames))

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
