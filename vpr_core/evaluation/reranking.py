"""Re-ranking beside the retrieval alone: recall, time of a query and memory of a place, as in StructVPR's Table 3."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.places import within
from vpr_core.evaluation.comparison import Drives
from vpr_core.evaluation.evaluate import Evaluation, rounded
from vpr_core.evaluation.recall import RETRIEVED, recall_of_ranks
from vpr_core.evaluation.search import unit
from vpr_core.retrieval.index import build_index
from vpr_core.retrieval.local_features import FeatureKind, LocalFeatures
from vpr_core.retrieval.place_features import packed
from vpr_core.retrieval.verify import rerank

INLIERS = "inliers"
"""What tables call the metric of re-ranked places."""
_BEHIND = -1.0
"""The score of a place that was not compared, below that of any that was."""


@dataclass(frozen=True)
class Reranked:
    """One query drive against the database drive, re-ranked."""

    before: Evaluation
    evaluation: Evaluation
    kind: str
    candidates: int
    features_ms: np.ndarray
    """[M] time to take the features of each query."""
    rerank_ms: np.ndarray
    """[M] time to compare them with those of all candidates."""
    descriptor_bytes: float
    features_bytes: float
    """Of one place."""

    def row(self, retrieval_ms: float | None = None) -> dict[str, Any]:
        """What Table 3 has; `retrieval_ms` is the median time to describe and search, where that was measured."""
        before, after = self.before.shares(), self.evaluation.shares()
        recalls = {
            name: rounded(shares[f"recall_at_{k}"])
            for k in self.before.result.at
            for name, shares in ((f"recall_at_{k}", before), (f"recall_at_{k}_reranked", after))
        }
        return {
            "method": self.before.method,
            "features": self.kind,
            "candidates": self.candidates,
            "database": self.before.database.session,
            "queries": self.before.queries.session,
            **recalls,
            "retrieval_ms": None if retrieval_ms is None else round(retrieval_ms, 2),
            "features_ms": round(float(np.median(self.features_ms)), 2),
            "rerank_ms": round(float(np.median(self.rerank_ms)), 2),
            "descriptor_kib": round(self.descriptor_bytes / 1024, 2),
            "features_kib": round(self.features_bytes / 1024, 2),
        }


COLUMNS = ("method", "features", "candidates", "queries", "recall_at_1", "recall_at_1_reranked", "recall_at_5",
           "recall_at_5_reranked", "recall_at_10", "recall_at_10_reranked", "retrieval_ms", "features_ms", "rerank_ms",
           "descriptor_kib", "features_kib")  # fmt: skip
"""Those of a row that are printed."""


@dataclass(frozen=True)
class ReRanking:
    """One kind of features and how many places of each retrieval are compared."""

    kind: FeatureKind
    candidates: int
    progress: Callable[[int], object] | None = None
    """Called with the number of queries and database frames just done."""
    _places: dict[Path, list[LocalFeatures]] = field(default_factory=dict)

    def frames(self, evaluations: Sequence[Evaluation]) -> int:
        """How many calls of `progress` evaluations take, added up."""
        databases = {evaluation.database.folder: len(evaluation.database) for evaluation in evaluations}
        return sum(databases.values()) + sum(len(evaluation.queries) for evaluation in evaluations)

    def __call__(self, before: Evaluation, drives: Drives, rows: Mapping[Path, np.ndarray]) -> Reranked:
        """Re-rank the places that each query's descriptor finds by cosine.

        rows: descriptors [N, D] of all frames of each drive, by folder. Raises FramesError where a drive has no images.
        """
        database, queries = before.database, before.queries
        is_asked = next(drive.queries for drive in drives.all if drive.folder == queries.folder)
        known, asked = unit(rows[database.folder]), unit(rows[queries.folder][is_asked])
        _, ranked = build_index(known).search(asked, max(self.candidates, RETRIEVED))
        places, found = self._of(database), [self._one(queries, i, ranked[i], database) for i in range(len(queries))]
        scores, order, features_ms, rerank_ms = zip(*found, strict=True)
        truth = within(database.positions_m, queries.positions_m, before.radius_m)
        result = recall_of_ranks(np.stack(scores)[:, :RETRIEVED], np.stack(order)[:, :RETRIEVED], len(database), truth)
        name = f"{before.method}+{self.kind.name}"
        after = Evaluation(name, database, queries, result, before.radius_m, INLIERS)
        stored = sum(array.nbytes for array in packed(places)[1:]) / len(places)
        of_descriptor = float(known.itemsize * known.shape[1])
        times = np.array(features_ms), np.array(rerank_ms)
        return Reranked(before, after, self.kind.name, self.candidates, *times, of_descriptor, stored)

    def _one(
        self, queries: Frames, index: int, ranked: np.ndarray, database: Frames
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Scores and rows of one query's places as they then stand, and the two times [ms]."""
        places, image = self._of(database), queries.image(index)
        started = time.perf_counter()
        features = self.kind.of(image, database.image_size)
        taken = time.perf_counter()
        order, inliers = rerank(features, [places[row] for row in ranked[: self.candidates]], self.kind.match)
        compared = time.perf_counter()
        rest = ranked[self.candidates :]
        if self.progress:
            self.progress(1)
        scores = np.concatenate([inliers[order], np.full(len(rest), _BEHIND)]).astype(np.float32)
        times_ms = (taken - started) * 1e3, (compared - taken) * 1e3
        return scores, np.concatenate([ranked[: self.candidates][order], rest]), *times_ms

    def _of(self, drive: Frames) -> list[LocalFeatures]:
        """The features of all places of a drive, taken once."""
        if drive.folder not in self._places:
            self._places[drive.folder] = found = []
            for index in range(len(drive)):
                found.append(self.kind.of(drive.image(index)))
                if self.progress:
                    self.progress(1)
        return self._places[drive.folder]
