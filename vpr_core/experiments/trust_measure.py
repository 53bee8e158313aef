"""Maps, calibrations and filters of `vpr-distill trust`, and what they answer: a file of results for each town and
sensor, made in processes side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

import vpr_core
from vpr_core.data.frames import Frames
from vpr_core.experiments.trust_drives import FILTER_FITTED, OFF_MAP, TrustPlan, TrustTown, neighbours
from vpr_core.experiments.trust_outcomes import RADIUS_M, TARGET, Judge, Outcome, Seen, look
from vpr_core.experiments.trust_runs import Church, Cut, churches, cuts
from vpr_core.files import sha256_bytes, sha256_json, write_json
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.calibrating import ValidationDrive, calibrate
from vpr_core.retrieval.filter import PlaceFilter
from vpr_core.retrieval.filter_fit import CHOICES, fit_filter_of_drive
from vpr_core.retrieval.mapping import build_map, describe
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.synthetic.lidar import Lidar
from vpr_core.types import Pose

ELSEWHERE = "other towns"
"""Drives through towns that the map has nothing of."""
FITTED = "fitted.json"
"""In a map's folder: the key of what its filter was fitted by."""
KIDNAPPED = ("noon", "night", "rain")
"""Conditions whose drives are cut, where they are tested."""


@dataclass(frozen=True)
class Results:
    """Of one town and one sensor."""

    outcomes: list[Outcome]
    cuts: list[Cut]
    churches: list[Church]

    def to_json(self) -> dict[str, Any]:
        return {
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "cuts": [asdict(cut) for cut in self.cuts],
            "churches": [asdict(church) for church in self.churches],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Results:
        return cls(
            [Outcome.from_json(value) for value in values["outcomes"]],
            [Cut(**value) for value in values["cuts"]],
            [Church(**value) for value in values["churches"]],
        )


@dataclass(frozen=True)
class Workplace:
    """What all tasks of one bundle have in common."""

    plan: TrustPlan
    folder: Path
    """Of the plan's drives."""
    bundle: Path
    bundle_hash: str
    sensor: str
    verify_every: int

    @property
    def key(self) -> str:
        """Names what results depend on: bundle, plan, and the code that makes and judges them."""
        return sha256_json([self.bundle_hash, asdict(self.plan), self.verify_every, code_hash()])[:16]

    @property
    def frames(self) -> Path:
        return self.folder / "frames"

    def map(self, name: str) -> Path:
        return self.folder / "maps" / self.bundle_hash / name.replace(" ", "_")

    def results(self, name: str) -> Path:
        return self.folder / "results" / self.bundle_hash / f"{name.replace(' ', '_')}.json"

    @property
    def towns(self) -> list[TrustTown]:
        """All that are measured, that of like houses last."""
        return [*(self.plan.town(self.frames, number) for number in self.plan.towns), self.plan.identical(self.frames)]


def code_hash() -> str:
    """Of the sources that maps, calibrations, filters and this measurement are made by."""
    root = Path(vpr_core.__file__).parent
    sources = sorted([*root.glob("retrieval/*.py"), *root.glob("experiments/trust_*.py")])
    report = {"trust_figures.py", "trust_checks.py", "trust_report.py"}
    return sha256_json([[path.name, sha256_bytes(path.read_bytes())] for path in sources if path.name not in report])


def measure(workplaces: Sequence[Workplace], *, workers: int, bar: bool = True) -> dict[tuple[str, str], Results]:
    """The results of each sensor and town; those that are there already are not made again."""
    missing = [(place, town) for place in workplaces for town in place.towns if _stored(place, town.name) is None]
    tasks: dict[str, Task] = {}
    for place, town in missing:
        fitted = [lender(place, town), *([town] if town.off_map else [])]
        tasks |= {_name(place, of, "fit"): Task(_fit, (place, of)) for of in fitted}
        after = tuple(_name(place, of, "fit") for of in fitted)
        tasks[_name(place, town, "measure")] = Task(_measure, (place, town), after)
    run_tasks(tasks, workers=workers, unit="step", description="measure", bar=bar and bool(tasks))
    found = {}
    for place in workplaces:
        for town in place.towns:
            results = _stored(place, town.name)
            assert results, town.name
            found[place.sensor, town.name] = results
    return found


def lender(place: Workplace, town: TrustTown) -> TrustTown:
    """The town whose map and drive at dusk the filter of another was fitted with."""
    return place.plan.town(place.frames, neighbours(place.plan.towns, town.number)[0])


def _name(place: Workplace, town: TrustTown, what: str) -> str:
    return f"{what} {place.bundle_hash} {town.name}"


def _stored(place: Workplace, name: str) -> Results | None:
    """Results that were made with this key; None where there are none."""
    try:
        values = json.loads(place.results(name).read_text())
        return Results.from_json(values) if values["key"] == place.key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fit(place: Workplace, town: TrustTown, progress: Progress) -> None:
    """The map of an ordinary town, and the filter's observation model by its drive at dusk, where they lack."""
    cv2.setNumThreads(1)
    made = place.map(town.name) / FITTED
    if made.is_file() and json.loads(made.read_text()) == place.key:
        return
    step = _steps(progress, len(Frames.load(town.database)) + len(CHOICES))
    _make_map(place, town, step)
    fit_filter_of_drive(place.bundle, place.map(town.name), town.fitted[FILTER_FITTED], progress=lambda _: step())
    write_json(made, place.key)


def _make_map(place: Workplace, town: TrustTown, step: Callable[[], None]) -> None:
    folder = place.map(town.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    build_map(place.bundle, town.database, folder, progress=lambda count: _repeat(step, count))
    if place.sensor == "lidar":
        lidar = Lidar()
        mounted = CloudOptions(T_base_lidar=Pose(lidar.position_base_m), sweep_middle_s=lidar.sweep_s / 2)
        store_clouds(folder, town.database, mounted)


def _repeat(step: Callable[[], None], count: int) -> None:
    for _ in range(count):
        step()


def _steps(progress: Progress, total: int) -> Callable[[], None]:
    """Counts one more with each call."""
    done = 0

    def step() -> None:
        nonlocal done
        done = min(done + 1, total)
        progress(done, total)

    return step


def _measure(place: Workplace, town: TrustTown, progress: Progress) -> None:
    cv2.setNumThreads(1)
    elsewhere = _elsewhere(place, town)
    drives = [*town.tested.values(), *([town.off_map] if town.off_map else []), *elsewhere]
    counts = [len(Frames.load(drive)) for drive in drives]
    verified = sum(-(-count // place.verify_every) for count in counts) if place.sensor == "lidar" else 0
    step = _steps(progress, sum(counts) + verified)
    if not town.off_map:
        _make_map(place, town, lambda: None)
    _calibrate(place, town)
    judge = _judge(place, town)
    results = Results([], [], [])
    for condition, drive in town.tested.items():
        seen = look(judge.recognizer, drive, step=step)
        results.outcomes.extend(_modes(judge, seen, condition, place, step))
        if town.off_map is None:
            results.churches.extend(churches(judge, seen, condition, place.plan.church_m))
        elif condition in KIDNAPPED:
            results.cuts.extend(cuts(judge, seen, condition))
    if town.off_map:
        seen = look(judge.recognizer, town.off_map, step=step)
        results.outcomes.extend(_modes(judge, seen, OFF_MAP, place, step))
    for drive in elsewhere:
        seen = look(judge.recognizer, drive, is_elsewhere=True, step=step)
        results.outcomes.extend(_modes(judge, seen, ELSEWHERE, place, step))
    path = place.results(town.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": place.key, **results.to_json()})


def _modes(judge: Judge, seen: Seen, condition: str, place: Workplace, step: Callable[[], None]) -> list[Outcome]:
    is_ordinary = judge.town.startswith("town")
    single = judge.single(seen, condition)
    verified = [judge.verified(seen, single, place.verify_every, step)] if judge.verifier else []
    return [single, *verified, *(judge.filtered(seen, condition, begin) for begin in _begins(seen, is_ordinary))]


def _begins(seen: Seen, is_ordinary: bool) -> list[int]:
    """In the town of like houses the filter begins anew at three points: there its beginning is what is hard."""
    count = len(seen.recognitions)
    return [0] if is_ordinary else [number * count // 3 for number in range(3)]


def _elsewhere(place: Workplace, town: TrustTown) -> list[Path]:
    """Tested drives of towns of which nothing was fitted on."""
    if town.off_map is None:
        return []
    others = neighbours(place.plan.towns, town.number)[1]
    return [drive for other in others for drive in place.plan.town(place.frames, other).tested.values()]


def _calibrate(place: Workplace, town: TrustTown) -> None:
    """As `vpr-distill calibrate` does, with the town's own fitted drives and the lender's at dusk as one elsewhere."""
    bundle, folder = Bundle.load(place.bundle), place.map(town.name)
    drives = [(Frames.load(drive), True) for drive in town.fitted.values()]
    drives.append((Frames.load(lender(place, town).fitted[FILTER_FITTED]), False))
    described = [
        ValidationDrive(describe(bundle, drive), drive.positions_m if on_map else None) for drive, on_map in drives
    ]
    places = PlaceMap.load(folder, bundle.hash, bundle.modality)
    calibrate(places, described, RADIUS_M)[0].save(folder, {})


def _judge(place: Workplace, town: TrustTown) -> Judge:
    folder, other = place.map(town.name), place.map(lender(place, town).name)
    recognizer = PlaceRecognizer.load(place.bundle, folder, target_precision=TARGET, threads=1)
    model = ObservationModel.load(other, PlaceMap.load(other).hash)
    verifier = LidarVerifier.load(folder) if place.sensor == "lidar" else None
    return Judge(town.name, place.sensor, recognizer, PlaceFilter(recognizer.place_map, model), verifier)
