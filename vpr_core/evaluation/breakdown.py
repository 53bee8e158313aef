"""Recall@1 of parts of the queries: by the direction from which a query sees its place, and by its distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vpr_core.evaluation.evaluate import Evaluation, rounded
from vpr_core.evaluation.precision_recall import precision_recall
from vpr_core.evaluation.truth import headings_rad, true_places

SAME_DEG, OPPOSITE_DEG = 45.0, 135.0
"""Headings that differ by at most the first are the same direction, from the second up opposite, between them across.

The first is half of a camera's usual field of view: up to there the two views share a part of the street.
"""
DIRECTIONS = ("same", "across", "opposite")


def nearest_places(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Of each query the place nearest to it: distance in x and y [M] in metres, and row int64 [M] of the database.

    For a query that is not skipped this is the nearest of its true places.
    """
    database_m, queries_m = evaluation.database.positions_m[:, :2], evaluation.queries.positions_m[:, :2]
    distances_m, rows = cKDTree(database_m).query(queries_m)
    if evaluation.max_heading_deg is not None:
        truth = true_places(evaluation.database, evaluation.queries, evaluation.radius_m, evaluation.max_heading_deg)
        for query, true in enumerate(truth):
            if len(true):
                away_m = np.linalg.norm(database_m[true] - queries_m[query], axis=1)
                distances_m[query], rows[query] = away_m.min(), true[away_m.argmin()]
    return distances_m, rows.astype(np.int64)


def directions(evaluation: Evaluation) -> np.ndarray:
    """str [M]: one of DIRECTIONS for each query, by its heading and that of its nearest true place; "" if skipped."""
    _, rows = nearest_places(evaluation)
    difference = headings_rad(evaluation.queries) - headings_rad(evaluation.database)[rows]
    degrees = np.degrees(np.abs(np.angle(np.exp(1j * difference))))
    named = np.select([degrees <= SAME_DEG, degrees < OPPOSITE_DEG], DIRECTIONS[:2], DIRECTIONS[2])
    return np.where(evaluation.result.first_hit >= 0, named, "")


@dataclass(frozen=True)
class Share:
    """Recall@1 of some of the queries that have a place in the map."""

    name: str
    right: int
    queries: int

    @property
    def recall(self) -> float | None:
        """None where there is no such query."""
        return self.right / self.queries if self.queries else None


def recall_of_all(evaluation: Evaluation, name: str) -> Share:
    """Recall@1 of every query that has a place in the map."""
    return _share(name, evaluation, evaluation.result.first_hit >= 0)


def recall_by_direction(evaluation: Evaluation) -> list[Share]:
    """Recall@1 of the queries of each direction."""
    named = directions(evaluation)
    return [_share(name, evaluation, named == name) for name in DIRECTIONS]


def direction_rows(evaluation: Evaluation) -> list[dict[str, object]]:
    """Recall@1 and the figures of precision and recall of each direction's queries alone, a row for each that occurs.

    Queries without a place in the map have no direction and stand in none of the rows.
    """
    known = {"database": evaluation.database.session, "queries": evaluation.queries.session}
    return _direction_rows(known, [evaluation])


def pooled_direction_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    """`direction_rows` of one method's evaluations, all their queries counted together under one threshold."""
    return _direction_rows({"database": "all", "queries": f"{len(evaluations)} pairs"}, evaluations)


def _direction_rows(known: Mapping[str, object], evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    named = np.concatenate([directions(evaluation) for evaluation in evaluations])
    first_hit = np.concatenate([evaluation.result.first_hit for evaluation in evaluations])
    similarity = np.concatenate([evaluation.result.best_similarity for evaluation in evaluations])
    return [
        {
            "method": evaluations[0].method,
            "metric": evaluations[0].metric,
            **known,
            "direction": name,
            "recall_at_1": rounded(float((first_hit[named == name] == 1).mean())),
            **_rounded(precision_recall(similarity[named == name], first_hit[named == name]).shares()),
            "evaluated": int((named == name).sum()),
        }
        for name in DIRECTIONS
        if (named == name).any()
    ]


def _rounded(shares: dict[str, float]) -> dict[str, float | None]:
    return {column: rounded(share) for column, share in shares.items()}


def recall_by_distance(evaluation: Evaluation, bins: int = 4) -> list[Share]:
    """Recall@1 by the distance between a query and its nearest place, in equal parts of the radius."""
    distances_m, _ = nearest_places(evaluation)
    edges_m = np.linspace(0.0, evaluation.radius_m, bins + 1)
    part = np.clip(np.digitize(distances_m, edges_m) - 1, 0, bins - 1)  # the radius itself is in the last
    return [
        _share(f"{low:g} to {high:g} m", evaluation, (part == number) & (evaluation.result.first_hit >= 0))
        for number, (low, high) in enumerate(zip(edges_m[:-1], edges_m[1:], strict=True))
    ]


def pooled(shares: list[list[Share]]) -> list[Share]:
    """The same groups of several evaluations, their queries counted together."""
    return [
        Share(group[0].name, sum(share.right for share in group), sum(share.queries for share in group))
        for group in zip(*shares, strict=True)
    ]


def _share(name: str, evaluation: Evaluation, chosen: np.ndarray) -> Share:
    return Share(name, int((evaluation.result.first_hit[chosen] == 1).sum()), int(chosen.sum()))
