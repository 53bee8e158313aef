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


def count_within(database_m: np.ndarray, queries_m: np.ndarray, radius_m: float) -> np.ndarray:
    """int64 [M]: how many `within` would find, without listing them."""
    if not len(database_m) or not len(queries_m):
        return np.zeros(len(queries_m), np.int64)
    return cKDTree(database_m[:, :2]).query_ball_point(queries_m[:, :2], radius_m, return_length=True)


def facing(
    found: list[np.ndarray], database_rad: np.ndarray, queries_rad: np.ndarray, limit_rad: float
) -> list[np.ndarray]:
    """Of the rows that `within` found for each query those whose heading differs by no more than the limit.

    database_rad [N], queries_rad [M]: headings about z, of any number of turns.
    """
    difference = [np.angle(np.exp(1j * (database_rad[rows] - heading)))
                  for rows, heading in zip(found, queries_rad, strict=True)]  # fmt: skip
    # The rounding of a quaternion must not decide at the limit itself.
    return [rows[np.abs(away) <= limit_rad + 1e-9] for rows, away in zip(found, difference, strict=True)]


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
