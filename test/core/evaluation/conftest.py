"""Drives without pictures: positions alone, and a method whose descriptor is an angle given by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.evaluation.comparison import Drives, evaluate_method
from vpr_core.evaluation.methods import Method
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


PLACES = np.arange(40) * 20.0
RowsOf = Callable[[Method, Drives, tuple[str, ...]], list[dict[str, object]]]


@pytest.fixture
def drives(make_drive: MakeDrive) -> Drives:
    """A map of 40 places, a drive over them in reverse that leaves the map, and one over some of them."""
    night = make_drive("night", [*PLACES[::-1], 5000.0], yaw_deg=[180.0] * 20 + [0.0] * 21)
    return Drives(make_drive("map", PLACES), (night, make_drive("fog", PLACES[5:20])))


def _noisy(drive: Frames) -> np.ndarray:
    """Raw descriptors of any length that are often right."""
    rng = np.random.default_rng(len(drive))
    angles = drive.positions_m[:, 0] / 500 + rng.normal(0, 0.03, len(drive))
    lengths = rng.uniform(0.5, 1.5, len(drive))
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None]).astype(np.float32)


def _rows_of(method: Method, drives: Drives, metrics: tuple[str, ...]) -> list[dict[str, object]]:
    found = evaluate_method(method, drives, 10.0, metrics).evaluations
    return [{name: value for name, value in evaluation.row().items() if name != "method"} for evaluation in found]


@pytest.fixture
def noisy() -> Callable[[Frames], np.ndarray]:
    """A method whose raw descriptors, of any length, are often right."""
    return _noisy


@pytest.fixture
def rows_of() -> RowsOf:
    """rows_of(method, drives, metrics): its rows without its name."""
    return _rows_of
