"""A made-up map whose places look alike the nearer they are, and drives through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from vpr_core.retrieval.calibrating import ValidationDrive
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

STEP_M = 2.0
WIDTH = 64


@dataclass(frozen=True)
class World:
    """Places along a circle, with a look of each that changes slowly along the way."""

    place_map: PlaceMap
    looks: np.ndarray

    def drive(self, noise: float, seed: int, every: int = 1) -> ValidationDrive:
        """Past every place, each seen with noise of a length of its own."""
        rng = np.random.default_rng([1, seed])
        rows = np.arange(0, len(self.looks), every)
        strength = noise * rng.uniform(0.2, 1.8, (len(rows), 1))
        seen = self.looks[rows] + strength * unit(rng.normal(size=(len(rows), WIDTH)))
        positions = np.array([place.pose.position_m for place in self.place_map.places if place.pose])[rows]
        return ValidationDrive(unit(seen).astype(np.float32), positions + rng.normal(0, 0.3, positions.shape))

    def elsewhere(self, count: int, seed: int) -> ValidationDrive:
        """Through another town, whose looks are drawn as these are."""
        return ValidationDrive(slow_looks(count, np.random.default_rng([2, seed])), None)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_looks(count: int, rng: np.random.Generator, over: int = 5) -> np.ndarray:
    steps = rng.normal(size=(count + over, WIDTH))
    return unit(np.stack([steps[i : i + over].sum(axis=0) for i in range(count)])).astype(np.float32)


def build_world(count: int = 300, seed: int = 0, with_poses: bool = True) -> World:
    looks = slow_looks(count, np.random.default_rng([3, seed]))
    radius_m = count * STEP_M / (2 * np.pi)
    angles = 2 * np.pi * np.arange(count) / count
    poses = [Pose.from_xy_yaw(radius_m * np.cos(a), radius_m * np.sin(a), a + np.pi / 2) for a in angles]
    places = tuple(Place("noon", i, pose if with_poses else None) for i, pose in enumerate(poses))
    return World(PlaceMap(looks, places, "model", "map" if with_poses else "", "lidar", None, "hash"), looks)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    return build_world


@pytest.fixture(scope="session")
def world() -> World:
    return build_world()
