"""The drives of an experiment: towns to train on, validation streets in them, and towns that are only for tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from vpr_core.data.ingest import ingest
from vpr_core.synthetic.drive import GROUND_TRUTH_TOPIC, Drive, record_drives

MAP_CONDITION = "noon"
TRAINED = (MAP_CONDITION, "dusk", "night", "fog", "rain", "winter")
CONDITIONS = (*TRAINED, "low_sun")
"""Of the queries; no network is trained on the last."""
OPPOSITE = "opposite"
"""Queries at the map's condition that drive its streets the other way round."""
VALIDATION = ("dusk", "night")


def training_drives(bags: Path, town: int) -> list[Drive]:
    """The main loop of a town under every condition."""
    return [_drive(bags, f"town{town}_train_{name}", town, name, "loop", seed) for seed, name in enumerate(TRAINED, 10)]


def validation_drives(bags: Path, town: int) -> list[Drive]:
    """Streets of a training town that training does not see: the map of a part of them, and queries that leave it."""
    database = _drive(bags, f"town{town}_validation_map", town, MAP_CONDITION, "offmap", 20, 350.0)
    queries = [
        _drive(bags, f"town{town}_validation_{name}", town, name, "offmap", seed, 500.0)
        for seed, name in enumerate(VALIDATION, 21)
    ]
    return [database, *queries]


def test_drives(bags: Path, town: int) -> list[Drive]:
    """A map at noon, and queries of the same streets under every condition and the other way round.

    Every drive has its own parked cars and traffic.
    """
    queries = [
        _drive(bags, f"town{town}_query_{name}", town, name, "loop", seed) for seed, name in enumerate(CONDITIONS, 31)
    ]
    back = _drive(bags, f"town{town}_query_{OPPOSITE}", town, MAP_CONDITION, OPPOSITE, 31 + len(CONDITIONS))
    return [_drive(bags, f"town{town}_map", town, MAP_CONDITION, "loop", 30), *queries, back]


def _drive(
    bags: Path, name: str, town: int, condition: str, route: str, seed: int, max_length_m: float | None = None
) -> Drive:
    """Without labels, which no network here takes, and with half the LiDAR's columns: twice as fast to record."""
    return Drive(bags / name, town, condition, route, seed, max_length_m, labels=False, lidar_columns=512)


def mean_of_others(recall: Mapping[str, float]) -> float:
    """Of figures by condition, the mean over those that the map was not made under, in its own direction."""
    return float(np.mean([value for name, value in recall.items() if name not in (MAP_CONDITION, OPPOSITE)]))


class Drives(Protocol):
    """Frames folders of an experiment."""

    @property
    def train(self) -> list[Path]: ...

    @property
    def validation(self) -> list[Path]: ...

    @property
    def described(self) -> list[Path]:
        """Those for tests."""


@dataclass(frozen=True)
class TestTown:
    """Frames folders of a town that no network is trained on."""

    number: int
    database: Path
    queries: dict[str, Path]
    """By condition, and that of OPPOSITE."""

    @property
    def drives(self) -> list[Path]:
        return [self.database, *self.queries.values()]


@dataclass(frozen=True)
class Towns:
    """Frames folders of an experiment."""

    train: list[Path]
    validation: list[Path]
    tests: list[TestTown]

    @property
    def described(self) -> list[Path]:
        return [drive for town in self.tests for drive in town.drives]

    @classmethod
    def planned(cls, frames: Path, train: Sequence[int], tests: Sequence[int]) -> Towns:
        """The folders of these towns, whether they are there or not; the first town's side streets validate."""
        return cls(
            [frames / drive.out.name for town in train for drive in training_drives(frames, town)],
            [frames / drive.out.name for drive in validation_drives(frames, train[0])],
            [_test_town(frames, town) for town in tests],
        )


def _test_town(frames: Path, town: int) -> TestTown:
    database, *queries = (drive.out for drive in test_drives(frames, town))
    return TestTown(town, database, dict(zip((*CONDITIONS, OPPOSITE), queries, strict=True)))


def town_drives(bags: Path, train: Sequence[int], tests: Sequence[int]) -> list[Drive]:
    """Every drive of `Towns.planned`."""
    return [
        *(drive for town in train for drive in training_drives(bags, town)),
        *validation_drives(bags, train[0]),
        *(drive for town in tests for drive in test_drives(bags, town)),
    ]


def record_frames(drives: Sequence[Drive], frames: Path, *, workers: int, keep_bags: bool = False) -> None:
    """Make the frames folders that are not there yet, with bars on stderr."""
    missing = [drive for drive in drives if not (frames / drive.out.name).is_dir()]
    record_drives(missing, workers=workers, overwrite=True, bar=bool(missing))
    ingest_drives(missing, frames)
    for drive in missing:
        if not keep_bags:
            shutil.rmtree(drive.out)


def ingest_drives(drives: Iterable[Drive], frames: Path, every_frame: Sequence[str] = ()) -> None:
    """Frames 2 m apart of each bag; of the drives named in `every_frame` all."""
    for drive in tqdm(list(drives), desc="ingest", unit="bag", disable=not drives):
        ingest(
            drive.out,
            frames / drive.out.name,
            pose_topic=GROUND_TRUTH_TOPIC,
            keyframe_m=0.0 if drive.out.name in every_frame else 2.0,
            area=f"town {drive.town}",
        )
