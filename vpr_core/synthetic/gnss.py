"""What a GNSS receiver on the vehicle reports: fixes whose error wanders slowly and grows between high houses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpr_core.geodesy import GeoPoint, wgs84_from_enu
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.trajectory import Trajectory
from vpr_core.synthetic.view import View

_WANDER_S = 40.0
_WANDER_M = 0.6
"""Standard deviation of the slow error along each level axis under an open sky."""
_BLOCKED_FACTOR = 1.5
_FLICKER_M = 0.12
_UP_FACTOR = 1.8
_SKY_ELEVATIONS_RAD = np.radians((15.0, 35.0, 60.0))
_SKY_AZIMUTHS = 8


@dataclass(frozen=True)
class Gnss:
    """A single-frequency receiver and its antenna."""

    rate_hz: float = 5.0
    position_base_m: tuple[float, float, float] = (-0.4, 0.0, 1.6)


def town_origin(town_seed: int) -> GeoPoint:
    """Where on Earth the map's origin of a town lies, its x axis pointing east: 11 km from the next town's."""
    row, column = divmod(town_seed % 10_000, 100)
    return GeoPoint(45.0 + 0.1 * row, 5.0 + 0.15 * column, 120.0)


def fixes(
    gnss: Gnss,
    scene: Scene,
    trajectory: Trajectory,
    times_s: np.ndarray,
    origin: GeoPoint,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Latitude [deg], longitude [deg] and altitude [m] of the antenna at times [T], and the standard deviations east,
    north and up [m] that the receiver states; both [T, 3].

    The error is a Gauss-Markov process, correlated over about 40 s, plus a little white noise; level it is about
    1 m where the sky is open and up to 2 m where houses hide it.
    """
    antenna_m = View.origins_m(trajectory.course(times_s), gnss.position_base_m)
    factor = (1 + _BLOCKED_FACTOR * _blocked_share(scene, antenna_m))[:, None] * (1.0, 1.0, _UP_FACTOR)
    wander = _wander(times_s, rng) * _WANDER_M
    flicker = rng.normal(0, _FLICKER_M, antenna_m.shape)
    deviation_m = factor * math.hypot(_WANDER_M, _FLICKER_M)
    return wgs84_from_enu(antenna_m + factor * (wander + flicker), origin), deviation_m


def _blocked_share(scene: Scene, antenna_m: np.ndarray) -> np.ndarray:
    """Share of directions to the sky in which something stands, [T] in [0, 1]."""
    azimuth = np.arange(_SKY_AZIMUTHS) * 2 * math.pi / _SKY_AZIMUTHS
    azimuth, elevation = (grid.ravel() for grid in np.meshgrid(azimuth, _SKY_ELEVATIONS_RAD))
    level = np.cos(elevation)
    directions = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1)
    rays = np.tile(directions.astype(np.float32), (len(antenna_m), 1))
    hits = scene.cast(np.repeat(antenna_m.astype(np.float32), len(directions), axis=0), rays)
    return (hits.face >= 0).reshape(len(antenna_m), -1).mean(axis=1)


def _wander(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gauss-Markov process of unit variance along each of three axes, [T, 3]."""
    course = rng.standard_normal((len(times_s), 3))
    keep = np.exp(-np.diff(times_s) / _WANDER_S)
    for i, share in enumerate(keep, 1):
        course[i] = share * course[i - 1] + math.sqrt(1 - share**2) * course[i]
    return course
