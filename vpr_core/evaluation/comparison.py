"""Methods beside one another on the same drives, by one metric or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import VprError
from vpr_core.evaluation.descriptors import Described, by_array, stamps_of
from vpr_core.evaluation.evaluate import Describe, Evaluation, by_method, check_queries, compare
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.pairs import average_recall, evaluate_pairs
from vpr_core.evaluation.ranked import Ranked
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M
from vpr_core.evaluation.search import SEARCH, Retrieve, has_unit_length

GIVEN = "given"
"""What tables call the metric of ranked lists."""


@dataclass(frozen=True)
class Drives:
    """What is compared: one drive as the map of the queries; or, without it, each query drive as that of all others."""

    database: Frames | None
    queries: tuple[Frames, ...]

    @property
    def all(self) -> tuple[Frames, ...]:
        return (*([self.database] if self.database else []), *self.queries)


@dataclass(frozen=True)
class Compared:
    """One method's evaluations and the descriptors that they come from."""

    evaluations: list[Evaluation]
    """By metric, then in the order of the drives."""
    rows: dict[Path, np.ndarray]
    """Descriptors by the drive's folder."""
    has_unit_length: bool
    """Whether both metrics rank alike."""

    def described(self, drives: Drives) -> Described:
        """The descriptors as `save_described` writes them; raises VprError where two folders have one name."""
        named = by_array(drives.database, drives.queries)
        arrays = {name: self.rows[drive.folder] for name, drive in named.items()}
        return Described("descriptors", arrays, {name: stamps_of(drive) for name, drive in named.items()})


def evaluate_method(
    method: Method,
    drives: Drives,
    radius_m: float = DEFAULT_RADIUS_M,
    metrics: Sequence[str] = ("cosine",),
    progress: Callable[[int], object] | None = None,
    max_heading_deg: float | None = None,
) -> Compared:
    """Evaluate a method by every metric, describing each drive once.

    Of descriptors of unit length "cosine" alone is in the result, whichever was asked for: "euclidean" ranks them
    alike. A method with its own way of ranking has that alone.
    progress: called with the number of frames just described. max_heading_deg: as `true_places` has it.
    Raises as `evaluate` and `evaluate_pairs` do.
    """
    own = [name for name in method.retrieve if name not in SEARCH]
    first, *others = own or ["cosine", *(name for name in metrics if name != "cosine")]
    asked = _Kept(method.describe, progress)
    known = _Kept(method.describe_database, progress) if method.describe_database else asked
    limits = radius_m, max_heading_deg
    found = _evaluate(method.name, (known, asked), drives, limits, first, method.retrieve[first])
    alike = not own and all(has_unit_length(array) for array in (*known.rows.values(), *asked.rows.values()))
    if own or alike:
        return Compared(found, asked.rows, alike)
    for metric in others:
        found = found + _evaluate(method.name, (known, asked), drives, limits, metric, method.retrieve[metric])
    return Compared([evaluation for evaluation in found if evaluation.metric in metrics], asked.rows, alike)


@dataclass
class _Kept:
    """Descriptors, made once of each drive."""

    describe: Describe
    progress: Callable[[int], object] | None
    rows: dict[Path, np.ndarray] = field(default_factory=dict)

    def __call__(self, drive: Frames) -> np.ndarray:
        if drive.folder not in self.rows:
            self.rows[drive.folder] = self.describe(drive)
            if self.progress:
                self.progress(len(drive))
        return self.rows[drive.folder]


def _evaluate(
    name: str,
    describers: tuple[Describe, Describe],
    drives: Drives,
    limits: tuple[float, float | None],
    metric: str,
    retrieve: Retrieve,
) -> list[Evaluation]:
    (of_database, of_queries), (radius_m, max_heading_deg) = describers, limits
    if drives.database is None:
        return evaluate_pairs(name, of_queries, drives.queries, radius_m, retrieve, metric, max_heading_deg)
    database = drives.database
    check_queries(database, drives.queries)  # before the long part
    known = of_database(database)
    return [
        compare(
            name,
            (database, drive.asked),
            (known, of_queries(drive)[drive.queries]),
            radius_m,
            retrieve,
            metric,
            max_heading_deg,
        )
        for drive in drives.queries
    ]


def described_method(name: str, described: Described, drives: Drives) -> Method:
    """A method whose descriptors are given."""
    if drives.database is None:
        return Method(name, described.run, is_read=True)
    alone = len(drives.queries) == 1
    of_queries = partial(described.query, alone=alone)
    return Method(name, of_queries, describe_database=described.database, is_read=True)


def evaluate_ranked(
    name: str,
    ranked: Ranked,
    drives: Drives,
    radius_m: float = DEFAULT_RADIUS_M,
    max_heading_deg: float | None = None,
) -> list[Evaluation]:
    """Evaluate ranked lists; raises VprError where they do not fit the drives or these are pairs of runs."""
    if drives.database is None:
        raise VprError(f"{name}: ranked lists are of one database: give --database and --queries in place of --runs")
    database, alone = drives.database, len(drives.queries) == 1
    check_queries(database, drives.queries)
    rankings = [ranked(database, drive.asked, alone) for drive in drives.queries]
    nothing = np.empty((0, 0)), np.empty((0, 0))
    return [
        compare(
            name,
            (database, drive.asked),
            nothing,
            radius_m,
            lambda *_, ranking=ranking: ranking,
            GIVEN,
            max_heading_deg,
        )
        for drive, ranking in zip(drives.queries, rankings, strict=True)
    ]


def averages(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """`average_recall` of each method by each metric."""
    return [average_recall(found) for found in by_method(evaluations).values()]
