"""The drives of `vpr-distill trust`: towns that no network was trained in, one of like houses (docs/trust.md).

Beside each frames folder's own files lies odometry.csv: where the drive's drifting odometry had the vehicle at each
frame, as a robot would know it.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import cv2

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.errors import FramesError, VprError
from vpr_core.experiments.town import MAP_CONDITION, OPPOSITE, test_drives
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.retrieval.query import odometry_of
from vpr_core.synthetic.drive import GROUND_TRUTH_TOPIC, ODOMETRY_TOPIC, Drive, record_drive
from vpr_core.synthetic.town import GENERATION, Town
from vpr_core.types import POSE_COLUMNS, Pose

TOWNS = (7, 9, 11)
"""Of no other experiment, default or test here."""
IDENTICAL_TOWN = 13
"""Of like houses; what looks alike was told apart in that of town 7."""
TESTED = ("noon", "night", "rain", "low_sun", OPPOSITE)
FILTER_FITTED = "dusk"
FITTED_BACK = "dusk_back"
"""The other way round: what a vehicle is calibrated for that comes back along its streets."""
LAP_BEFORE = "_before"
"""Ends the name of another lap under a tested condition: other parked cars, other traffic, other odometry."""
FITTED = (FILTER_FITTED, "fog", "winter", FITTED_BACK, *(f"{name}{LAP_BEFORE}" for name in TESTED))
IDENTICAL_TESTED = ("noon", "rain")
OFF_MAP, ELSEWHERE = "off_map", "other towns"
"""Streets of the same town that the map lacks; drives through towns that the map has nothing of."""
IDENTICAL = "identical"
ODOMETRY = "odometry.csv"
_COLUMNS = ("stamp_ns", *POSE_COLUMNS)


@dataclass(frozen=True)
class TrustTown:
    """Frames folders of one town."""

    name: str
    number: int
    """By which the town is chosen that lends it what it is fitted with, see `neighbours`."""
    database: Path
    fitted: dict[str, Path]
    tested: dict[str, Path]
    """By condition, as those above it."""
    off_map: Path | None
    """None in the town of like houses, which nothing is off."""


@dataclass(frozen=True)
class TrustPlan:
    """Which drives there are. The sizes are those of `synth` but for the LiDAR's columns."""

    towns: tuple[int, ...] = TOWNS
    tested: tuple[str, ...] = TESTED
    fitted: tuple[str, ...] = FITTED
    identical_tested: tuple[str, ...] = IDENTICAL_TESTED
    max_length_m: float | None = None
    camera_hz: float = 2.0
    image_size: tuple[int, int] = (320, 240)
    lidar_columns: int = 512
    name: str = f"towns-{GENERATION}"
    """Of the folder: drives of other sizes lie in another."""

    def __post_init__(self) -> None:
        """Raises VprError where there are too few towns."""
        if len(set(self.towns)) < 3 or len(set(self.towns)) < len(self.towns):
            raise VprError(
                f"towns {' '.join(map(str, self.towns))} were given, expected three or more different ones: the filter "
                "is fitted in the next town, and one more shows what is off the map"
            )

    def town(self, frames: Path, number: int) -> TrustTown:
        """The folders of a town under `frames`, whether they are there or not."""
        drives = {_condition(drive): frames / drive.out.name for drive in self._of_town(frames, number)}
        return TrustTown(
            f"town {number}",
            number,
            drives["map"],
            {name: drives[name] for name in self.fitted},
            {name: drives[name] for name in self.tested},
            drives[OFF_MAP],
        )

    def identical(self, frames: Path) -> TrustTown:
        """The same of the town of like houses."""
        drives = {_condition(drive): frames / drive.out.name for drive in self._of_identical(frames)}
        tested = {name: drives[name] for name in self.identical_tested}
        return TrustTown(
            f"{IDENTICAL} {IDENTICAL_TOWN}",
            self.towns[0],
            drives["map"],
            {FILTER_FITTED: drives[FILTER_FITTED]},
            tested,
            None,
        )

    def drives(self, bags: Path) -> list[Drive]:
        """All of them, one town after the other."""
        return [*(drive for town in self.towns for drive in self._of_town(bags, town)), *self._of_identical(bags)]

    @cached_property
    def church_m(self) -> tuple[float, float]:
        """Where the church of the town of like houses stands, in its map frame."""
        church = Town(IDENTICAL_TOWN, IDENTICAL).church_m
        assert church is not None
        return float(church[0]), float(church[1])

    def _of_town(self, bags: Path, town: int) -> list[Drive]:
        wanted = {"map", *self.tested, *self.fitted, FILTER_FITTED, OFF_MAP}
        of_town = test_drives(bags, town)
        beside = replace(of_town[0], out=bags / f"town{town}_{OFF_MAP}", route="offmap", seed=39)
        at_dusk = next(drive for drive in of_town if _condition(drive) == FILTER_FITTED)
        back = replace(at_dusk, out=bags / f"town{town}_query_{FITTED_BACK}", route=OPPOSITE, seed=29)
        before = [
            replace(drive, out=drive.out.with_name(f"{drive.out.name}{LAP_BEFORE}"), seed=seed)
            for seed, drive in enumerate((drive for drive in of_town if _condition(drive) in TESTED), 50)
        ]
        return [self._sized(drive) for drive in (*of_town, back, beside, *before) if _condition(drive) in wanted]

    def _of_identical(self, bags: Path) -> list[Drive]:
        conditions = {"map": MAP_CONDITION} | {name: name for name in (FILTER_FITTED, *self.identical_tested)}
        stem = f"{IDENTICAL}{IDENTICAL_TOWN}"
        return [
            self._sized(
                Drive(bags / f"{stem}_{name}", IDENTICAL_TOWN, condition, "loop", seed, labels=False, style=IDENTICAL)
            )
            for seed, (name, condition) in enumerate(conditions.items(), 40)
        ]

    def _sized(self, drive: Drive) -> Drive:
        return replace(
            drive,
            max_length_m=self.max_length_m,
            camera_hz=self.camera_hz,
            image_size=self.image_size,
            lidar_columns=self.lidar_columns,
        )


QUICK = TrustPlan(
    tested=("noon", "night"),
    fitted=("dusk",),
    identical_tested=("noon",),
    max_length_m=170.0,
    camera_hz=4.0,
    image_size=(160, 120),
    lidar_columns=128,
    name=f"towns-{GENERATION}-quick",
)
"""Little of everything, to see that it runs: its figures say nothing."""


def _condition(drive: Drive) -> str:
    """Of town7_query_low_sun, low_sun; of town7_map, map."""
    return drive.out.name.partition("_")[2].removeprefix("query_")


def make_drives(plan: TrustPlan, folder: Path, *, workers: int, bar: bool = True) -> Path:
    """Record and ingest the drives of a plan that `folder` lacks; returns the folder of the frames folders.

    Each is whole as soon as it is there, so that an interrupt costs those alone that were being made.
    """
    frames = folder / "frames"
    missing = [drive for drive in plan.drives(folder / "bags") if not (frames / drive.out.name / ODOMETRY).is_file()]
    tasks = {drive.out.name: Task(_make, (drive, frames / drive.out.name)) for drive in missing}
    run_tasks(tasks, workers=workers, unit="frame", description="drives", bar=bar and bool(tasks))
    return frames


def _make(drive: Drive, frames: Path, progress: Progress) -> None:
    cv2.setNumThreads(1)
    values = {name: getattr(drive, name) for name in drive.__dataclass_fields__ if name not in ("out", "town", "style")}
    record_drive(
        drive.out, town=_built(drive.town, drive.style), style=drive.style, overwrite=True, progress=progress, **values
    )
    ingest(drive.out, frames, pose_topic=GROUND_TRUTH_TOPIC, area=f"{drive.style} {drive.town}", overwrite=True)
    write_odometry(frames, drive.out)
    shutil.rmtree(drive.out)


@lru_cache(maxsize=1)
def _built(town: int, style: str) -> Town:
    """To build one takes seconds, and a worker's next drive is mostly through the same."""
    return Town(town, style)


def write_odometry(frames: Path, bag: Path) -> None:
    """Where the odometry of a bag has the vehicle at each frame of its frames folder."""
    track = odometry_of(bag, "camera", pose_topic=ODOMETRY_TOPIC)
    rows = [(frame.stamp_ns, track.at(frame.stamp_ns)) for frame in Frames.load(frames).frames]
    if lost := [stamp for stamp, pose in rows if isinstance(pose, str)]:
        raise FramesError(f"{bag} has no odometry at {len(lost)} of {len(rows)} frames, expected it at all")
    making = frames / f"{ODOMETRY}.part"
    with making.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([stamp, *pose.cells()] for stamp, pose in rows if isinstance(pose, Pose))
    making.rename(frames / ODOMETRY)


def read_odometry(frames: Path) -> list[Pose]:
    """T_odom_base of each frame; raises FramesError where there is none."""
    try:
        with (frames / ODOMETRY).open(newline="") as file:
            poses = [Pose.from_cells([row[name] for name in POSE_COLUMNS]) for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise FramesError(f"{frames} has no {ODOMETRY}: it was not made by `vpr-distill trust`") from None
    return [pose for pose in poses if pose is not None]


def neighbours(towns: Sequence[int], number: int) -> tuple[int, list[int]]:
    """The town whose drives another is fitted with beside its own, and those whose tested drives are off its map.

    So no drive that a town is tested with is of a town that lends it what it is fitted with.
    """
    at = towns.index(number)
    following = towns[(at + 1) % len(towns)]
    return following, [town for town in towns if town not in (number, following)]
