"""A spinning LiDAR and the sweeps that it takes of a scene from a moving vehicle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.leaves import cast
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.texture import dot
from vpr_core.synthetic.view import View
from vpr_core.types import Pose

_REFLECTIVITY = {
    Material.GROUND: 0.18,
    Material.WALL: 0.45,
    Material.ROOF: 0.3,
    Material.LEAVES: 0.35,
    Material.PLAIN: 0.3,
    Material.PAINT: 0.5,
    Material.GLASS: 0.08,
    Material.LAMP: 0.4,
    Material.SIGN: 1.0,
    Material.REFLECTOR: 1.0,
    Material.EVERGREEN: 0.35,
}

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("time", "<f4")])
"""One point as it lies in a PointCloud2: 22 bytes, without padding."""

# Drops and fog return a beam where it is still bright and narrow: most within a few metres, faintly.
_DROPS_FROM_M = 0.8
_DROPS_DEPTH_M = 3.0
_DROP_INTENSITY = 12.0


@dataclass(frozen=True)
class Lidar:
    """Spinning LiDAR. Its frame: x forward, y left, z up. Each turn begins at the back and goes clockwise seen from
    above, so that what a forward-looking camera sees is swept in the middle of it."""

    beams: int = 32
    columns: int = 1024
    """Shots of all beams in one turn."""
    rotation_hz: float = 10.0
    lowest_rad: float = math.radians(-25)
    highest_rad: float = math.radians(15)
    range_m: float = 80.0
    noise_m: float = 0.02
    position_base_m: tuple[float, float, float] = (0.0, 0.0, 1.9)

    @cached_property
    def rays(self) -> np.ndarray:
        """[columns * beams, 3] float32 unit directions in the LiDAR's frame: column by column in the order of time,
        each from the lowest beam (ring 0) to the highest."""
        azimuth = math.pi - np.arange(self.columns) * 2 * math.pi / self.columns
        elevation = np.linspace(self.lowest_rad, self.highest_rad, self.beams)
        azimuth, elevation = (grid.ravel() for grid in np.meshgrid(azimuth, elevation, indexing="ij"))
        level = np.cos(elevation)
        return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1).astype(
            np.float32
        )

    @cached_property
    def column_times_s(self) -> np.ndarray:
        """[columns] float64: when each column is shot, after the beginning of the sweep."""
        return np.arange(self.columns) / (self.columns * self.rotation_hz)

    @property
    def sweep_s(self) -> float:
        return 1 / self.rotation_hz


def scan(
    lidar: Lidar,
    scene: Scene,
    course: Pose | np.ndarray,
    condition: Condition,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """One sweep, structured [N] of POINT, its points in the order of time.

    course: where the vehicle is on the flat ground (T_map_base): one pose where it stands still, or [columns, 3]
    x [m], y [m] and yaw [rad] at `lidar.column_times_s`.

    x, y, z [m] lie in the LiDAR's frame as it was when the point was shot: as a real driver's, the cloud of a moving
    vehicle is not compensated for its motion. intensity: [0, 255]; ring: beam, 0 the lowest; time [s] after the
    beginning of the sweep.

    Beams that meet nothing within range give no point. Rain, snow and fog shorten the range. With `rng` they also make
    it noisier, lose returns, the more the farther they come from, and give some beams an early return from a drop
    near the sensor. Without `rng` there is none of that and no noise.
    """
    origins_m, rays = _shots(lidar, course)
    hits = cast(scene, origins_m, rays, condition).hits
    distance, intensity = hits.distance_m, np.zeros(len(rays), np.float32)
    met = hits.face >= 0
    intensity[met] = _intensity(scene, hits.face[met], rays[met], distance[met])
    reach = lidar.range_m * condition.lidar_range_share
    kept = np.nonzero(distance < reach)[0] if rng is None else _weathered(lidar, condition, rng, distance, intensity)
    return _points(lidar, kept, distance[kept], intensity[kept])


def _weathered(
    lidar: Lidar, condition: Condition, rng: np.random.Generator, distance: np.ndarray, intensity: np.ndarray
) -> np.ndarray:
    """The rays that give a point, by their number; alters their distances and intensities, both [N], in place."""
    count, reach = len(distance), np.float32(lidar.range_m * condition.lidar_range_share)
    # Always the same draws, so that one seed gives one noise in every weather.
    noise = rng.standard_normal(count, np.float32)
    weaker, lost, early, echo = rng.random((4, count), np.float32)
    depth = np.float32(_DROPS_FROM_M) - np.float32(_DROPS_DEPTH_M) * np.log1p(-echo)
    seen = distance < reach * (1 - np.float32(1 - condition.lidar_range_share) * weaker)
    seen &= lost >= np.float32(condition.lidar_drop_share) * np.minimum(distance, reach) / reach
    drops = (early < condition.lidar_backscatter_share) & (depth < distance)
    distance += noise * np.float32(lidar.noise_m * condition.lidar_noise_factor)
    distance[drops] = depth[drops]
    intensity[drops] = _DROP_INTENSITY * echo[drops]
    return np.nonzero(seen | drops)[0]


def _shots(lidar: Lidar, course: Pose | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins and unit directions [columns * beams, 3] float32 of all rays of a sweep in the map frame."""
    if isinstance(course, Pose):
        course = np.array([(*course.position_m[:2], course.yaw_rad)])
    course = np.broadcast_to(course, (lidar.columns, 3))
    origins_m = View.origins_m(course, lidar.position_base_m)
    yaw = course[:, 2]
    cos, sin = (np.repeat(values.astype(np.float32), lidar.beams) for values in (np.cos(yaw), np.sin(yaw)))
    forward, left, height = lidar.rays.T
    rays = np.stack([cos * forward - sin * left, sin * forward + cos * left, height], axis=1)
    return np.repeat(origins_m.astype(np.float32), lidar.beams, axis=0), rays


def _points(lidar: Lidar, kept: np.ndarray, distance: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """The points of these rays, given by their number in the sweep."""
    points = np.empty(len(kept), POINT)
    column, ring = np.divmod(kept, lidar.beams)
    points["x"], points["y"], points["z"] = (lidar.rays[kept] * distance[:, None]).T
    points["intensity"], points["ring"], points["time"] = intensity, ring, lidar.column_times_s[column]
    return points


def _intensity(scene: Scene, face: np.ndarray, rays: np.ndarray, distance: np.ndarray) -> np.ndarray:
    reflectivity = np.array([_REFLECTIVITY[material] for material in Material], np.float32)[scene.material[face]]
    bright = scene.colour[face].mean(axis=1)
    facing = np.abs(dot(scene.normals[face], rays))
    return 255 * np.clip(reflectivity * (0.6 + bright) * facing / (1 + distance / 60), 0, 1)
