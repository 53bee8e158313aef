"""Evaluation of a bundle: one database drive, any number of query drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.precision_recall import PrecisionRecall, precision_recall
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M, Recall, recall_of_ranks
from vpr_core.evaluation.search import SEARCH, Retrieve
from vpr_core.evaluation.truth import true_places
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe

Describe = Callable[[Frames], np.ndarray]
"""A method of place recognition: a drive to descriptors float32 [N, D], or [N, ...] of its own kind."""


@dataclass(frozen=True)
class Evaluation:
    """One query drive against the database drive."""

    method: str
    database: Frames
    queries: Frames
    result: Recall
    radius_m: float
    metric: str = "cosine"
    """By what places are ranked: a key of SEARCH, or how tables call a method's own way."""
    max_heading_deg: float | None = None
    """How far the heading of a place may differ from the query's; None: as far as it likes."""

    @cached_property
    def precision_recall(self) -> PrecisionRecall:
        """Of all queries, those too that have no place in the database."""
        return precision_recall(self.result.best_similarity, self.result.first_hit)

    @property
    def has_scores(self) -> bool:
        """Whether matches have similarities, without which there is no precision over recall."""
        return not np.isnan(self.result.best_similarity).any()

    def shares(self) -> dict[str, float]:
        """Every figure in [0, 1], by its column; NaN where there is none (docs/metrics.md)."""
        return {
            **{f"recall_at_{k}": value for k, value in self.result.at.items()},
            "recall_at_1_percent": self.result.at_one_percent,
            **self.precision_recall.shares(),
        }

    def row(self) -> dict[str, Any]:
        """The figures as one row of a table."""
        return {
            "method": self.method,
            "metric": self.metric,
            "database": self.database.session,
            "queries": self.queries.session,
            **{name: rounded(share) for name, share in self.shares().items()},
            "evaluated": self.result.evaluated,
            "skipped": self.result.skipped,
            **self.limits(),
        }

    def limits(self) -> dict[str, float]:
        """How near a place is true, by column."""
        turned = {} if self.max_heading_deg is None else {"max_heading_deg": self.max_heading_deg}
        return {"radius_m": self.radius_m, **turned}

    def limits_text(self) -> str:
        """The same in words that follow "within"."""
        turned = "" if self.max_heading_deg is None else f" and {self.max_heading_deg:g} degrees of heading"
        return f"{self.radius_m:g} m{turned}"


def mean_share(shares: Sequence[float]) -> float:
    """The mean of those that there are; NaN where there are none."""
    there = [share for share in shares if not np.isnan(share)]
    return float(np.mean(there)) if there else float("nan")


def rounded(share: float) -> float | None:
    """None where there is no share."""
    return None if np.isnan(share) else round(share, 4)


def evaluate(
    method: str,
    describe_drive: Describe,
    database: Frames,
    queries: Sequence[Frames],
    radius_m: float = DEFAULT_RADIUS_M,
    retrieve: Retrieve | None = None,
    metric: str = "cosine",
) -> list[Evaluation]:
    """Evaluate a method on every query drive, of which `Frames.queries` says what is asked for.

    metric: "cosine" or "euclidean"; with `retrieve`, a method's own way of ranking, only what tables call that.
    Raises FramesError where a drive has no frames or no poses, a query drive has no query, or the drives do not share
    a map frame.
    """
    check_queries(database, queries)  # before the long part
    known = describe_drive(database)
    search = retrieve or SEARCH[metric]
    return [
        compare(
            method, (database, drive.asked), (known, describe_drive(drive)[drive.queries]), radius_m, search, metric
        )
        for drive in queries
    ]


def compare(
    method: str,
    drives: tuple[Frames, Frames],
    descriptors: tuple[np.ndarray, np.ndarray],
    radius_m: float,
    retrieve: Retrieve,
    metric: str = "cosine",
    max_heading_deg: float | None = None,
) -> Evaluation:
    """The evaluation of (database, queries) whose descriptors are given."""
    database, queries = drives
    truth = true_places(database, queries, radius_m, max_heading_deg)
    result = recall_of_ranks(*retrieve(*descriptors), len(database), truth)
    return Evaluation(method, database, queries, result, radius_m, metric, max_heading_deg)


def by_method(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """The evaluations that stand together, by the method's name, with its metric where it was evaluated by several."""
    metrics: dict[str, dict[str, list[Evaluation]]] = {}
    for found in evaluations:
        metrics.setdefault(found.method, {}).setdefault(found.metric, []).append(found)
    return {
        method if len(groups) == 1 else f"{method}, {metric}": group
        for method, groups in metrics.items()
        for metric, group in groups.items()
    }


def check_queries(database: Frames, queries: Sequence[Frames]) -> None:
    """Raise FramesError as `check_drives`, and where a query drive has no query."""
    check_drives([database, *queries])
    for drive in queries:
        if not drive.queries.any():
            raise FramesError(f"{drive.folder} has no query: frames.csv says 0 of every frame")


def check_drives(drives: Sequence[Frames]) -> None:
    """Raise FramesError where a drive has no frames or no poses, or another map frame than the first."""
    database = drives[0]
    for drive in drives:
        if not len(drive):
            raise FramesError(f"{drive.folder} has no frames to evaluate on")
        if drive.area != database.area:
            raise FramesError(
                f"{drive.folder} has poses in {_named(drive)}, {database.folder} in {_named(database)}: "
                "recall needs both in one frame"
            )
        _ = drive.positions_m  # raises where there are none


def _named(drive: Frames) -> str:
    area, map_frame = drive.area
    return repr(map_frame) + (f" of {area}" if area else "")


def bundle_describer(bundle: str | Path, device: str = "cpu") -> Describe:
    """The method that a bundle is; raises BundleError."""
    loaded = Bundle.load(bundle, device)
    return lambda drive: describe(loaded, drive)


def thumbnail_describer(width: int = 16, height: int = 12) -> Describe:
    """The simplest method there is, as a floor: a grey thumbnail, its mean taken off."""

    def describe_drive(drive: Frames) -> np.ndarray:
        rows = []
        for index in range(len(drive)):
            grey = cv2.cvtColor(drive.image(index), cv2.COLOR_RGB2GRAY)
            small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
            rows.append(small - small.mean())
        descriptors = np.stack(rows)
        return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-6)

    return describe_drive


def table_text(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows as an aligned plain-text table."""
    cells = [list(columns)] + [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in cells)  # fmt: skip


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
