"""How well two registered clouds fit: overlap both ways, residual, contradicted free space, and what is left undecided.

T_place_query takes points of the query's vehicle frame to the place's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpr_core.retrieval.rigid import moved
from vpr_core.retrieval.surface import Surface

NEAR_M, PLANE_M, FACING = 0.8, 0.15, 0.8
"""An upright point lies on the other cloud's surface where the nearest point is within NEAR_M, the plane through that
within PLANE_M, and the cosine of the angle between the two normals at least FACING."""
COUNTS_AGAINST = 4.0
"""A point that stands in free space weighs as much as so many that have none near them."""
LEAST_RESIDUAL_M = 0.05
_BIN_RAD = math.radians(3.0)
_AZIMUTHS, _ELEVATIONS = 120, 60


@dataclass(frozen=True)
class Fit:
    """Measures of one registration."""

    overlap_query: float
    """Share of the query's upright points that lie on a surface of the place, in [0, 1]."""
    overlap_place: float
    """Share of the place's upright points that lie on a surface of the query, in [0, 1]."""
    inlier_rmse_m: float
    """Root mean square of the distances from the place's surfaces, of points that have one near them."""
    contradiction: float
    """Share of upright points that stand where the other cloud was seen through, the greater of both ways."""
    information: np.ndarray
    """[6, 6] sum of J^T J of those points' distances from the surfaces, in the covariance's order and units."""

    @property
    def overlap(self) -> float:
        """The lesser of both ways."""
        return min(self.overlap_query, self.overlap_place)

    @property
    def score(self) -> float:
        """What decides between two fits."""
        return self.overlap - COUNTS_AGAINST * self.contradiction


def measure(query: Surface, place: Surface, T: np.ndarray, inlier_m: float, range_m: float) -> Fit:
    """The fit of a query under T_place_query [4, 4].

    inlier_m: distance up to which points are paired for residual and information.
    range_m: points farther from either vehicle count for neither overlap nor free space, since both see little there.
    """
    back = np.linalg.inv(T)
    rmse_m, information = _residuals(query, place, T, inlier_m)
    return Fit(
        _overlap(query, place, T, range_m),
        _overlap(place, query, back, range_m),
        rmse_m,
        max(_contradiction(query, place, T, range_m), _contradiction(place, query, back, range_m)),
        information,
    )


def _overlap(of: Surface, other: Surface, T: np.ndarray, range_m: float) -> float:
    there = moved(T, of.fine.upright)
    common = (np.linalg.norm(of.fine.upright, axis=1) < range_m) & (np.linalg.norm(there, axis=1) < range_m)
    if not common.any():
        return 0.0
    there, normals = there[common], of.fine.upright_normals[common] @ T[:3, :3].T
    rows, distance_m = other.fine.nearest(there)
    others = other.fine.normals[rows]
    plane_m = np.abs(np.einsum("ij,ij->i", others, there - other.fine.points[rows]))
    facing = np.abs(np.einsum("ij,ij->i", others, normals))
    return float(np.mean((distance_m < NEAR_M) & (plane_m < PLANE_M) & (facing > FACING)))


def _residuals(query: Surface, place: Surface, T: np.ndarray, inlier_m: float) -> tuple[float, np.ndarray]:
    """Of the query's points with a surface near them: root mean square distance [m], information [6, 6]."""
    points = moved(T, query.fine.points)
    rows, distance_m = place.fine.nearest(points)
    paired = distance_m < inlier_m
    if not paired.any():
        return math.inf, np.zeros((6, 6))
    points, rows = points[paired], rows[paired]
    normals = place.fine.normals[rows]
    residual_m = np.einsum("ij,ij->i", normals, points - place.fine.points[rows])
    jacobian = np.hstack([normals, np.cross(points - T[:3, 3], normals)])
    return float(np.sqrt(np.mean(residual_m**2))), jacobian.T @ jacobian


def _contradiction(of: Surface, other: Surface, T: np.ndarray, range_m: float) -> float:
    """Share of the upright points of `of` that lie clearly before what `other` saw in their directions."""
    points = moved(T, of.fine.upright) - other.sensor_m
    distance_m, bins = _directions(points)
    free_m = _free_range_m(other)[bins]
    known = np.isfinite(free_m) & (distance_m < range_m)
    if not known.any():
        return 0.0
    margin_m = 1.0 + 0.02 * distance_m[known]
    return float(np.mean(distance_m[known] < free_m[known] - margin_m))


def _free_range_m(surface: Surface) -> np.ndarray:
    """[directions] up to where nothing stood [m], the least of a bin and those beside it; NaN where unseen."""
    distance_m, bins = _directions(surface.fine.points - surface.sensor_m)
    nearest = np.full(_AZIMUTHS * _ELEVATIONS, np.inf)
    np.minimum.at(nearest, bins, distance_m)
    grid = nearest.reshape(_AZIMUTHS, _ELEVATIONS)
    beside = np.minimum(grid, np.minimum(np.roll(grid, 1, axis=0), np.roll(grid, -1, axis=0)))
    around = beside.copy()
    around[:, 1:] = np.minimum(around[:, 1:], beside[:, :-1])
    around[:, :-1] = np.minimum(around[:, :-1], beside[:, 1:])
    return np.where(np.isfinite(grid), around, np.nan).ravel()


def _directions(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances [N] in metres of points [N, 3] and the bins [N] of their directions."""
    distance_m = np.linalg.norm(points, axis=1)
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    elevation = np.arcsin(np.clip(points[:, 2] / np.maximum(distance_m, 1e-9), -1, 1))
    column = np.floor((azimuth + math.pi) / _BIN_RAD).astype(np.int64) % _AZIMUTHS
    row = np.clip(np.floor((elevation + math.pi / 2) / _BIN_RAD).astype(np.int64), 0, _ELEVATIONS - 1)
    return distance_m, column * _ELEVATIONS + row
