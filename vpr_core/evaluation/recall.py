"""Recall as PointNetVLAD's protocol defines it, and the threshold from which matches are believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_core.data.places import within
from vpr_core.retrieval.index import build_index

DEFAULT_RADIUS_M = 10.0
RETRIEVED = 25
"""How many neighbours are looked at; recall at 1 % is limited to them, as in PointNetVLAD's evaluation."""


@dataclass(frozen=True)
class Recall:
    """One database and one query drive.

    Recall@k is the share of evaluated queries with a true match among the first k; a query without any true match in
    the database is skipped, and counted in `skipped`.
    """

    at: dict[int, float]
    """Recall by k, in [0, 1]."""
    at_one_percent: float
    evaluated: int
    skipped: int
    best: np.ndarray
    """int64 [M]: the row retrieved first for each query, skipped ones too."""
    best_similarity: np.ndarray
    """float32 [M]."""
    first_hit: np.ndarray
    """int64 [M]: rank from 1 of the first true match; 0 where none was retrieved, -1 for a skipped query."""


def recall(
    database: np.ndarray,
    database_m: np.ndarray,
    queries: np.ndarray,
    queries_m: np.ndarray,
    radius_m: float = DEFAULT_RADIUS_M,
    ks: tuple[int, ...] = (1, 5, 10),
) -> Recall:
    """Retrieve each query [M, D] in the database [N, D] (unit rows) and compare positions [., 3] in one map frame."""
    return recall_of_truth(database, queries, within(database_m, queries_m, radius_m), ks)


def recall_of_truth(
    database: np.ndarray, queries: np.ndarray, truth: list[np.ndarray], ks: tuple[int, ...] = (1, 5, 10)
) -> Recall:
    """As `recall`, with the true rows of each query given."""
    return recall_of_ranks(*nearest(database, queries), len(database), truth, ks)


def nearest(database: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The RETRIEVED rows of the database [N, D] nearest to each query [M, D], as `recall_of_ranks` takes them."""
    return build_index(database).search(queries, RETRIEVED)


def most_similar(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of any similarity [M, N] of queries to places; of equal ones the first row comes first."""
    rows = np.argsort(-similarity, axis=1, kind="stable")[:, :RETRIEVED]
    return np.take_along_axis(similarity, rows, axis=1), rows.astype(np.int64)


def recall_of_ranks(
    similarity: np.ndarray, rows: np.ndarray, places: int, truth: list[np.ndarray], ks: tuple[int, ...] = (1, 5, 10)
) -> Recall:
    """Recall of the rows [M, k] that were retrieved among so many places, in falling order of their similarity [M, k].

    truth: for each query the rows that show its place; none where it has no place in the database.
    Recall@k is NaN where fewer than k rows were ranked, though the database and the protocol have more.
    """
    first_hit = np.array([_first_hit(found, true) for found, true in zip(rows, truth, strict=True)])
    evaluated = int((first_hit >= 0).sum())
    one_percent = max(round(places / 100), 1)

    def at(k: int) -> float:
        if rows.shape[1] < min(k, places, RETRIEVED):
            return float("nan")
        return float(((first_hit >= 1) & (first_hit <= k)).sum() / evaluated) if evaluated else float("nan")

    return Recall(
        at={k: at(k) for k in ks},
        at_one_percent=at(one_percent),
        evaluated=evaluated,
        skipped=len(rows) - evaluated,
        best=rows[:, 0],
        best_similarity=similarity[:, 0],
        first_hit=first_hit,
    )


def _first_hit(rows: np.ndarray, true: np.ndarray) -> int:
    if not len(true):
        return -1
    hits = np.flatnonzero(np.isin(rows, true))
    return int(hits[0]) + 1 if len(hits) else 0


def threshold_for_precision(similarity: np.ndarray, correct: np.ndarray, precision: float) -> float:
    """The lowest similarity from which accepted best matches are right with at least `precision`.

    similarity float [M] and correct bool [M] of each query's best match; a query without a true match is never
    correct. Where no threshold reaches the precision, the highest similarity seen is returned.
    """
    order = np.argsort(-similarity, kind="stable")
    share = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    ends_a_tie = np.append(np.diff(similarity[order]) < 0, True)
    reached = np.flatnonzero((share >= precision) & ends_a_tie)
    return float(similarity[order[reached[-1]]] if len(reached) else similarity[order[0]])
