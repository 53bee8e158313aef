"""What the networks of a table are trained on and tested with: made-up towns, or recorded drives of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.pairs import average_recall, evaluate_pairs
from vpr_core.experiments.labelled import label_drives
from vpr_core.experiments.networks import Network, titles_of
from vpr_core.experiments.side_by_side import describer, evaluate_network, table_rows
from vpr_core.experiments.town import CONDITIONS, Drives, Towns, mean_of_others, record_frames, town_drives
from vpr_core.files import sha256_json
from vpr_core.synthetic.town import GENERATION
from vpr_core.training.teacher import hash_of_drives

Row = dict[str, str]
DRIVES = f"towns-{GENERATION}"
"""Which drives of made-up towns the figures are of, and the folder of them and of what is trained on them."""
COLUMNS = (
    "label", "recipe", "student", "seed", "modality", "method", "drives", "trained_on", "town", "condition", "steps",
    "seconds",
    "recall_at_1", "recall_at_5", "recall_at_1_percent", "evaluated",
)  # fmt: skip
OF_LABELS = ("recall_at_10", "samples_weighed")
"""Columns that tables of networks on labels have beside these: samples_weighed is the share of the training samples
with a weight above 0, empty where samples are not weighed."""
PAIRS = "all pairs"
"""In the place of a condition, where every run is once the map of every other."""


class Source(Protocol):
    """Drives, and how the figures on them stand in a table."""

    @property
    def drives(self) -> Drives: ...

    @property
    def name(self) -> str:
        """In the column `drives`."""

    @property
    def trained_on(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table."""

    @property
    def places(self) -> list[str]:
        """What a network has rows of, in the column `town`."""

    @property
    def folder(self) -> Path:
        """Of the checkpoints."""

    @property
    def says(self) -> str:
        """What a figure is, for the reader."""

    @property
    def options(self) -> str:
        """Of the command, that choose these drives."""

    def prepare(self, workers: int) -> None:
        """Make the drives that are not there yet."""

    def rows(self, network: Network) -> list[dict[str, Any]]:
        """Of a network that was trained and has described what it is tested with."""

    def recall(self, rows: Sequence[Row], figure: str = "recall_at_1") -> float | None:
        """Of a network's rows the mean of a column [%]; None where some are missing, or have no such figure."""

    def by_condition(self, rows: Sequence[Row], figure: str = "recall_at_1") -> dict[str, float]:
        """The same for each condition, over the places; without those of which some are missing."""


@dataclass(frozen=True)
class TownSource:
    """Towns to train on, and others to test in."""

    work: Path
    train_towns: Sequence[int]
    test_towns: Sequence[int]
    labelled: bool = False
    """Frames have labels, and no clouds."""
    name: str = DRIVES
    says: str = "Recall@1 [%] within 10 m, the mean over the towns of the mean of the conditions other than the map's"

    @property
    def drives(self) -> Towns:
        frames = self.work / DRIVES / ("labelled" if self.labelled else "frames")
        return Towns.planned(frames, self.train_towns, self.test_towns)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*COLUMNS, *OF_LABELS) if self.labelled else COLUMNS

    @property
    def trained_on(self) -> str:
        return "+".join(map(str, self.train_towns))

    @property
    def places(self) -> list[str]:
        return [str(town) for town in self.test_towns]

    @property
    def folder(self) -> Path:
        return self.work / DRIVES / f"{'labelled_' if self.labelled else ''}trained_on_{self.trained_on}"

    @property
    def options(self) -> str:
        train, test = (" ".join(map(str, towns)) for towns in (self.train_towns, self.test_towns))
        return f"--train_towns {train} --test_towns {test}"

    def prepare(self, workers: int) -> None:
        folder = self.work / DRIVES
        drives = town_drives(folder / "bags", self.train_towns, self.test_towns)
        record_frames(drives, folder / "frames", workers=workers)
        if self.labelled:
            label_drives(drives, folder / "frames", folder / "labelled", workers=workers)

    def rows(self, network: Network) -> list[dict[str, Any]]:
        return [
            row
            for town in self.drives.tests
            for evaluations in evaluate_network(network, self.folder, town).values()
            for row in table_rows(evaluations, network.recipe.modality, network.recipe.seed, town)
        ]

    def recall(self, rows: Sequence[Row], figure: str = "recall_at_1") -> float | None:
        found = _by_place(self.places, rows, figure)
        if not all(set(CONDITIONS) <= of_town.keys() for of_town in found.values()):
            return None
        return 100 * float(np.mean([mean_of_others(of_town) for of_town in found.values()]))

    def by_condition(self, rows: Sequence[Row], figure: str = "recall_at_1") -> dict[str, float]:
        found = list(_by_place(self.places, rows, figure).values())
        names = [name for name in found[0] if all(name in of_town for of_town in found)]
        return {name: 100 * float(np.mean([of_town[name] for of_town in found])) for name in names}


def _by_place(places: Sequence[str], rows: Sequence[Row], figure: str) -> dict[str, dict[str, float]]:
    """A figure by place and condition."""
    found: dict[str, dict[str, float]] = {place: {} for place in places}
    for row in rows:
        if row.get(figure):
            found[row["town"]][row["condition"]] = float(row[figure])
    return found


@dataclass(frozen=True)
class RunSource:
    """Frames folders of a data set: drives to train on, and runs of which each is the map of all others."""

    work: Path
    name: str
    train: list[Path]
    validation: list[Path]
    described: list[Path]
    """The runs."""
    radius_m: float

    def __post_init__(self) -> None:
        """Raises FramesError where folders are missing or stand twice."""
        if not self.train or len(self.described) < 2:
            raise FramesError(f"{self.name}: give frames folders to train on with --frames, and two or more --runs")
        if twice := {*self.train, *self.validation} & {*self.described}:
            raise FramesError(f"{', '.join(map(str, sorted(twice)))}: for training and for tests at once")
        if len({folder.name for folder in self.described}) < len(self.described):
            raise FramesError("two of the --runs have folders of one name: give each its own")

    @property
    def drives(self) -> Drives:
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return COLUMNS

    @cached_property
    def trained_on(self) -> str:
        return _hash_of([*self.train, *self.validation])[:12]

    @cached_property
    def places(self) -> list[str]:
        return [sha256_json([_hash_of(self.described), self.radius_m])[:12]]

    @property
    def folder(self) -> Path:
        return self.work / self.name / f"trained_on_{self.trained_on}"

    @property
    def says(self) -> str:
        return f"AR@1 [%] within {self.radius_m:g} m, the mean over every ordered pair of {len(self.described)} runs"

    @property
    def options(self) -> str:
        folders = {"frames": self.train, "validation": self.validation, "runs": self.described}
        words = [f"--{name} {' '.join(map(str, paths))}" for name, paths in folders.items() if paths]
        return f"--data {self.name} {' '.join(words)} --radius_m {self.radius_m:g}"

    def prepare(self, workers: int) -> None:
        """The folders are there."""

    def rows(self, network: Network) -> list[dict[str, Any]]:
        runs = [Frames.load(folder) for folder in self.described]
        rows = []
        for head, title in titles_of(network).items():
            describe = describer(self.folder / network.name, head)
            average = average_recall(evaluate_pairs(title, describe, runs, self.radius_m))
            known = {"modality": network.recipe.modality, "seed": network.recipe.seed, "town": self.places[0]}
            rows.append({**average, **known, "condition": PAIRS})
        return rows

    def recall(self, rows: Sequence[Row], figure: str = "recall_at_1") -> float | None:
        return next((100 * float(row[figure]) for row in rows if row["condition"] == PAIRS and row.get(figure)), None)

    def by_condition(self, rows: Sequence[Row], figure: str = "recall_at_1") -> dict[str, float]:
        recall = self.recall(rows, figure)
        return {} if recall is None else {PAIRS: recall}


def _hash_of(folders: Sequence[Path]) -> str:
    return hash_of_drives([Frames.load(folder) for folder in folders])
