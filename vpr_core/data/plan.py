"""What there is of a published data set, frame by frame, as a file of `vpr_core.data.datasets` finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vpr_core.files import sha256_json
from vpr_core.types import Pose

Sensor = Literal["image", "cloud"]
SENSORS: tuple[Sensor, ...] = ("image", "cloud")


@dataclass(frozen=True)
class Item:
    """A frame as it lies in a data set."""

    stamp_ns: int
    pose: Pose | None
    """T_map_base at `stamp_ns`; None where the data set keeps it to itself, for every frame of a run."""
    cloud: Path | None = None
    image: Path | None = None
    image_lag_ns: int = 0
    """How long after `stamp_ns` the image was taken."""
    query: bool = True


@dataclass(frozen=True)
class Conversion:
    """How a file becomes what a frames folder holds."""

    read: Callable[[Path], np.ndarray]
    """RGB uint8 [H, W, 3] of an image or float32 [N, 4] of a cloud; raises InputError where the file is damaged."""
    name: str
    """What it does; another name, another result."""


@dataclass(frozen=True)
class Run:
    """One drive of a data set, for one side of its split."""

    name: str
    split: Literal["train", "test"]
    items: tuple[Item, ...]
    drops: Mapping[str, int] = field(default_factory=dict)
    """How many frames were left out, by reason."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """What card.json says beside what all runs have."""
    conversions: Mapping[Sensor, Conversion] = field(default_factory=dict)
    """Of sensors whose files cannot stay as they are."""

    @property
    def area(self) -> tuple[str, str]:
        """As `vpr_core.data.frames.Frames.area`."""
        return self.card.get("area") or "", self.card["map_frame"]

    @property
    def poses(self) -> list[Pose]:
        """Of every frame; none in a run without poses."""
        return [item.pose for item in self.items if item.pose]

    @property
    def positions_m(self) -> np.ndarray:
        """[N, 3] in the map frame."""
        return np.array([pose.position_m for pose in self.poses], float).reshape(-1, 3)

    @property
    def yaws_rad(self) -> np.ndarray:
        """[N] in the map frame."""
        return np.array([pose.yaw_rad for pose in self.poses], float)

    @property
    def queries(self) -> np.ndarray:
        """bool [N]."""
        return np.array([item.query for item in self.items], bool)

    def identity(self, made_by: str) -> str:
        """Hash of everything that its frames folder is made of but the content of the files."""
        items = [[item.stamp_ns, item.pose.cells() if item.pose else None, str(item.cloud), str(item.image), item.query]
                 for item in self.items]  # fmt: skip
        conversions = {sensor: conversion.name for sensor, conversion in self.conversions.items()}
        return sha256_json([made_by, self.name, self.split, items, dict(self.drops), dict(self.card), conversions])


@dataclass(frozen=True)
class Plan:
    """What there is of a data set, and what there is not."""

    runs: tuple[Run, ...]
    missing: Mapping[str, Sequence[str]]
    """What is missing, and of which runs."""
    where: str
    """What to download from where."""
    notes: Sequence[str] = ()
    """What else there is to know."""
    pairs: Sequence[tuple[str, str]] | None = None
    """Names of the test's runs, database and queries, that are evaluated; None: every ordered pair of all."""

    def of(self, split: str) -> list[Run]:
        return [run for run in self.runs if run.split == split]

    @property
    def evaluated(self) -> list[tuple[Run, Run]]:
        """Database and query run of each evaluation of the test."""
        test = self.of("test")
        if self.pairs is None:
            return [(here, there) for here in test for there in test if here is not there and there.queries.any()]
        named = {run.name: run for run in test}
        return [(named[here], named[there]) for here, there in self.pairs]


class Missing:
    """Collects what is missing, by reason."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def note(self, reason: str, of: str) -> None:
        self.found.setdefault(reason, []).append(of)

    def note_drops(self, what: str, drops: Mapping[str, int], of: str, total: int) -> None:
        """Note how many of all frames of a run were left out, by reason."""
        for reason, count in drops.items():
            self.note(f"{what} with {reason}", f"{of} {count} of {total}")


def counts(plan: Plan, positive_m: float, radius_m: float, max_heading_deg: float | None = None) -> dict[str, Any]:
    """How many frames and queries there are, and how many of them have a place to learn from or to be found at.

    evaluated and skipped: queries of `Plan.evaluated` with and without a place within `radius_m`, and of a heading
    that differs by no more than `max_heading_deg`; of runs without poses neither.
    """
    train, test, pairs = plan.of("train"), plan.of("test"), plan.evaluated
    asked = [len(found) > 0 for pair in pairs for found in _truth(*pair, radius_m, max_heading_deg)]
    return {
        "train": {
            "runs": len(train),
            "frames": sum(len(run.items) for run in train),
            "with_positive": _with_positive(train, positive_m),
        },
        "test": {
            "runs": len(test),
            "frames": sum(len(run.items) for run in test),
            "queries": sum(int(run.queries.sum()) for run in test),
            "pairs": len(pairs),
            "evaluated": sum(asked),
            "skipped": len(asked) - sum(asked),
        },
    }


def _with_positive(runs: Sequence[Run], positive_m: float) -> int:
    from vpr_core.data.places import count_within  # brings SciPy, which --help does without

    areas: dict[tuple[str, str], list[np.ndarray]] = {}
    for run in runs:
        areas.setdefault(run.area, []).append(run.positions_m)
    known = [np.concatenate(positions_m) for positions_m in areas.values()]
    return sum(int((count_within(known_m, known_m, positive_m) > 1).sum()) for known_m in known)


def _truth(database: Run, queries: Run, radius_m: float, max_heading_deg: float | None) -> list[np.ndarray]:
    from vpr_core.data.places import facing, within

    if not (database.poses and queries.poses):
        return []
    truth = within(database.positions_m, queries.positions_m[queries.queries], radius_m)
    if max_heading_deg is None:
        return truth
    return facing(truth, database.yaws_rad, queries.yaws_rad[queries.queries], np.radians(max_heading_deg))
