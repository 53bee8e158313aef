"""The splits of PointNetVLAD and MinkLoc++ as their authors' pickles have them, read as plain data.

training_queries_baseline.pickle     {number: TrainingTuple, or {"query", "positives", "negatives"}}
test_queries_baseline.pickle         the same of the frames in the test boxes, by which MinkLoc++ validates
oxford_evaluation_database.pickle    of each test run {number: {"query", "northing", "easting"}}: all its submaps
oxford_evaluation_query.pickle       the same of those that are asked for
lidar2image_ndx.pickle               {stamp of a submap: stamps of images, the nearest first}; need not be there
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vpr_core.data.oxford_submaps import Submap
from vpr_core.data.plain_pickle import load_plain
from vpr_core.errors import FramesError

TRAINING, VALIDATION = "training_queries_baseline.pickle", "test_queries_baseline.pickle"
DATABASE, QUERY = "oxford_evaluation_database.pickle", "oxford_evaluation_query.pickle"
IMAGES = "lidar2image_ndx.pickle"
_TUPLE = "TrainingTuple"


@dataclass(frozen=True)
class Pickled:
    """What the pickles of one folder say."""

    train: dict[str, list[Submap]]
    """By run."""
    test: dict[str, list[Submap]]
    images: dict[int, int]
    """The nearest image of a submap; empty where no pickle says."""
    differing: int | None
    """How many training tuples have other positives or non-negatives than the radii give; None where none has both."""


def read_pickles(folder: Path, positive_m: float, negative_m: float) -> Pickled:
    """Read the pickles of a folder, the first four of which have to be there; the radii are compared, not applied.

    Raises FramesError where one is absent or of another form, asks for anything that is not plain data, or where
    training has a submap that the others keep for the test.
    """
    tuples = _entries(folder / TRAINING, load_plain(folder / TRAINING, [_TUPLE]))
    training = _submaps(folder / TRAINING, tuples)
    kept_out = _submaps(folder / VALIDATION, _entries(folder / VALIDATION, load_plain(folder / VALIDATION, [_TUPLE])))
    for run, submaps in training.items():
        shared = {submap.stamp for submap in submaps} & {submap.stamp for submap in kept_out.get(run, [])}
        if shared:
            raise FramesError(f"{folder}: {len(shared)} submaps of {run} are in {TRAINING} and in {VALIDATION}")
    database, asked = _runs(folder / DATABASE), _runs(folder / QUERY)
    queries = {(run, submap.stamp) for run, submaps in asked.items() for submap in submaps}
    if unknown := queries - {(run, submap.stamp) for run, submaps in database.items() for submap in submaps}:
        raise FramesError(f"{folder / QUERY} has {len(unknown)} submaps that {DATABASE} lacks, such as {min(unknown)}")
    test = {
        run: [submap._replace(query=(run, submap.stamp) in queries) for submap in submaps]
        for run, submaps in database.items()
    }
    return Pickled(training, test, _images(folder / IMAGES), _differing(tuples, positive_m, negative_m))


def _differing(tuples: list[Mapping[str, Any]], positive_m: float, negative_m: float) -> int | None:
    from vpr_core.data.places import positives, within  # brings SciPy, which --help does without

    if not all({"position", "positives", "non_negatives"} <= {*entry} for entry in tuples):
        return None
    positions_m = np.array([np.asarray(entry["position"], float) for entry in tuples]).reshape(-1, 2)
    ours = zip(positives(positions_m, positive_m), within(positions_m, positions_m, negative_m), strict=True)
    return sum(
        {*map(int, entry["positives"])} != {*near.tolist()} or {*map(int, entry["non_negatives"])} != {*around.tolist()}
        for entry, (near, around) in zip(tuples, ours, strict=True)
    )


def _submaps(path: Path, tuples: list[Mapping[str, Any]]) -> dict[str, list[Submap]]:
    """Of training tuples, by run, in their order."""
    found: dict[str, list[Submap]] = {}
    for entry in tuples:
        run, stamp = _run_and_stamp(path, entry.get("rel_scan_filepath", entry.get("query")))
        position = np.asarray(entry.get("position", [None, None])).ravel().tolist()
        northing, easting = (value if value is None else float(value) for value in position)
        found.setdefault(run, []).append(Submap(stamp, northing, easting))
    return found


def _runs(path: Path) -> dict[str, list[Submap]]:
    """Of the list of runs that an evaluation pickle is."""
    runs = load_plain(path)
    if not isinstance(runs, list):
        raise FramesError(f"{path} holds {type(runs).__name__}, expected a list of runs")
    found: dict[str, list[Submap]] = {}
    for run in runs:
        for entry in _entries(path, run):
            name, stamp = _run_and_stamp(path, entry.get("query"))
            try:
                found.setdefault(name, []).append(Submap(stamp, float(entry["northing"]), float(entry["easting"])))
            except (KeyError, TypeError, ValueError) as error:
                raise FramesError(f"{path}: the entry of {name} {stamp} has no northing and easting") from error
    return found


def _entries(path: Path, numbered: Any) -> list[Mapping[str, Any]]:
    if not isinstance(numbered, dict):
        raise FramesError(f"{path} holds {type(numbered).__name__}, expected a dict of numbered entries")
    entries = [entry if isinstance(entry, dict) else getattr(entry, "__dict__", None) for entry in numbered.values()]
    if None in entries:
        raise FramesError(f"{path} has entries that are no records: expected {_TUPLE} or dict")
    return entries  # type: ignore[return-value]  # none is None


def _run_and_stamp(path: Path, file: Any) -> tuple[str, int]:
    """Of a submap's file such as oxford/RUN/pointcloud_20m/STAMP.bin."""
    parts = PurePosixPath(file).parts if isinstance(file, str) else ()
    if len(parts) < 3 or not (stem := PurePosixPath(parts[-1]).stem).isdigit():
        raise FramesError(f"{path} names the file {file!r}, expected RUN/FOLDER/STAMP.bin")
    return parts[-3], int(stem)


def _images(path: Path) -> dict[int, int]:
    if not path.is_file():
        return {}
    index = load_plain(path)
    try:
        return {int(stamp): int(images[0]) for stamp, images in index.items() if len(images)}
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise FramesError(
            f"{path} is no index of images: expected {{stamp of a submap: [stamps of images]}}"
        ) from error
