"""Precision and recall of best matches, by the similarity from which they are accepted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PrecisionRecall:
    """Each query's best match is accepted from a similarity up; K similarities can be that threshold.

    A query without a true match in the database counts as a negative: accepted, it is a false positive. Recall is the
    share of the queries with a true match that were accepted with one, so it ends at Recall@1.
    """

    threshold: np.ndarray
    """[K] every similarity that a best match has, falling."""
    precision: np.ndarray
    """[K] share of the accepted matches that are right."""
    recall: np.ndarray
    """[K] never falling; NaN where no query has a true match."""
    average_precision: float
    """Sum of precision times gained recall over the thresholds, without interpolation."""
    recall_at_100_precision: float
    """The largest recall without an accepted match that is wrong; 0 where the most similar match is wrong."""


def precision_recall(similarity: np.ndarray, first_hit: np.ndarray) -> PrecisionRecall:
    """The curve of best matches, as a `Recall` has them.

    similarity: float [M] of each query's best match.
    first_hit: int [M] rank from 1 of the first true match: 1 is right, 0 and above 1 wrong, -1 has no true match.
    """
    order = np.argsort(-similarity, kind="stable")
    falling = similarity[order]
    last_of_tie = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: len(falling)])
    right = np.cumsum(first_hit[order] == 1)[last_of_tie]
    precision = right / (last_of_tie + 1)
    with_match = int((first_hit >= 0).sum())
    recall = right / with_match if with_match else np.full(len(right), np.nan)
    return PrecisionRecall(
        threshold=falling[last_of_tie],
        precision=precision,
        recall=recall,
        average_precision=float(np.sum(np.diff(recall, prepend=0.0) * precision)) if with_match else float("nan"),
        recall_at_100_precision=float(recall[precision == 1.0].max(initial=0.0)) if with_match else float("nan"),
    )
