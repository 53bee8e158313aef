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
from vpr_core.retrieval.calibrating import calibrate
from vpr_core.retrieval.checking import check_drive
from vpr_core.retrieval.filter import PlaceFilter
from vpr_core.retrieval.filter_fit import CHOICES, fit_filter_of_drive
from vpr_core.retrieval.mapping import build_map, describe
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.validation import ValidationDrive
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
    code: str = ""
    """`code_hash` of the sources that made them."""

    def to_json(self) -> dict[str, Any]:
        return {
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "code": code_hash(),
            "cuts": [asdict(cut) for cut in self.cuts],
            "churches": [asdict(church) for church in self.churches],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Results:
        return cls(
            [Outcome.from_json(value) for value in values["outcomes"]],
            [Cut(**value) for value in values["cuts"]],
            [Church(**value) for value in values["churches"]],
            values["code"],
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
    """0 verifies nothing."""

    @property
    def key(self) -> str:
        """Names what results are of: bundle and plan."""
        return sha256_json([self.bundle_hash, asdict(self.plan)])[:16]

    @property
    def verifies(self) -> bool:
        return self.sensor == "lidar" and self.verify_every > 0

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
    """Of the sources that maps, calibrations, filters and this measurement are made by, kept with each result."""
    root = Path(vpr_core.__file__).parent
    sources = sorted([*root.glob("retrieval/*.py"), *root.glob("experiments/trust_*.py")])
    report = {"trust_figures.py", "trust_checks.py", "trust_report.py"}
    of_each = [[path.name, sha256_bytes(path.read_bytes())] for path in sources if path.name not in report]
    return sha256_json(of_each)[:12]


def forget(workplaces: Sequence[Workplace]) -> None:
    """Remove results, and what filters were fitted by, so that all is measured again."""
    for place in workplaces:
        for town in place.towns:
            place.results(town.name).unlink(missing_ok=True)
            place.results(verified_name(place, town)).unlink(missing_ok=True)
            (place.map(town.name) / FITTED).unlink(missing_ok=True)


def by_other_code(workplaces: Sequence[Workplace]) -> list[str]:
    """Results that the code as it is now did not make, "lidar town 7"."""
    code, found = code_hash(), []
    for place in workplaces:
        for name in [name for town in place.towns for name in (town.name, verified_name(place, town))]:
            results = stored(place, name)
            if results and results.code != code:
                found.append(f"{place.sensor} {name}")
    return found


def measure(workplaces: Sequence[Workplace], *, workers: int, bar: bool = True) -> None:
    """Make the results of each sensor and town that are not there yet."""
    tasks: dict[str, Task] = {}
    for place in workplaces:
        for town in place.towns:
            tasks |= _tasks(place, town)
    run_tasks(tasks, workers=workers, unit="step", description="measure", bar=bar and bool(tasks))


def results_of(workplaces: Sequence[Workplace]) -> dict[tuple[str, str], Results]:
    """By sensor and town, of what was measured."""
    found: dict[tuple[str, str], Results] = {}
    for place in workplaces:
        for town in place.towns:
            parts = [stored(place, name) for name in (town.name, verified_name(place, town))]
            if present := [part for part in parts if part]:
                found[place.sensor, town.name] = Results(
                    [one for part in present for one in part.outcomes],
                    [one for part in present for one in part.cuts],
                    [one for part in present for one in part.churches],
                )
    return found


def _tasks(place: Workplace, town: TrustTown) -> dict[str, Task]:
    """What a town still needs, by name."""
    tasks: dict[str, Task] = {}
    names = {what: f"{what} {place.bundle_hash} {town.name}" for what in ("measure", "verify")}
    if stored(place, town.name) is None:
        fitted = [lender(place, town), *([town] if town.off_map else [])]
        fits = {f"fit {place.bundle_hash} {of.name}": Task(fit_town, (place, of)) for of in fitted}
        tasks |= {**fits, names["measure"]: Task(measure_town, (place, town), tuple(fits))}
    if place.verifies and stored(place, verified_name(place, town)) is None:
        after = (names["measure"],) if names["measure"] in tasks else ()
        tasks[names["verify"]] = Task(verify_town, (place, town), after)
    return tasks


def verified_name(place: Workplace, town: TrustTown) -> str:
    """Of the results of a town whose frames were verified."""
    return f"{town.name} verified {place.verify_every}"


def lender(place: Workplace, town: TrustTown) -> TrustTown:
    """The town whose map and drive at dusk the filter of another was fitted with."""
    return place.plan.town(place.frames, neighbours(place.plan.towns, town.number)[0])


def stored(place: Workplace, name: str) -> Results | None:
    """Results that were made with this key; None where there are none."""
    try:
        values = json.loads(place.results(name).read_text())
        return Results.from_json(values) if values["key"] == place.key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fit_town(place: Workplace, town: TrustTown, progress: Progress) -> None:
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


def measure_town(place: Workplace, town: TrustTown, progress: Progress) -> None:
    """Frames alone and along odometry, the robot that is carried, and the way to the church."""
    cv2.setNumThreads(1)
    elsewhere = _elsewhere(place, town)
    drives = [*town.tested.values(), *([town.off_map] if town.off_map else []), *elsewhere]
    counts = [len(Frames.load(drive)) for drive in drives]
    step = _steps(progress, sum(counts))
    if not town.off_map:
        _make_map(place, town, lambda: None)
    _calibrate(place, town)
    judge = _judge(place, town)
    results = Results([], [], [])
    for condition, drive in town.tested.items():
        seen = look(judge.recognizer, drive, step=step)
        results.outcomes.extend(_modes(judge, seen, condition))
        if town.off_map is None:
            results.churches.extend(churches(judge, seen, condition, place.plan.church_m))
        elif condition in KIDNAPPED:
            results.cuts.extend(cuts(judge, seen, condition))
    if town.off_map:
        seen = look(judge.recognizer, town.off_map, step=step)
        results.outcomes.extend(_modes(judge, seen, OFF_MAP))
    for drive in elsewhere:
        seen = look(judge.recognizer, drive, is_elsewhere=True, step=step)
        results.outcomes.extend(_modes(judge, seen, ELSEWHERE))
    _store(place, town.name, results)


def _store(place: Workplace, name: str, results: Results) -> None:
    path = place.results(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": place.key, **results.to_json()})


def verify_town(place: Workplace, town: TrustTown, progress: Progress) -> None:
    """Frames alone whose candidates are registered; the map is calibrated anew, with what registering tells."""
    cv2.setNumThreads(1)
    drives = [*town.tested.items(), *([(OFF_MAP, town.off_map)] if town.off_map else [])]
    elsewhere, fitted = _elsewhere(place, town), _fitted(place, town)
    folders = [*(drive for _, drive in drives), *elsewhere, *(drive for drive, _ in fitted)]
    step = _steps(progress, sum(-(-len(Frames.load(drive)) // place.verify_every) for drive in folders))
    _calibrate(place, town, step)
    judge = _judge(place, town)
    found = [judge.verified(drive, condition, place.verify_every, step=step) for condition, drive in drives]
    for drive in elsewhere:
        found.append(judge.verified(drive, ELSEWHERE, place.verify_every, is_elsewhere=True, step=step))
    _store(place, verified_name(place, town), Results(found, [], []))


def _modes(judge: Judge, seen: Seen, condition: str) -> list[Outcome]:
    begins = _begins(seen, judge.town.startswith("town"))
    return [judge.single(seen, condition), *(judge.filtered(seen, condition, begin) for begin in begins)]


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


def _fitted(place: Workplace, town: TrustTown) -> list[tuple[Path, bool]]:
    """Drives to calibrate on, and whether they are on the map: the town's own, and the lender's at dusk elsewhere."""
    return [*((drive, True) for drive in town.fitted.values()), (lender(place, town).fitted[FILTER_FITTED], False)]


def _calibrate(place: Workplace, town: TrustTown, step: Callable[[], None] | None = None) -> None:
    """As `vpr-distill calibrate` does; with `step`, called for each frame that is registered, for `verify` too."""
    bundle, folder = Bundle.load(place.bundle), place.map(town.name)
    places = PlaceMap.load(folder, bundle.hash, bundle.modality)
    verifier = LidarVerifier.load(folder) if step else None
    drives = []
    for path, on_map in _fitted(place, town):
        drive = Frames.load(path)
        described, checks = describe(bundle, drive), None
        if verifier and step:
            checks = check_drive(verifier, places, drive, described, place.verify_every, lambda _: step())
        drives.append(ValidationDrive(described, drive.positions_m if on_map else None, checks))
    calibrate(places, drives, RADIUS_M)[0].save(folder, {})


def _judge(place: Workplace, town: TrustTown) -> Judge:
    folder, other = place.map(town.name), place.map(lender(place, town).name)
    recognizer = PlaceRecognizer.load(place.bundle, folder, target_precision=TARGET, threads=1)
    model = ObservationModel.load(other, PlaceMap.load(other).hash)
    verifier = LidarVerifier.load(folder) if place.verifies else None
    return Judge(town.name, place.sensor, recognizer, PlaceFilter(recognizer.place_map, model), verifier)
