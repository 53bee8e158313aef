"""How places are ranked: by cosine, as DistilVPR evaluates, or by Euclidean distance as PointNetVLAD and MinkLoc++ do.

Descriptors of unit length are ranked alike by both; raw ones, as a network gives them, are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vpr_core.evaluation.recall import most_similar, nearest

Retrieve = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Descriptors of database and queries to similarities [M, k] in falling order and rows [M, k], as `nearest` does."""
UNIT_WITHIN = 1e-5
"""How far the length of a unit descriptor may be from 1, as float32 rounds it."""
_QUERIES_AT_ONCE = 1024


def by_cosine(database: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, for descriptors of any length."""
    return nearest(unit(database), unit(queries))


def by_euclidean(database: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows by Euclidean distance; the similarity is that distance below 0. Of equal ones the first row."""
    known = database.astype(np.float64)
    squared = np.square(known).sum(axis=1)
    found = []
    for start in range(0, max(len(queries), 1), _QUERIES_AT_ONCE):
        asked = queries[start : start + _QUERIES_AT_ONCE].astype(np.float64)
        distance = np.square(asked).sum(axis=1)[:, None] + squared - 2.0 * asked @ known.T
        found.append(most_similar(-np.sqrt(np.maximum(distance, 0.0))))
    similarity, rows = zip(*found, strict=True)
    return np.concatenate(similarity), np.concatenate(rows)


SEARCH: Mapping[str, Retrieve] = {"cosine": by_cosine, "euclidean": by_euclidean}
"""By metric."""


def unit(descriptors: np.ndarray) -> np.ndarray:
    """The descriptors [N, D] at length 1; those that have it already stay as they are, bit by bit."""
    if has_unit_length(descriptors):
        return descriptors
    return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-12)


def has_unit_length(descriptors: np.ndarray) -> bool:
    """Whether every row of descriptors [N, D] has length 1, so that both metrics rank alike."""
    return bool((np.abs(np.linalg.norm(descriptors, axis=1) - 1.0) < UNIT_WITHIN).all())
