"""A cloud made ready for registration: thinned, with normals and trees, fine and coarse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import small_gicp

from vpr_core.data.pointcloud import usable_points
from vpr_core.retrieval import birds_eye

UPRIGHT_NORMAL_Z = 0.7
"""A point whose normal is less steep than this is of something upright: a wall, a pole, a car, a trunk. Roads fit roads
everywhere and say nothing of the place."""
NORMAL_NEIGHBOURS = 10
COARSE_VOXEL_M = 1.0
_COMPANY = 3
"""A point with fewer others around it is a drop, a flake or a bird, and is left out."""
_COMPANY_M = 0.6
_COMPANY_PER_M = 0.03
"""How far around: more by this for each metre from the sensor, where beams lie farther apart."""


@dataclass(frozen=True)
class Level:
    """Points with their neighbourhoods, as small_gicp takes them."""

    cloud: small_gicp.PointCloud
    tree: small_gicp.KdTree
    points: np.ndarray
    """float64 [N, 3]."""
    normals: np.ndarray
    """float64 [N, 3], unit length; zero where a point stands alone."""

    @cached_property
    def _upright(self) -> np.ndarray:
        return np.abs(self.normals[:, 2]) < UPRIGHT_NORMAL_Z

    @cached_property
    def upright(self) -> np.ndarray:
        """Points [U, 3] of what stands upright."""
        return self.points[self._upright]

    @cached_property
    def upright_normals(self) -> np.ndarray:
        """Their normals [U, 3]."""
        return self.normals[self._upright]

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of points [M, 3] the rows of their nearest neighbours int64 [M] and their distances [M] in metres."""
        if not len(points):
            return np.empty(0, np.int64), np.empty(0)
        rows, squares = self.tree.batch_knn_search(points, 1)
        return rows[:, 0].astype(np.int64), np.sqrt(squares[:, 0])


@dataclass(frozen=True)
class Surface:
    """What a LiDAR saw from one place, in the frame of the vehicle (x forward, y left, z up)."""

    fine: Level
    coarse: Level
    sensor_m: np.ndarray
    """Where the LiDAR was in that frame [3]."""

    def __len__(self) -> int:
        return len(self.fine.points)

    @cached_property
    def place_spectrum(self) -> np.ndarray:
        return birds_eye.place_spectrum(self.fine.upright)

    @cached_property
    def query_spectra(self) -> np.ndarray:
        return birds_eye.query_spectra(self.fine.upright)


def prepare(
    cloud: np.ndarray,
    voxel_m: float,
    min_range_m: float,
    max_range_m: float,
    sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Surface:
    """A surface of a cloud [N, 3 or more] (x, y, z [m] in the vehicle's frame first).

    Points that are not finite, nearer to the sensor than `min_range_m` (the vehicle itself) or farther than
    `max_range_m` are left out, and those that stand alone. Raises InputError where it is no cloud.
    """
    points = thinned(usable_points(cloud, min_range_m, max_range_m, sensor_m), voxel_m)
    points = points[_in_company(points, sensor_m)]
    return Surface(_level(points), _level(thinned(points, COARSE_VOXEL_M)), np.array(sensor_m, np.float64))


def thinned(points: np.ndarray, voxel_m: float) -> np.ndarray:
    """The mean float64 [M, 3] of the points [N, 3] of each voxel."""
    if not len(points):
        return np.empty((0, 3))
    return np.array(small_gicp.voxelgrid_sampling(points, voxel_m).points()[:, :3])


def _in_company(points: np.ndarray, sensor_m: tuple[float, float, float]) -> np.ndarray:
    """bool [N]: which of the points [N, 3] have others around them."""
    if len(points) <= _COMPANY:
        return np.zeros(len(points), dtype=bool)
    _, squares = small_gicp.KdTree(points).batch_knn_search(points, _COMPANY + 1)  # the first is the point itself
    reach_m = _COMPANY_M + _COMPANY_PER_M * np.linalg.norm(points - sensor_m, axis=1)
    return np.asarray(squares[:, _COMPANY] < reach_m**2)


def _level(points: np.ndarray) -> Level:
    cloud = small_gicp.PointCloud(points)
    tree = small_gicp.KdTree(cloud)
    if len(points):
        small_gicp.estimate_normals_covariances(cloud, tree, NORMAL_NEIGHBOURS)
    normals = np.array(cloud.normals())[:, :3] if len(points) else np.empty((0, 3))
    return Level(cloud, tree, points, normals)
