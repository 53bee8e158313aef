"""Streets of a map that look like others: rows of like houses, the bays of a car park, the aisles of a store.

What a map's own descriptors cannot tell apart, taken on one drive under one sky, a later look hardly does. Two places
look alike where they are more similar to each other than the first is to the least similar of its own neighbours
along the road, and where most of the places around the one look like some around the other too: like houses stand in
rows, while single places that happen to look alike do not, and odometry tells them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

APART_M = 10.0
"""Places nearer to each other that face the same way show the same street."""
MOST = 200
"""Of so many places, the most similar, it is asked whether a place looks like them."""
IN_A_ROW = 0.8
"""The share of the places around one that have to look like some around the other."""
AT_MOST = 0.5
"""What a look that counts in full tells two look-alikes apart by [nats]."""
_SAME_M = 2.0
"""A place that is nearer is the same picture once more, of another session or of a standing vehicle."""
_FACING = math.cos(math.pi / 4)
_BLOCK = 512


@dataclass(frozen=True)
class LookAlikes:
    """Pairs of places that lie apart and look alike, sorted by the first."""

    places: np.ndarray
    """int [P]"""
    others: np.ndarray
    """int [P], what each of them looks like."""

    @classmethod
    def of(cls, descriptors: np.ndarray, poses: np.ndarray) -> LookAlikes:
        """Of places with descriptors [N, D], unit rows, and poses [N, 3] of x, y [m] and heading [rad]."""
        around = _around(poses)
        starts = range(0, len(poses), _BLOCK)
        near = _pairs(around)
        single = _pairs([row for start in starts for row in _similar(descriptors, poses, around, start)])
        to_around = (single @ near.T).astype(bool)
        shares = near.multiply(1.0 / near.sum(axis=1)[:, None]).tocsr()
        kept = [
            (shares[start : start + _BLOCK] @ to_around).multiply(single[start : start + _BLOCK]) for start in starts
        ]
        found = sparse.vstack(kept).tocsr() >= IN_A_ROW - 1e-9
        places, others = found.nonzero()
        return cls(places, others)

    def are(self, place: int, other: int) -> bool:
        """Whether the place looks like the other."""
        first, last = np.searchsorted(self.places, [place, place + 1])
        return bool((self.others[first:last] == other).any())

    def levelled(self, values: np.ndarray) -> np.ndarray:
        """float [N] of what speaks for each place [nats]: hardly less than what speaks for those that it looks like."""
        found = values.copy()
        np.maximum.at(found, self.places, values[self.others] - AT_MOST)
        return found


def _pairs(rows: list[np.ndarray]) -> sparse.csr_array:
    """float64 [N, N], 1 in the columns that are given for each row."""
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.concatenate([np.empty(0, np.int64), *rows])
    return sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(rows), len(rows)))


def _around(poses: np.ndarray) -> list[np.ndarray]:
    """For each place those within APART_M that face the same way, itself too."""
    found = cKDTree(poses[:, :2]).query_ball_point(poses[:, :2], APART_M, return_sorted=True)
    rows = [np.array(near, dtype=np.int64) for near in found]
    return [near[np.cos(poses[near, 2] - poses[place, 2]) >= _FACING] for place, near in enumerate(rows)]


def _similar(descriptors: np.ndarray, poses: np.ndarray, around: list[np.ndarray], start: int) -> list[np.ndarray]:
    """For each place of a block those that by themselves look like it."""
    found = []
    for place, similarity in enumerate(descriptors[start : start + _BLOCK] @ descriptors.T, start):
        near = around[place]
        away_m = np.hypot(*(poses[near, :2] - poses[place, :2]).T)
        least = similarity[near[away_m >= _SAME_M]].min(initial=np.inf)
        similarity[near] = -np.inf
        alike = np.flatnonzero(similarity > least)
        found.append(np.sort(alike[np.argsort(-similarity[alike], kind="stable")[:MOST]]))
    return found
