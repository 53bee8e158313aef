"""Which places of a map to keep, where it has to become smaller.

Weighted sample elimination (Yuksel, "Sample Elimination for Generating Poisson Disk Sample Sets", 2015): the place in
the thickest crowd goes first, and those around it are then crowded less. So what is left covers the map as evenly as
the number of places allows, and a street is never lost to keep another one dense. Near are two places that lie close
to each other and look alike: of several drives at one spot by day the crowd is thick, the one at night stands apart
and is kept, as is what is distinctive. A place of an earlier drive crowds one of a later drive less than the other way
round, so that of twins the newer stays: it shows the place as it is now.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import cKDTree

from vpr_core.errors import MapError
from vpr_core.retrieval.index import build_index
from vpr_core.retrieval.place_map import PlaceMap

NEIGHBOURS = 24
"""So many places nearest in position (in descriptor where poses lack) can crowd a place."""
_EXPONENT = 8
"""Yuksel's alpha: the nearest counts far more than those behind it."""
_BY_OLDER = 0.8
"""How much of its weight a place has against one of a later session."""
_JITTER_M = 1e-3
"""Places that a standing robot made lie at one spot: moved by this, they are neighbours of different ones of them."""
_ROWS_AT_ONCE = 1024

Progress = Callable[[int], object]
"""Called with the number of places just left out."""


def prune(place_map: PlaceMap, max_places: int, progress: Progress | None = None) -> np.ndarray:
    """Rows int64 [max_places or less] of the places to keep, in rising order; the same at every call.

    Works in rounds that halve the map at most, so that neighbours are always places that are still there.
    Raises MapError where not even one place is asked for.
    """
    if max_places < 1:
        raise MapError(f"a map of {max_places} places was asked for, expected 1 or more")
    rows = np.arange(len(place_map))
    while len(rows) > max_places:
        count = max(max_places, len(rows) // 2)
        rows = rows[_thinned(place_map, rows, count, progress)]
    return rows


def _thinned(place_map: PlaceMap, rows: np.ndarray, count: int, progress: Progress | None) -> np.ndarray:
    """bool [K]: which `count` of the places `rows` [K] stay."""
    weights = _crowding(place_map, rows)
    stamps = [place_map.places[row].stamp_ns for row in rows.tolist()]
    crowd = np.asarray(weights.sum(axis=0)).ravel()
    heap = [(-crowd[place], stamps[place], place) for place in range(len(rows))]
    heapq.heapify(heap)
    stays = np.ones(len(rows), bool)
    left = len(rows)
    while left > count:
        told, stamp, place = heapq.heappop(heap)
        if -told > crowd[place]:  # others of its crowd went since it was put there
            heapq.heappush(heap, (-crowd[place], stamp, place))
            continue
        stays[place] = False
        left -= 1
        near = slice(weights.indptr[place], weights.indptr[place + 1])
        crowd[weights.indices[near]] -= weights.data[near]
        if progress:
            progress(1)
    return stays


def _crowding(place_map: PlaceMap, rows: np.ndarray) -> csr_matrix:
    """[K, K]: how much each place (row) crowds each of those near it (column), in [0, 1]."""
    near, apart_m = _neighbours(place_map, rows)
    differ = np.empty(near.shape)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        mine, theirs = place_map.descriptors[rows[part]], place_map.descriptors[rows[near[part]]]
        differ[part] = np.sqrt(np.maximum(2.0 - 2.0 * np.einsum("nd,nkd->nk", mine, theirs), 0.0))
    distance = np.sqrt((_relative(apart_m) ** 2 + _relative(differ) ** 2) / 2)
    of, to = np.repeat(np.arange(len(rows)), near.shape[1]), near.ravel()
    values = np.where(of == to, 0.0, (1.0 - distance.ravel()) ** _EXPONENT)
    one_way = coo_matrix((values, (of, to)), (len(rows), len(rows))).tocsr()
    weights = one_way.maximum(one_way.T).tocsr()
    age = _newest_ns(place_map)[rows]
    weights.data *= np.where(np.repeat(age, np.diff(weights.indptr)) < age[weights.indices], _BY_OLDER, 1.0)
    return weights


def _newest_ns(place_map: PlaceMap) -> np.ndarray:
    """int64 [N], the last stamp of each place's session."""
    newest: dict[str, int] = {}
    for place in place_map.places:
        newest[place.session] = max(place.stamp_ns, newest.get(place.session, place.stamp_ns))
    return np.array([newest[place.session] for place in place_map.places], np.int64)


def _relative(values: np.ndarray) -> np.ndarray:
    """From 0 for none over 1/2 at the mean towards 1: metres and descriptors on one scale."""
    return values / (values + max(float(values.mean()), 1e-9))


def _neighbours(place_map: PlaceMap, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [K, k] numbers of the nearest of `rows` to each, and how far they are [m]; 0 in a map without poses."""
    count = min(NEIGHBOURS + 1, len(rows))
    poses = [place_map.places[row].pose for row in rows.tolist()]
    positions = np.array([pose.position_m for pose in poses if pose is not None])
    if len(positions) == len(rows):
        positions += np.random.default_rng(0).normal(0.0, _JITTER_M, positions.shape)
        apart_m, near = cKDTree(positions).query(positions, count)
        return near.reshape(len(rows), count), apart_m.reshape(len(rows), count)
    descriptors = place_map.descriptors[rows]
    _, near = build_index(descriptors).search(descriptors, count)
    return near, np.zeros(near.shape)


def prune_to_size(place_map: PlaceMap, sizes: np.ndarray, budget: int, progress: Progress | None = None) -> np.ndarray:
    """As `prune`, of as many places as take `budget` bytes at most, where each takes sizes [N].

    Raises MapError where the smallest budget that keeps a place is larger.
    """
    kept, total = np.arange(len(place_map)), int(sizes.sum())
    while total > budget:
        count = min(len(kept) * budget // total, len(kept) - 1)
        if count < 1:
            raise MapError(f"{budget} bytes do not hold one place, which takes {int(sizes.mean())}: allow more")
        kept = prune(place_map, count, progress)
        total = int(sizes[kept].sum())
    return kept
