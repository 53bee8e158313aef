"""The authors' pickles decide the split, whatever the CSV files and boxes would say."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.datasets import oxford_robotcar
from vpr_core.data.datasets.oxford_robotcar import read_locations
from vpr_core.data.oxford_pickles import DATABASE, IMAGES, QUERY, TRAINING, VALIDATION, read_pickles
from vpr_core.errors import FramesError

Tiny = dict[str, tuple[Path, Any]]


class TrainingTuple:
    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


class Harm:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


def submaps(root: Path, run: str, folder: str) -> list[dict[str, Any]]:
    located = read_locations(root / run / f"pointcloud_locations{folder.removeprefix('pointcloud')}.csv")
    return [
        {"query": f"oxford/{run}/{folder}/{stamp}.bin", "northing": at.northing, "easting": at.easting}
        for stamp, at in located.items()
    ]


def training_tuples(entries: list[dict[str, Any]]) -> dict[int, TrainingTuple]:
    """With the position as an array of objects, as pandas gives it."""
    at_m = np.array([(entry["northing"], entry["easting"]) for entry in entries])
    apart_m = np.linalg.norm(at_m[:, None] - at_m[None], axis=2)
    return {
        number: TrainingTuple(id=number, timestamp=int(Path(entry["query"]).stem), rel_scan_filepath=entry["query"],
                              positives=np.setdiff1d(np.flatnonzero(apart_m[number] <= 10), [number]),
                              non_negatives=np.flatnonzero(apart_m[number] <= 50),
                              position=np.array([entry["northing"], entry["easting"]], dtype=object))
        for number, entry in enumerate(entries)
    }  # fmt: skip


@pytest.fixture
def pickles(tiny: Tiny, tmp_path: Path) -> Path:
    """The first three submaps of each run to train on, the next two to validate, and every third asked for."""
    root, options = tiny["oxford_robotcar"]
    train = [entry for run in options.train_runs for entry in submaps(root, run, "pointcloud_20m_10overlap")[:3]]
    kept = [entry for run in options.train_runs for entry in submaps(root, run, "pointcloud_20m_10overlap")[3:5]]
    database = [dict(enumerate(submaps(root, run, "pointcloud_20m"))) for run in options.test_runs]
    query = [dict(enumerate({**entry, 1: [0]} for entry in [*run.values()][::3])) for run in database]
    stamps = [int(Path(entry["query"]).stem) for run in database for entry in run.values()]
    images = {stamp: [stamp + 500_000, stamp + 30_000] for stamp in stamps}
    contents = {TRAINING: training_tuples(train), VALIDATION: training_tuples(kept), DATABASE: database, QUERY: query,
                IMAGES: images}  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
    return tmp_path


def test_the_split_is_theirs(tiny: Tiny, pickles: Path) -> None:
    root, options = tiny["oxford_robotcar"]
    plan = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles))
    assert not plan.missing, "all of their runs are there, so nothing is"
    ours = "9 of 9 training tuples of the pickles have the positives within 10 m and the non-negatives within 50 m"
    assert plan.notes == [ours]
    refined = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles, positive_m=25.1))
    assert refined.notes[0].startswith("0 of 9 training tuples of the pickles have the positives within 25.1 m")
    assert [(run.split, run.name, len(run.items)) for run in plan.runs] == [
        *(("train", run, 3) for run in options.train_runs), *(("test", run, 10) for run in options.test_runs)
    ]  # fmt: skip
    for run in plan.of("test"):
        assert run.queries.tolist() == [True, False, False] * 3 + [True]
    for run in plan.of("train"):
        located = read_locations(root / run.name / "pointcloud_locations_20m_10overlap.csv")
        positions_m = [(at.easting, at.northing, 0.0) for at in [*located.values()][:3]]
        np.testing.assert_array_equal(run.positions_m, positions_m)


def test_the_index_of_images_goes_before_the_nearest(tiny: Tiny, pickles: Path) -> None:
    root, _ = tiny["oxford_robotcar"]
    indexed = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles))
    assert {item.image_lag_ns for run in indexed.of("test") for item in run.items} == {500_000_000}
    assert {item.image_lag_ns for item in indexed.of("train")[0].items} == {30_000_000}, "not in the index"
    (pickles / IMAGES).write_bytes(
        pickle.dumps({stamp: [5] for stamp in pickle.loads((pickles / IMAGES).read_bytes())})
    )
    gone = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles))
    assert len(gone.missing["submaps with no file of the image in the index"]) == 5 and not gone.of("test")
    (pickles / IMAGES).unlink()
    nearest = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles))
    assert {item.image_lag_ns for run in nearest.runs for item in run.items} == {30_000_000}


def test_pointnetvlad_s_own_tuples_take_positions_from_the_csv_files(tiny: Tiny, pickles: Path) -> None:
    root, options = tiny["oxford_robotcar"]
    entries = submaps(root, options.train_runs[0], "pointcloud_20m_10overlap")[:4]
    tuples = {number: {"query": entry["query"], "positives": [1, 2], "negatives": [3]}
              for number, entry in enumerate(entries)}  # fmt: skip
    for name, content in ((TRAINING, tuples), (VALIDATION, {})):
        (pickles / name).write_bytes(pickle.dumps(content, 2))
    plan = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles))
    (train,) = plan.of("train")
    assert not plan.notes, "they have no positions to compare with"
    np.testing.assert_array_equal(train.positions_m[:, 0], [entry["easting"] for entry in entries])


def test_what_cannot_be_used_is_refused(tiny: Tiny, pickles: Path) -> None:
    root, _ = tiny["oxford_robotcar"]
    options = oxford_robotcar.Options(pickles=pickles)
    good = {path.name: path.read_bytes() for path in pickles.iterdir()}

    def refused(name: str, content: object, match: str) -> None:
        (pickles / name).write_bytes(pickle.dumps(content))
        with pytest.raises(FramesError, match=match):
            oxford_robotcar.plan(root, options)
        (pickles / name).write_bytes(good[name])

    refused(TRAINING, {0: Harm()}, r"asks for (posix|nt)\.system")
    refused(TRAINING, [1, 2], "holds list, expected a dict of numbered entries")
    refused(TRAINING, {0: 5}, "has entries that are no records")
    refused(TRAINING, {0: {"query": "12.bin"}}, r"names the file '12.bin', expected RUN/FOLDER/STAMP.bin")
    refused(VALIDATION, pickle.loads(good[TRAINING]), "3 submaps of .* are in training_queries_baseline.pickle and in")
    refused(DATABASE, {0: {}}, "holds dict, expected a list of runs")
    refused(DATABASE, [{}], "has 12 submaps that oxford_evaluation_database.pickle lacks")
    refused(QUERY, [{0: {"query": "a/b/12.bin"}}], "has no northing and easting")
    refused(IMAGES, {1: 5}, "is no index of images")
    (pickles / TRAINING).unlink()
    with pytest.raises(FramesError, match="training_queries_baseline.pickle is missing"):
        read_pickles(pickles, 10.0, 50.0)


def test_runs_and_submaps_that_are_not_there_are_named(tiny: Tiny, pickles: Path) -> None:
    root, options = tiny["oxford_robotcar"]
    database = [{0: {"query": "oxford/2015-01-01-00-00-00/pointcloud_20m/5.bin", "northing": 0.0, "easting": 0.0}}]
    for name, content in ((DATABASE, database), (QUERY, [])):
        (pickles / name).write_bytes(pickle.dumps(content))
    plan = oxford_robotcar.plan(root, oxford_robotcar.Options(pickles=pickles))
    assert plan.missing == {"no folder": ["2015-01-01-00-00-00 (test)"]} and not plan.of("test")
    other = oxford_robotcar.plan(
        root, replace(oxford_robotcar.Options(pickles=pickles), test_runs=options.test_runs[:1])
    )
    assert other.missing == {"no submap that could be used": [f"{options.test_runs[0]} (test)"]}
