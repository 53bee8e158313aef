"""NetVLAD's specification of a data set: a MATLAB file with one struct, dbStruct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import FramesError

FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ", "posDistThr")


@dataclass(frozen=True)
class Struct:
    """One set."""

    database: list[str]
    """Names of images, relative to a folder."""
    database_m: np.ndarray
    """float64 [N, 2], easting and northing."""
    queries: list[str]
    queries_m: np.ndarray
    radius_m: float
    """Up to which a match is right."""


def read_struct(path: Path) -> Struct:
    """Read a .mat file as plain data, of which nothing is executed.

    Raises FramesError where it is damaged, of another form, or its names and positions are not as many.
    """
    held = _load(path)
    if absent := [name for name in FIELDS if name not in held]:
        raise FramesError(f"{path}: dbStruct has no {', '.join(absent)}; it has {', '.join(held) or 'nothing'}")
    database, database_m = _side(path, held, "dbImageFns", "utmDb", "numImages")
    queries, queries_m = _side(path, held, "qImageFns", "utmQ", "numQueries")
    return Struct(database, database_m, queries, queries_m, _number(path, held, "posDistThr"))


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # takes its time, which --help does without

    try:
        found = loadmat(path, simplify_cells=True, variable_names=["dbStruct"]).get("dbStruct")
    except Exception as error:  # scipy and zlib raise what the damage happens to make of the bytes
        raise FramesError(
            f"{path} cannot be read as a MATLAB file up to version 7 ({error}): it is damaged, or cut off; unpack it "
            "again"
        ) from error
    if not isinstance(found, dict):
        raise FramesError(f"{path} has no struct dbStruct: expected one of NetVLAD's data set specifications")
    return found


def _side(path: Path, held: dict[str, Any], names: str, positions: str, count: str) -> tuple[list[str], np.ndarray]:
    """Names of images and their positions [N, 2]."""
    found = [str(name) for name in np.atleast_1d(held[names])]
    try:
        positions_m = np.asarray(held[positions], np.float64).reshape(2, -1).T
    except (TypeError, ValueError) as error:
        raise FramesError(f"{path}: {positions} is no array [2, N] of numbers ({error})") from error
    expected = int(_number(path, held, count)) if count in held else len(found)
    if not len(found) == len(positions_m) == expected:
        raise FramesError(
            f"{path}: {names} has {len(found)} names, {positions} {len(positions_m)} positions, and {count} says "
            f"{expected}: expected as many of each"
        )
    if not np.isfinite(positions_m).all():
        raise FramesError(f"{path}: {positions} has a position that is not finite")
    return found, positions_m


def _number(path: Path, held: dict[str, Any], name: str) -> float:
    try:
        return float(held[name])
    except (TypeError, ValueError) as error:
        raise FramesError(f"{path}: {name} is no number ({error})") from error
