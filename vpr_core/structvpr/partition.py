"""StructVPR Sec. 3.4. Which training samples either branch masters, by the rank that it gives their positive.

A sample is a query and one of its labelled positives. x is the rank of that positive in the recall list of the
segmentation branch (the teacher), y in that of the RGB branch (the student), both over the training database; N_t
divides good ranks from bad ones. The names of the groups are lost from our copy of the paper: they follow from the
shares of its Table 5 (see `group_masks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Metric = Literal["cosine", "euclidean"]

__all__ = ["N_T", "GROUP_NAMES", "group_masks", "ranks_in_lists", "ranks_of_descriptors", "samples_of", "shares"]

N_T = 10
"""Inferred: the paper's value is lost. R@10 is the widest recall that it reports, and the shares of Table 5 (70 and
73 % with a rank within N_t) lie near such recalls."""
GROUP_NAMES = ("D1", "D2", "D3", "D4")

_QUERIES_AT_ONCE = 512


def samples_of(positives: Sequence[np.ndarray]) -> np.ndarray:
    """int64 [S, 2]: a sample (row of the query, row of its positive) for each positive of each query, in their order.

    positives: for each query the database rows that show its place, as `data.places.positives` gives them.
    """
    queries = np.repeat(np.arange(len(positives)), [len(rows) for rows in positives])
    return np.stack([queries, np.concatenate([np.empty(0, np.int64), *positives])], axis=1)


def ranks_of_descriptors(
    database: np.ndarray,
    queries: np.ndarray,
    samples: np.ndarray,
    own: np.ndarray | None = None,
    *,
    metric: Metric = "cosine",
    depth: int | None = None,
) -> np.ndarray:
    """The rank, from 1, of each sample's positive in its query's recall list: float64 [S].

    database [N, D], queries [M, D] descriptors of one branch; samples [S, 2] integers: row of the query, row of its
    positive in the database. own: int [M], the database row that is the query itself and therefore left out of its
    list, -1 where there is none. Other positives of the query stay in the list and count. Of rows equally near, the
    lower one comes first. depth: length of the lists; a positive beyond it is never retrieved, its rank infinite.
    Raises ValueError where shapes or rows do not fit or a descriptor is not finite.
    """
    if database.ndim != 2 or queries.ndim != 2 or database.shape[1] != queries.shape[1]:
        raise ValueError(f"database {list(database.shape)} and queries {list(queries.shape)}: expected [N, D], [M, D]")
    if not (np.isfinite(database).all() and np.isfinite(queries).all()):
        raise ValueError("a descriptor holds NaN or infinity: no rank follows from it")
    own = np.full(len(queries), -1) if own is None else own
    _check_samples(samples, own, len(queries), len(database))
    ranks = np.empty(len(samples))
    for begin in range(0, len(queries), _QUERIES_AT_ONCE):
        some = slice(begin, begin + _QUERIES_AT_ONCE)
        here = (samples[:, 0] >= begin) & (samples[:, 0] < begin + _QUERIES_AT_ONCE)
        nearness = _nearness(database, queries[some], metric)
        has_own = np.flatnonzero(own[some] >= 0)
        nearness[has_own, own[some][has_own]] = -np.inf
        ranks[here] = _places(nearness)[samples[here, 0] - begin, samples[here, 1]]
    return ranks if depth is None else np.where(ranks <= depth, ranks, np.inf)


def ranks_in_lists(
    lists: Sequence[Sequence[int]] | np.ndarray, samples: np.ndarray, own: np.ndarray | None = None
) -> np.ndarray:
    """As `ranks_of_descriptors`, from recall lists that exist: for each query the database rows, the nearest first.

    The lists may differ in length; a positive that is not in its query's list has an infinite rank.
    """
    own = np.full(len(lists), -1) if own is None else own
    _check_samples(samples, own, len(lists))
    others = ([int(row) for row in rows if row != itself] for rows, itself in zip(lists, own, strict=True))
    places = [{row: place for place, row in enumerate(rows, 1)} for rows in others]
    return np.array([places[query].get(positive, np.inf) for query, positive in samples.tolist()], dtype=np.float64)


def group_masks(teacher_rank: np.ndarray, student_rank: np.ndarray, n_t: int = N_T) -> dict[str, np.ndarray]:
    """Which samples belong to which group, bool [S] each; x and y are the ranks [S] of teacher and student.

    D1 = {x <= N_t < y}, D2 = {x <= y <= N_t}, D3 = {y < x <= N_t}, D4 = {x > N_t}: every sample is in one of them.
    Inferred from Table 5: D1 + D2 + D3 are the 69.55 % that the teacher selects alone, D4 the 30.45 % that hurt, and D1
    is defined in the text. Then {x, y <= N_t} is divided where the two ranks are equal, the only natural place.
    "x<=N_t", "y<=N_t" and "y>N_t" are the other sets of Table 5, which overlap with these.
    """
    x, y = teacher_rank, student_rank
    both = (x <= n_t) & (y <= n_t)
    return {
        "D1": (x <= n_t) & (y > n_t),
        "D2": both & (x <= y),
        "D3": both & (y < x),
        "D4": x > n_t,
        "x<=N_t": x <= n_t,
        "y<=N_t": y <= n_t,
        "y>N_t": y > n_t,
    }


def shares(teacher_rank: np.ndarray, student_rank: np.ndarray, n_t: int = N_T) -> dict[str, float]:
    """The share of the samples in each set of `group_masks`, as in Table 5; NaN where there are no samples."""
    masks = group_masks(teacher_rank, student_rank, n_t)
    return {name: float(mask.mean()) if len(mask) else float("nan") for name, mask in masks.items()}


def _nearness(database: np.ndarray, queries: np.ndarray, metric: Metric) -> np.ndarray:
    """float64 [M, N], the larger the nearer."""
    database, queries = database.astype(np.float64), queries.astype(np.float64)
    if metric == "euclidean":
        # The squared length of the query itself changes nothing in the order of its list.
        return 2 * queries @ database.T - np.square(database).sum(axis=1)
    if metric != "cosine":
        raise ValueError(f"metric is {metric!r}, expected cosine or euclidean")
    lengths = np.linalg.norm(database, axis=1)
    return queries @ (database / np.maximum(lengths, 1e-12)[:, None]).T


def _places(nearness: np.ndarray) -> np.ndarray:
    """int64 [M, N]: the place from 1 of every database row in the list of every query."""
    order = np.argsort(-nearness, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
    return places


def _check_samples(samples: np.ndarray, own: np.ndarray, queries: int, database: float = np.inf) -> None:
    if samples.ndim != 2 or samples.shape[1] != 2 or not np.issubdtype(samples.dtype, np.integer):
        raise ValueError(f"samples are {samples.dtype} {list(samples.shape)}, expected integers [S, 2]")
    if len(own) != queries:
        raise ValueError(f"own has {len(own)} rows, expected one for each of {queries} queries")
    if (outside := ((samples < 0) | (samples >= (queries, database))).any(axis=1)).any():
        found = samples[outside.argmax()].tolist()
        raise ValueError(f"sample {found} (query, positive) is outside of {queries} queries and {database} places")
    if (itself := own[samples[:, 0]] == samples[:, 1]).any():
        raise ValueError(f"sample {itself.argmax()} has the query itself as its positive")
