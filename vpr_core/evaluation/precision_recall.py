"""Precision and recall of best matches, by the similarity from which they are accepted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


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
    pr_auc: float
    """Area under the curve drawn with straight lines (trapezoids), level from recall 0 to the first threshold."""
    recall_at_100_precision: float
    """The largest recall without an accepted match that is wrong; 0 where the most similar match is wrong."""
    auroc: float
    """Share of the pairs of a right and a wrong best match in which the right one is more similar, equal ones half.

    NaN where all are right or all are wrong.
    """

    @property
    def absent(self) -> str:
        """Why there is no curve, in words; empty where there is one."""
        if not np.isnan(self.average_precision):
            return ""
        return "no query has a place in the map" if len(self.threshold) else "no scores, so no curve"

    def shares(self) -> dict[str, float]:
        """The figures in [0, 1] by their columns."""
        return {
            "average_precision": self.average_precision,
            "pr_auc": self.pr_auc,
            "recall_at_100_precision": self.recall_at_100_precision,
            "auroc": self.auroc,
        }


def precision_recall(similarity: np.ndarray, first_hit: np.ndarray) -> PrecisionRecall:
    """The curve of best matches, as a `Recall` has them.

    similarity: float [M] of each query's best match.
    first_hit: int [M] rank from 1 of the first true match: 1 is right, 0 and above 1 wrong, -1 has no true match.
    Where similarities are NaN, as of a ranking without scores, there is no curve and every figure is NaN.
    """
    if np.isnan(similarity).any():
        empty = np.empty(0)
        return PrecisionRecall(empty, empty, empty, *[float("nan")] * 4)
    order = np.argsort(-similarity, kind="stable")
    falling = similarity[order]
    last_of_tie = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: len(falling)])
    right = np.cumsum(first_hit[order] == 1)[last_of_tie]
    precision = right / (last_of_tie + 1)
    with_match = int((first_hit >= 0).sum())
    recall = right / with_match if with_match else np.full(len(right), np.nan)
    nan = float("nan")
    return PrecisionRecall(
        threshold=falling[last_of_tie],
        precision=precision,
        recall=recall,
        average_precision=float(np.sum(np.diff(recall, prepend=0.0) * precision)) if with_match else nan,
        pr_auc=_trapezoids(recall, precision) if with_match else nan,
        recall_at_100_precision=float(recall[precision == 1.0].max(initial=0.0)) if with_match else nan,
        auroc=auroc_of(similarity, first_hit == 1),
    )


def _trapezoids(recall: np.ndarray, precision: np.ndarray) -> float:
    steps = np.diff(recall, prepend=0.0)
    before = np.concatenate([precision[:1], precision[:-1]])
    return float(np.sum(steps * (precision + before) / 2))


def auroc_of(similarity: np.ndarray, right: np.ndarray) -> float:
    """From the sum of the right ones' ranks (Mann and Whitney); see `PrecisionRecall.auroc`."""
    count, others = int(right.sum()), int((~right).sum())
    if not count or not others:
        return float("nan")
    return float((rankdata(similarity)[right].sum() - count * (count + 1) / 2) / (count * others))
