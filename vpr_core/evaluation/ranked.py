"""Ranked lists of any method as a file: of each query the places of the database, the most similar first.

An `.npz` with `ranked` int [N, K], rows of the database for each frame of the query drive, and optionally `scores`
[N, K], larger for the more similar; of several query drives ranked_NAME and scores_NAME. Or a CSV file, its queries in
any order and of any number of drives, with a first line of

  query_stamp_ns,database_stamp_ns_1,...,database_stamp_ns_K          and optionally ,score_1,...,score_K
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import VprError
from vpr_core.evaluation.descriptors import names_of, read_npz, stamps_of
from vpr_core.evaluation.recall import RETRIEVED

TEXT = (".csv", ".txt")
Ranking = tuple[np.ndarray, np.ndarray]
"""Scores float64 [M, k], NaN without them, and rows of the database int64 [M, k]."""
Ranked = Callable[[Frames, Frames, bool], Ranking]
"""Database and query drive, and whether that is the only one, to the ranking; raises VprError where it lacks one."""


def load_ranked(path: str | Path) -> Ranked:
    """Read a file of ranked lists; raises VprError naming what is wrong with it."""
    if Path(path).suffix in TEXT:
        return _read_text(Path(path)).of
    return _Rows(str(path), read_npz(path)).of


@dataclass(frozen=True)
class _Rows:
    """Arrays of an .npz."""

    source: str
    arrays: dict[str, np.ndarray]

    def of(self, database: Frames, queries: Frames, alone: bool) -> Ranking:
        names = [*names_of("ranked", queries), *(["ranked"] if alone else [])]
        found = [name for name in names if name in self.arrays]
        if not found:
            held = ", ".join(self.arrays) or "none"
            raise VprError(f"{self.source} has no array {' or '.join(names)} for {queries.folder}; it has: {held}")
        name = f"{found[0]} of {self.source}"
        rows = self.arrays[found[0]]
        if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "iu":
            raise VprError(f"{name} is {rows.dtype} {list(rows.shape)}, expected integers [N, K], rows of the database")
        if len(rows) != len(queries):
            raise VprError(f"{name} has {len(rows)} lists, {queries.folder} has {len(queries)} frames")
        scores = self.arrays.get("scores" + found[0].removeprefix("ranked"))
        if scores is not None and scores.shape != rows.shape:
            raise VprError(f"the scores to {name} are {list(scores.shape)}, expected {list(rows.shape)} as the lists")
        return _checked(name, rows.astype(np.int64), scores, len(database))


@dataclass(frozen=True)
class _Stamps:
    """Lines of a CSV file."""

    source: str
    stamps_ns: Mapping[int, Sequence[int]]
    """By the stamp of the query."""
    scores: Mapping[int, Sequence[float]]

    def of(self, database: Frames, queries: Frames, alone: bool) -> Ranking:
        asked = stamps_of(queries).tolist()
        if missing := [stamp for stamp in asked if stamp not in self.stamps_ns]:
            raise VprError(
                f"{self.source} has no line for {len(missing)} of {len(asked)} frames of {queries.folder}, first "
                f"{missing[0]}: expected every query_stamp_ns"
            )
        row_of = {stamp: row for row, stamp in enumerate(stamps_of(database).tolist())}
        lists = [self.stamps_ns[stamp] for stamp in asked]
        if other := [stamp for found in lists for stamp in found if stamp not in row_of]:
            raise VprError(f"{self.source} names {other[0]}, which is the stamp of no frame of {database.folder}")
        rows = np.array([[row_of[stamp] for stamp in found] for found in lists], dtype=np.int64)
        scores = np.array([self.scores[stamp] for stamp in asked]) if self.scores else None
        return _checked(self.source, rows, scores, len(database))


def _read_text(path: Path) -> _Stamps:
    try:
        with path.open(newline="") as file:
            header, *lines = csv.reader(file)
        count = _length_of_lists(path, header)
        stamps = {int(line[0]): [int(cell) for cell in line[1 : count + 1]] for line in lines}
        scores = {int(line[0]): [float(cell) for cell in line[count + 1 :]] for line in lines}
    except FileNotFoundError:
        raise VprError(f"{path} does not exist: expected a CSV file of ranked lists") from None
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise VprError(f"{path} does not parse ({error}): expected whole nanoseconds under {_HEADER}") from error
    if wrong := [number for number, line in enumerate(lines, 2) if len(line) != len(header)]:
        raise VprError(f"{path}, line {wrong[0]}: {len(lines[wrong[0] - 2])} cells, expected {len(header)}")
    if len(stamps) != len(lines):
        raise VprError(f"{path} has {len(lines)} lines for {len(stamps)} queries: expected one line a query_stamp_ns")
    return _Stamps(str(path), stamps, scores if len(header) > count + 1 else {})


_HEADER = "query_stamp_ns,database_stamp_ns_1,...,database_stamp_ns_K, and optionally score_1,...,score_K"


def _length_of_lists(path: Path, header: Sequence[str]) -> int:
    """K of a CSV file, by its first line."""
    count = sum(name.startswith("database_stamp_ns_") for name in header)
    places = [f"database_stamp_ns_{rank}" for rank in range(1, count + 1)]
    scores = [f"score_{rank}" for rank in range(1, count + 1)]
    if not count or list(header) not in (["query_stamp_ns", *places], ["query_stamp_ns", *places, *scores]):
        raise VprError(f"{path} begins with {','.join(header)[:80]}, expected {_HEADER}")
    return count


def _checked(name: str, rows: np.ndarray, scores: np.ndarray | None, places: int) -> Ranking:
    """The first RETRIEVED of each list."""
    if rows.min() < 0 or rows.max() >= places:
        raise VprError(f"{name} has rows from {rows.min()} to {rows.max()}, the database has 0 to {places - 1}")
    in_order = np.sort(rows, axis=1)
    if twice := np.flatnonzero((in_order[:, 1:] == in_order[:, :-1]).any(axis=1)).tolist():
        raise VprError(f"{name} lists a place twice for {len(twice)} queries, first for query {twice[0]}")
    if scores is None:
        scores = np.full(rows.shape, np.nan)
    elif not np.isfinite(scores).all() or (np.diff(scores, axis=1) > 0).any():
        raise VprError(f"the scores of {name} are not finite and falling along each list: expected larger first")
    return scores[:, :RETRIEVED].astype(np.float64), rows[:, :RETRIEVED]
