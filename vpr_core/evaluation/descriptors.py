"""Descriptors of any method as a file, so that it stands in the same tables: an `.npz` of arrays, a row for each frame.

  database              [M, D] of the map's drive
  query                 [N, D] of the one query drive; of several, query_NAME each
  run_NAME              [N, D] of each run, in place of both, for pairs of runs
  ARRAY_stamp_ns        int [N], optional for each: the frames' stamps, which are then compared

Rows stand in the order of the frames folder; NAME is its folder's name or its drive's (`session` in card.json).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import VprError
from vpr_core.evaluation.search import has_unit_length
from vpr_core.files import write_atomic

STAMPS = "_stamp_ns"


@dataclass(frozen=True)
class Described:
    """What a method says of drives."""

    source: str
    """What errors call it: its file."""
    arrays: dict[str, np.ndarray]
    """float32 [N, D] by name, or [N, ...] where the method compares them in its own way."""
    stamps_ns: dict[str, np.ndarray] = field(default_factory=dict)
    """int64 [N] by the name of the array."""

    @property
    def has_unit_length(self) -> bool:
        return all(has_unit_length(rows) for rows in self.arrays.values())

    def database(self, drive: Frames) -> np.ndarray:
        """The rows of the map's drive; raises VprError where there are none, or not one for each frame."""
        return self._of(drive, ["database"])

    def query(self, drive: Frames, alone: bool) -> np.ndarray:
        """The rows of a query drive, `alone` where it is the only one; raises as `database`."""
        return self._of(drive, [*names_of("query", drive), *(["query"] if alone else [])])

    def run(self, drive: Frames) -> np.ndarray:
        """The rows of one of several runs; raises as `database`."""
        return self._of(drive, names_of("run", drive))

    def _of(self, drive: Frames, names: Sequence[str]) -> np.ndarray:
        found = [name for name in names if name in self.arrays]
        if not found:
            held = ", ".join(self.arrays) or "none"
            raise VprError(f"{self.source} has no array {' or '.join(names)} for {drive.folder}; it has: {held}")
        rows = self.arrays[found[0]]
        if len(rows) != len(drive):
            raise VprError(
                f"{found[0]} of {self.source} has {len(rows)} rows, {drive.folder} has {len(drive)} frames: expected "
                "one row a frame, in the order of frames.csv"
            )
        if found[0] in self.stamps_ns:
            self._check_stamps(found[0], drive)
        return rows

    def _check_stamps(self, name: str, drive: Frames) -> None:
        given, expected = self.stamps_ns[name], stamps_of(drive)
        if other := np.flatnonzero(given != expected).tolist():
            raise VprError(
                f"{name}{STAMPS} of {self.source} differs from {drive.folder} in {len(other)} rows, first in row "
                f"{other[0]}: {given[other[0]]}, expected {expected[other[0]]}: was it made of other frames?"
            )


def names_of(kind: str, drive: Frames) -> list[str]:
    """What the array of a drive may be called, its folder's name before its session's."""
    return list(dict.fromkeys(f"{kind}_{name}" for name in (drive.folder.resolve().name, drive.session)))


def stamps_of(drive: Frames) -> np.ndarray:
    """int64 [N] stamp of each frame [ns]."""
    return np.array([frame.stamp_ns for frame in drive.frames], dtype=np.int64)


def by_array(database: Frames | None, queries: Sequence[Frames]) -> dict[str, Frames]:
    """The drives by the names of their arrays; without a database they are runs. Raises VprError for one name twice."""
    kind = "run" if database is None else "query"
    named = {names_of(kind, drive)[0]: drive for drive in queries}
    if len(named) != len(queries):
        listed = ", ".join(str(drive.folder) for drive in queries)
        raise VprError(f"of {listed}, two folders have one name, by which descriptors are told apart: rename one")
    return named if database is None else {"database": database, **named}


def load_described(path: str | Path) -> Described:
    """Read and check a file of descriptors; raises VprError naming the array and what is wrong with it.

    Arrays of other names are left alone.
    """
    held = read_npz(path)
    rows = {name: held[name] for name in held if _is_descriptors(name)}
    if not rows:
        raise VprError(
            f"{path} holds {', '.join(held) or 'no array'}: expected database and query (or query_NAME) [N, D], or "
            "run_NAME; docs/metrics.md shows the format"
        )
    for name, array in rows.items():
        _check(f"{name} of {path}", array)
    widths = {name: array.shape[1] for name, array in rows.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise VprError(f"descriptors of {path} differ in width: {listed}")
    stamps = {name: _stamps(path, name, held[name + STAMPS], len(rows[name])) for name in rows if name + STAMPS in held}
    return Described(str(path), {name: array.astype(np.float32) for name, array in rows.items()}, stamps)


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, none of them pickled; raises VprError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise VprError(f"{path} does not exist: expected an .npz file of arrays") from None
    except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise VprError(f"{path} cannot be read as an .npz of plain arrays ({error}): use numpy.savez") from error


def _is_descriptors(name: str) -> bool:
    return (name in ("database", "query") or name.startswith(("query_", "run_"))) and not name.endswith(STAMPS)


def _check(name: str, array: np.ndarray) -> None:
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        raise VprError(f"{name} is {array.dtype} {list(array.shape)}, expected numbers [N, D], one row a frame")
    if bad := np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist():
        raise VprError(f"{name} has NaN or infinity in {len(bad)} rows, first in row {bad[0]}: describe these again")


def _stamps(path: str | Path, name: str, stamps: np.ndarray, rows: int) -> np.ndarray:
    if stamps.shape != (rows,) or stamps.dtype.kind not in "iu":
        raise VprError(
            f"{name}{STAMPS} of {path} is {stamps.dtype} {list(stamps.shape)}, expected whole nanoseconds [{rows}]"
        )
    return stamps.astype(np.int64)


def save_described(path: Path, described: Described) -> Path:
    """Write descriptors as `load_described` reads them."""
    buffer = io.BytesIO()
    stamps = {name + STAMPS: values for name, values in described.stamps_ns.items()}
    np.savez(buffer, **described.arrays, **stamps)  # type: ignore[arg-type]  # one of numpy's stubs
    write_atomic(path, buffer.getvalue())
    return path
