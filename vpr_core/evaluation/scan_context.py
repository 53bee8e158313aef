"""Scan Context (Kim and Kim, IROS 2018): the classical LiDAR method that a learned one is measured against.

Places are compared one with another, without the paper's ring keys, which only make the search shorter.
"""

from __future__ import annotations

import numpy as np

from vpr_core.evaluation.evaluate import Describe
from vpr_core.evaluation.recall import most_similar

RINGS, SECTORS = 20, 60
MAX_RANGE_M = 80.0
GROUND_Z_M = -2.0
"""Where the authors' code takes the ground to be below the sensor, so that what stands on it has heights above 0."""


def scan_context(
    cloud: np.ndarray,
    max_range_m: float = MAX_RANGE_M,
    ground_z_m: float | None = GROUND_Z_M,
    rings: int = RINGS,
    sectors: int = SECTORS,
) -> np.ndarray:
    """Paper section III-A: the highest point [m] of each bin around the sensor, float32 [rings, sectors].

    cloud: [N, 3 or more] (x, y, z [m] in the LiDAR's frame first); points that are not finite are left out, and those
        of `max_range_m` and more from its vertical axis. Bins without a point are 0.
    ground_z_m: height 0 in the LiDAR's frame; None takes the cloud's lowest point.
    """
    points = np.asarray(cloud[:, :3], dtype=np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    radius_m = np.hypot(points[:, 0], points[:, 1])
    points, radius_m = points[radius_m < max_range_m], radius_m[radius_m < max_range_m]
    if not len(points):
        return np.zeros((rings, sectors), np.float32)
    ring = np.minimum((radius_m / max_range_m * rings).astype(int), rings - 1)
    turns = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
    sector = np.floor(turns * sectors).astype(int) % sectors
    highest = np.full((rings, sectors), -np.inf)
    np.maximum.at(highest, (ring, sector), points[:, 2])
    ground = points[:, 2].min() if ground_z_m is None else ground_z_m
    return np.where(np.isfinite(highest), highest - ground, 0.0).astype(np.float32)


def scan_context_similarity(database: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """1 minus the distance of paper Eqs. (6) and (7): float32 [M, N] of scan contexts [M, ...] and [N, rings, sectors].

    The mean cosine of the sectors' columns at the rotation by whole sectors where it is largest. An empty column has
    no cosine; as in the authors' code, a sector that is empty in either counts for neither. Where none is left the
    similarity is 0.
    """
    known, known_seen = _unit_columns(database)
    asked, asked_seen = _unit_columns(queries)
    known = known.reshape(len(database), -1)
    best = np.zeros((len(queries), len(database)), np.float32)
    for shift in range(database.shape[2]):
        cosines = np.roll(asked, shift, axis=2).reshape(len(queries), -1) @ known.T
        common = np.roll(asked_seen, shift, axis=1) @ known_seen.T
        np.maximum(best, cosines / np.maximum(common, 1), out=best)
    return best


def _unit_columns(contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contexts [N, rings, sectors] with columns of length 1, and 1 for each that is not empty [N, sectors]."""
    length = np.linalg.norm(contexts, axis=1, keepdims=True)
    seen = length > 0
    return contexts / np.where(seen, length, 1), seen[:, 0].astype(np.float32)


def scan_context_describer(max_range_m: float = MAX_RANGE_M, ground_z_m: float | None = GROUND_Z_M) -> Describe:
    """The method as `evaluate` takes it, together with `retrieve_scan_contexts`; FramesError without clouds."""
    return lambda drive: np.stack(
        [scan_context(drive.cloud(index), max_range_m, ground_z_m) for index in range(len(drive))]
    )


def retrieve_scan_contexts(database: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar places of each query, compared with all of them."""
    return most_similar(scan_context_similarity(database, queries))
