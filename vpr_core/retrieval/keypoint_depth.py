"""Points in space of an image's local features, from a LiDAR's cloud.

A feature gets a point where the cloud's points around it, as the camera sees them, lie on one plane. Across an edge
they do not: there it is open which of the two surfaces the feature is on, and whether the camera sees the farther one
at all, which the LiDAR sees from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vpr_core.retrieval.rigid import moved

_BESIDE = 1.2
"""Points count up to so many times the farthest feature from the middle of the picture."""


@dataclass(frozen=True)
class DepthOptions:
    """When a feature gets a point in space."""

    neighbours: int = 16
    """So many of the cloud's points around a feature are taken at most, the nearest in the picture."""
    reach_rad: float = 0.03
    """How far from the feature they are at most: a little more than two neighbouring beams of a LiDAR are apart."""
    max_step: float = 0.03
    """Greatest share of the depth by which any of them may lie off the plane through them."""
    min_facing: float = 0.05
    """Least cosine of the angle between the line of sight and the plane's normal."""
    nearest_m: float = 1.0
    """Points less far before the camera are left out: the vehicle itself."""


def points_at(rays: np.ndarray, cloud: np.ndarray, T_base_camera: np.ndarray, options: DepthOptions) -> np.ndarray:
    """Points in space float64 [K, 3] (x, y, z [m] in the vehicle's frame) of features, NaN where there is none.

    rays: [K, 2] x / z and y / z of the features in the optical frame, NaN where one has none.
    cloud: [M, 3] in the vehicle's frame, at the moment of the image.
    T_base_camera: [4, 4], of the optical frame.
    """
    found = np.full((len(rays), 3), np.nan)
    seen, inverse_m = _projected(rays, cloud, T_base_camera, options)
    asked = np.flatnonzero(np.isfinite(rays).all(axis=1))
    if len(seen) < options.neighbours or not len(asked):
        return found
    reach = options.reach_rad * (1 + np.square(rays[asked]).sum(axis=1))  # x / z grows faster than the angle
    distance, rows = cKDTree(seen).query(rays[asked], options.neighbours)
    near = distance < reach[:, None]
    offsets = seen[rows] - rays[asked][:, None]
    depth_m = 1.0 / _inverse_depth(offsets, inverse_m[rows], near & (_surrounded(offsets, near)[:, None]), options)
    found[asked] = moved(T_base_camera, np.column_stack([rays[asked], np.ones(len(asked))]) * depth_m[:, None])
    return found


def _projected(
    rays: np.ndarray, cloud: np.ndarray, T_base_camera: np.ndarray, options: DepthOptions
) -> tuple[np.ndarray, np.ndarray]:
    """The cloud's points in the picture as rays [M, 2], and 1 / z [M]."""
    ahead = moved(np.linalg.inv(T_base_camera), np.asarray(cloud, np.float64)[:, :3])
    ahead = ahead[np.isfinite(ahead).all(axis=1)]
    ahead = ahead[ahead[:, 2] > options.nearest_m]
    seen = ahead[:, :2] / ahead[:, 2:]
    limit = _BESIDE * np.nanmax(np.abs(rays), initial=0.0)
    inside = (np.abs(seen) < limit).all(axis=1)
    return seen[inside], 1.0 / ahead[inside, 2]


def _surrounded(offsets: np.ndarray, near: np.ndarray) -> np.ndarray:
    """bool [K]: whether three of the four quarters around a feature have a point, so that nothing is extrapolated."""
    right, below = offsets[..., 0] > 0, offsets[..., 1] > 0
    quarters = [(near & (right == x) & (below == y)).any(axis=1) for x in (False, True) for y in (False, True)]
    return np.asarray(np.sum(quarters, axis=0) >= 3)


def _inverse_depth(offsets: np.ndarray, inverse_m: np.ndarray, used: np.ndarray, options: DepthOptions) -> np.ndarray:
    """1 / z [K] of features, NaN where their neighbours are on no plane; a plane's is linear in x / z and y / z.

    offsets: [K, N, 2] of the neighbours from the feature. inverse_m: [K, N]. used: bool [K, N], which count.
    """
    design = np.concatenate([np.ones((*offsets.shape[:2], 1)), offsets], axis=2) * used[..., None]
    normal = design.transpose(0, 2, 1) @ design
    solvable = np.linalg.eigvalsh(normal)[:, 0] > 1e-9
    normal[~solvable] = np.eye(3)
    plane = np.linalg.solve(normal, design.transpose(0, 2, 1) @ (inverse_m * used)[..., None])
    off = np.abs((design @ plane)[..., 0] - inverse_m) * used
    at, slope = plane[:, 0, 0], np.linalg.norm(plane[:, 1:, 0], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fits = solvable & (at > 0) & (off.max(axis=1) / at < options.max_step)
        fits &= at / np.hypot(at, slope) > options.min_facing
    return np.where(fits, at, np.nan)
