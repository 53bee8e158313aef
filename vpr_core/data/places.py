"""Which frames show the same place: positives, negatives and true matches, by distance in the map frame."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree


def within(database_m: np.ndarray, queries_m: np.ndarray, radius_m: float) -> list[np.ndarray]:
    """For each query position [M, 2+] the sorted indices of the database positions [N, 2+] within `radius_m`.

    Only x and y count, as in PointNetVLAD's northing and easting.
    """
    if not len(database_m):
        return [np.empty(0, np.int64) for _ in queries_m]
    found = cKDTree(database_m[:, :2]).query_ball_point(queries_m[:, :2], radius_m)
    return [np.sort(np.asarray(indices, dtype=np.int64)) for indices in found]


def positives(positions_m: np.ndarray, radius_m: float) -> list[np.ndarray]:
    """For each frame the other frames within `radius_m` (10 m in PointNetVLAD and MinkLoc++)."""
    return [found[found != index] for index, found in enumerate(within(positions_m, positions_m, radius_m))]


def masks(positions_m: np.ndarray, positive_m: float, negative_m: float) -> tuple[np.ndarray, np.ndarray]:
    """bool [N, N] each: which pairs of a batch are positives, which negatives, as in PointNetVLAD.

    Pairs between `positive_m` and `negative_m` are neither, and so is a frame with itself or with its own copy.
    """
    distance = np.linalg.norm(positions_m[:, None, :2] - positions_m[None, :, :2], axis=-1)
    same = (positions_m[:, None] == positions_m[None, :]).all(axis=-1)
    return (distance <= positive_m) & ~same, distance > negative_m
