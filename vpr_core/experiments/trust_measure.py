"""Maps, calibrations and filters of `vpr-distill trust`, and what they answer, made in processes side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2

from vpr_core.data.frames import Frames
from vpr_core.experiments.town import OPPOSITE
from vpr_core.experiments.trust_drives import ELSEWHERE, FILTER_FITTED, OFF_MAP, TrustPlan, TrustTown, neighbours
from vpr_core.experiments.trust_outcomes import RADIUS_M, TARGET, Judge, Outcome, Seen, look
from vpr_core.experiments.trust_results import FITTED, Results, Workplace
from vpr_core.experiments.trust_runs import churches, cuts
from vpr_core.files import write_json
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.calibrating import DEFAULT_OFF_MAP_SHARE, calibrate
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.checking import check_drive
from vpr_core.retrieval.filter import PlaceFilter
from vpr_core.retrieval.filter_fit import CHOICES, fit_filter_of_drive
from vpr_core.retrieval.mapping import build_map, describe_with_light
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.place_features import store_features
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.place_points import PointSource, store_points
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.rigid import pose_of
from vpr_core.retrieval.validation import ValidationDrive
from vpr_core.retrieval.verifiers import load_verifier
from vpr_core.synthetic.camera import Camera
from vpr_core.synthetic.lidar import Lidar
from vpr_core.types import Pose

FEATURES = "sift"
"""Local features that a camera's candidates are checked by."""
KIDNAPPED = ("noon", "night", "rain")
"""Conditions whose drives are cut, where they are tested."""


def measure(workplaces: Sequence[Workplace], *, workers: int, bar: bool = True) -> None:
    """Make the results of each sensor and town that are not there yet."""
    tasks: dict[str, Task] = {}
    for place in workplaces:
        for town in place.towns:
            tasks |= _tasks(place, town)
    run_tasks(tasks, workers=workers, unit="step", description="measure", bar=bar and bool(tasks))


def _tasks(place: Workplace, town: TrustTown) -> dict[str, Task]:
    """What a town still needs, by name."""
    tasks: dict[str, Task] = {}
    names = {what: f"{what} {place.bundle_hash} {town.name}" for what in ("measure", "verify")}
    if place.stored(town.name) is None:
        fitted = [lender(place, town), *([town] if town.off_map else [])]
        fits = {f"fit {place.bundle_hash} {of.name}": Task(fit_town, (place, of)) for of in fitted}
        tasks |= {**fits, names["measure"]: Task(measure_town, (place, town), tuple(fits))}
    if place.verify_every and place.stored(place.verified_name(town)) is None:
        after = (names["measure"],) if names["measure"] in tasks else ()
        tasks[names["verify"]] = Task(verify_town, (place, town), after)
    return tasks


def lender(place: Workplace, town: TrustTown) -> TrustTown:
    """The town whose map and drive at dusk the filter of another was fitted with."""
    return place.plan.town(place.frames, neighbours(place.plan.towns, town.number)[0])


def fit_town(place: Workplace, town: TrustTown, progress: Progress) -> None:
    """The map of an ordinary town, and the filter's observation model by its drive at dusk, where they lack."""
    cv2.setNumThreads(1)
    made = place.map(town.name) / FITTED
    if made.is_file() and json.loads(made.read_text()) == place.key:
        return
    drive = town.fitted[FILTER_FITTED]
    checked = -(-len(Frames.load(drive)) // place.verify_every) if place.verify_every else 0
    step = _steps(progress, len(Frames.load(town.database)) + len(CHOICES) + 2 * checked)
    _make_map(place, town, step)
    fit_filter_of_drive(
        place.bundle, place.map(town.name), drive, verify_every=place.verify_every,
        progress=lambda _: step(), check_progress=lambda _: step(),
    )  # fmt: skip
    write_json(made, place.key)


def _make_map(place: Workplace, town: TrustTown, step: Callable[[], None]) -> None:
    """With what candidates are checked by, and a LiDAR's places the other way too."""
    folder, lidar = place.map(town.name), Lidar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    mounted = CloudOptions(T_base_lidar=Pose(lidar.position_base_m), sweep_middle_s=lidar.sweep_s / 2)
    other_way_from = mounted.T_base_lidar if place.sensor == "lidar" else None
    build_map(place.bundle, town.database, folder, progress=lambda count: _repeat(step, count),
              other_way_from=other_way_from)  # fmt: skip
    if place.sensor == "lidar":
        store_clouds(folder, town.database, mounted)
    elif place.verify_every:
        store_features(folder, town.database, FEATURES)
        store_points(folder, town.database, _points(place.plan, mounted))


def _points(plan: TrustPlan, clouds: CloudOptions) -> PointSource:
    camera = Camera(*plan.image_size)
    model = CameraModel(tuple(camera.matrix.ravel().tolist()), (), camera.width, camera.height)
    return PointSource(model, pose_of(camera.T_base_camera), clouds)


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
    step = _steps(progress, sum(len(Frames.load(drive)) for drive in _tested(place, town)))
    if not town.off_map:
        _make_map(place, town, lambda: None)
    _calibrate(place, town)
    judge = _judge(place, town)
    place.store(town.name, _answers(place, town, judge, partial(look, judge.recognizer, step=step)))


def _answers(place: Workplace, town: TrustTown, judge: Judge, see: Callable[..., Seen]) -> Results:
    """What a judge says of a town's drives. see: takes a drive's folder and whether it `is_elsewhere`."""
    results = Results([], [], [])
    for condition, drive in town.tested.items():
        seen = see(drive)
        results.outcomes.extend(_modes(judge, seen, condition))
        if town.off_map is None:
            results.churches.extend(churches(judge, seen, condition, place.plan.church_m))
        elif condition in KIDNAPPED:
            results.cuts.extend(cuts(judge, seen, condition))
    if town.off_map:
        results.outcomes.extend(_modes(judge, see(town.off_map), OFF_MAP))
    for drive in _elsewhere(place, town):
        results.outcomes.extend(_modes(judge, see(drive, is_elsewhere=True), ELSEWHERE))
    return results


def verify_town(place: Workplace, town: TrustTown, progress: Progress) -> None:
    """The same with candidates that are checked; the map is calibrated anew, with what checking tells."""
    cv2.setNumThreads(1)
    drives = [*_tested(place, town), *(drive for drive, _ in _fitted(place, town))]
    step = _steps(progress, sum(-(-len(Frames.load(drive)) // place.verify_every) for drive in drives))
    _calibrate(place, town, step)
    judge, verifier = _judge(place, town), load_verifier(place.map(town.name), place.sensor)

    def see(drive: Path, is_elsewhere: bool = False) -> Seen:
        return look(judge.recognizer, drive, is_elsewhere=is_elsewhere, verifier=verifier, every=place.verify_every,
                    step=step)  # fmt: skip

    place.store(place.verified_name(town), _answers(place, town, judge, see))


def _modes(judge: Judge, seen: Seen, condition: str) -> list[Outcome]:
    alone = judge.verified if any(seen.verifications) else judge.single
    begins = _begins(seen, judge.town.startswith("town"))
    return [alone(seen, condition), *(judge.filtered(seen, condition, begin) for begin in begins)]


def _tested(place: Workplace, town: TrustTown) -> list[Path]:
    return [*town.tested.values(), *([town.off_map] if town.off_map else []), *_elsewhere(place, town)]


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
    """As `vpr-distill calibrate` does; with `step`, called for each frame that is checked, for `verify` too."""
    bundle, folder = Bundle.load(place.bundle), place.map(town.name)
    places = PlaceMap.load(folder, bundle.hash, bundle.modality)
    verifier = load_verifier(folder, place.sensor) if step else None
    drives = []
    for path, on_map in _fitted(place, town):
        drive = Frames.load(path)
        (described, light), checks = describe_with_light(bundle, drive), None
        if verifier and step:
            similarities = described @ places.descriptors.T
            checks = check_drive(verifier, places, drive, similarities, place.verify_every, lambda _: step())
        drives.append(ValidationDrive.of(drive, described, on_map, checks, light))
    calibrate(places, drives, RADIUS_M, off_map_share=_off_map_share(place, town))[0].save(folder, {})


def _off_map_share(place: Workplace, town: TrustTown) -> float:
    """A camera is off its map on a drive the other way round, as one that comes back along its streets is."""
    back = sum(condition == OPPOSITE for condition in town.tested) if place.sensor == "camera" else 0
    return 1.0 - (1.0 - DEFAULT_OFF_MAP_SHARE) * (1.0 - back / len(town.tested))


def _judge(place: Workplace, town: TrustTown) -> Judge:
    folder, other = place.map(town.name), place.map(lender(place, town).name)
    recognizer = PlaceRecognizer.load(place.bundle, folder, target_precision=TARGET, threads=1)
    model = ObservationModel.load(other, PlaceMap.load(other).hash)
    return Judge(town.name, place.sensor, recognizer, PlaceFilter(recognizer.place_map, model))
