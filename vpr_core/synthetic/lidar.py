"""A spinning LiDAR and the sweeps that it takes of a scene."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vpr_core.synthetic.conditions import Condition
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


@dataclass(frozen=True)
class Lidar:
    """Spinning LiDAR. Its frame: x forward, y left, z up."""

    beams: int = 32
    columns: int = 512
    lowest_rad: float = math.radians(-25)
    highest_rad: float = math.radians(15)
    range_m: float = 80.0
    noise_m: float = 0.02
    position_base_m: tuple[float, float, float] = (0.0, 0.0, 1.9)

    @cached_property
    def rays(self) -> np.ndarray:
        """[columns * beams, 3] float32 unit directions in the LiDAR's frame, column by column."""
        azimuth = -np.arange(self.columns) * 2 * math.pi / self.columns
        elevation = np.linspace(self.lowest_rad, self.highest_rad, self.beams)
        azimuth, elevation = (grid.ravel() for grid in np.meshgrid(azimuth, elevation, indexing="ij"))
        level = np.cos(elevation)
        return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1).astype(
            np.float32
        )


def scan(
    lidar: Lidar, scene: Scene, pose: Pose, condition: Condition, rng: np.random.Generator | None = None
) -> np.ndarray:
    """One sweep taken at once: float32 [N, 4] of x, y, z [m] in the LiDAR's frame and intensity in [0, 255].

    Beams that meet nothing within range give no point. Without `rng` there is no noise.
    """
    view = View.of(pose, lidar.position_base_m)
    rays = view.rays(lidar.rays)
    hits = scene.cast(view.origin_m, rays)
    reach = np.full(len(rays), lidar.range_m * condition.lidar_range_share, np.float32)
    noise = np.zeros(len(rays), np.float32)
    if rng is not None:
        noise = rng.normal(0, lidar.noise_m, len(rays)).astype(np.float32)
        reach *= 1 - (1 - condition.lidar_range_share) * rng.random(len(rays), np.float32)
    kept = np.nonzero(hits.distance_m < reach)[0]
    distance = hits.distance_m[kept] + noise[kept]
    intensity = _intensity(scene, hits.face[kept], rays[kept], distance)
    return np.column_stack([lidar.rays[kept] * distance[:, None], intensity]).astype(np.float32)


def _intensity(scene: Scene, face: np.ndarray, rays: np.ndarray, distance: np.ndarray) -> np.ndarray:
    reflectivity = np.array([_REFLECTIVITY[material] for material in Material], np.float32)[scene.material[face]]
    bright = scene.colour[face].mean(axis=1)
    facing = np.abs(dot(scene.normals[face], rays))
    return 255 * np.clip(reflectivity * (0.6 + bright) * facing / (1 + distance / 60), 0, 1)
