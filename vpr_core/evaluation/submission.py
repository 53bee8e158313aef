"""Ranked lists as the challenge of Mapillary Street-Level Sequences takes them.

A text file of one line a query: its key, then the keys of the places, the most similar first, a space between any two.
A key is the name of an image file without its ending, as MSLS names them: images/KEY.jpg. All queries of all of its
six cities go into one file, at most RETRIEVED places each; the server looks at the first 20.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError, VprError
from vpr_core.evaluation.comparison import Drives
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.ranked import Ranked
from vpr_core.files import write_atomic


def ranked_by(
    method: Method, drives: Drives, metric: str = "cosine", progress: Callable[[int], object] = lambda _: None
) -> list[np.ndarray]:
    """For each query drive the rows of the database int64 [queries, k], the most similar first. No poses are needed.

    metric: a key of `method.retrieve`, its own where it has no other. progress: called with the number of frames just
    described.
    """
    retrieve = method.retrieve.get(metric) or next(iter(method.retrieve.values()))
    database = _database_of(drives)
    known = (method.describe_database or method.describe)(database)
    progress(len(database))
    lists = []
    for drive in drives.queries:
        _, rows = retrieve(known, method.describe(drive)[drive.queries])
        progress(len(drive))
        lists.append(rows)
    return lists


def ranked_in(ranked: Ranked, drives: Drives) -> list[np.ndarray]:
    """The same of ranked lists that were read; raises VprError where they do not fit the drives."""
    database, alone = _database_of(drives), len(drives.queries) == 1
    return [ranked(database, drive.asked, alone)[1] for drive in drives.queries]


def write_submission(path: Path, drives: Drives, lists: list[np.ndarray]) -> Path:
    """Write the file; lists: as `ranked_by` gives them.

    Raises FramesError where a frame has no image, or two frames of one side have the same key.
    """
    places = _keys([_database_of(drives)])
    queries = iter(_keys([drive.asked for drive in drives.queries]))
    lines = [" ".join([next(queries), *(places[row] for row in rows)]) for found in lists for rows in found]
    write_atomic(path, ("\n".join(lines) + "\n").encode())
    return path


def _database_of(drives: Drives) -> Frames:
    if drives.database is None:
        raise VprError("a submission is of one database: give --database and --queries in place of --runs")
    return drives.database


def _keys(drives: list[Frames]) -> list[str]:
    keys = []
    for drive in drives:
        if without := [frame.index for frame in drive.frames if not frame.image]:
            raise FramesError(f"frame {without[0]} of {drive.folder} has no image, by whose name a submission calls it")
        keys += [Path(frame.image).stem for frame in drive.frames if frame.image]
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        named = ", ".join(str(drive.folder) for drive in drives)
        raise FramesError(f"{named}: {len(twice)} images have the name of another, first {twice[0]}: keys are unique")
    return keys
