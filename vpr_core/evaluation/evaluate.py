"""Evaluation of a bundle: one database drive, any number of query drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M, Recall, recall
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe

Describe = Callable[[Frames], np.ndarray]
"""A method of place recognition: a drive to unit descriptors float32 [N, D]."""


@dataclass(frozen=True)
class Evaluation:
    """One query drive against the database drive."""

    method: str
    database: Frames
    queries: Frames
    result: Recall
    radius_m: float

    def row(self) -> dict[str, Any]:
        """The figures as one row of a table."""
        return {
            "method": self.method,
            "database": self.database.session,
            "queries": self.queries.session,
            **{f"recall_at_{k}": _rounded(value) for k, value in self.result.at.items()},
            "recall_at_1_percent": _rounded(self.result.at_one_percent),
            "evaluated": self.result.evaluated,
            "skipped": self.result.skipped,
            "radius_m": self.radius_m,
        }


def _rounded(share: float) -> float | None:
    """None where no query had a true match, so that there is no share."""
    return None if np.isnan(share) else round(share, 4)


def evaluate(
    method: str,
    describe_drive: Describe,
    database: Frames,
    queries: Sequence[Frames],
    radius_m: float = DEFAULT_RADIUS_M,
) -> list[Evaluation]:
    """Evaluate a method on every query drive; raises FramesError where the drives do not share a map frame."""
    for drive in queries:
        if drive.area != database.area:
            theirs, ours = (
                " of ".join(repr(name) for name in area[::-1] if name) for area in (drive.area, database.area)
            )
            raise FramesError(
                f"{drive.folder} has poses in {theirs}, {database.folder} in {ours}: recall needs both in one frame"
            )
    positions_m = [drive.positions_m for drive in (database, *queries)]  # before the long part, where one has none
    known = describe_drive(database)
    return [
        Evaluation(
            method,
            database,
            drive,
            recall(known, positions_m[0], describe_drive(drive), query_m, radius_m),
            radius_m,
        )
        for drive, query_m in zip(queries, positions_m[1:], strict=True)
    ]


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
    return f"{value:.3f}" if isinstance(value, float) else str(value)
