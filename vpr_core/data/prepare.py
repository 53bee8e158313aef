"""Published data sets as frames folders: what a file of `vpr_core.data.datasets` plans is written here.

Images and clouds that a frames folder can hold stay where they are, behind one link for each run; others are converted
one by one. A run that was stopped goes on where it stood when it is started again with the same options.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from vpr_core.data.frames import Frame, write_index
from vpr_core.errors import FramesError, InputError
from vpr_core.files import folder_in_the_making, sha256_json, write_atomic, write_json
from vpr_core.preprocess import decode_image, resize_image
from vpr_core.types import Pose

Sensor = Literal["image", "cloud"]
SENSORS: tuple[Sensor, ...] = ("image", "cloud")
Tick = Callable[[int], object]
"""Called with how many files were done since."""


@dataclass(frozen=True)
class Item:
    """A frame as it lies in a data set."""

    stamp_ns: int
    pose: Pose
    """T_map_base at `stamp_ns`."""
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
    def positions_m(self) -> np.ndarray:
        """[N, 3] in the map frame."""
        return np.array([item.pose.position_m for item in self.items], float).reshape(-1, 3)

    @property
    def queries(self) -> np.ndarray:
        """bool [N]."""
        return np.array([item.query for item in self.items], bool)

    def identity(self, made_by: str) -> str:
        """Hash of everything that its frames folder is made of but the content of the files."""
        items = [[item.stamp_ns, item.pose.cells(), str(item.cloud), str(item.image), item.query]
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

    def of(self, split: str) -> list[Run]:
        return [run for run in self.runs if run.split == split]


@dataclass(frozen=True)
class Boxes:
    """Squares of a map, such as those in which a data set tests."""

    centres_m: tuple[tuple[float, float], ...]
    """x and y of each."""
    half_m: float
    """From a centre to an edge, which is outside."""

    def inside(self, positions_m: np.ndarray) -> np.ndarray:
        """bool [N] of positions [N, 2+]."""
        away_m = np.abs(positions_m[:, None, :2] - np.array(self.centres_m, float).reshape(1, -1, 2))
        return (away_m < self.half_m).all(axis=2).any(axis=1)


class Missing:
    """Collects what is missing, by reason."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def note(self, reason: str, of: str) -> None:
        self.found.setdefault(reason, []).append(of)


def check_options(options: Any, **least: float) -> None:
    """Raise FramesError where an option is below the least that it may be, or those of every data set make no sense."""
    for name, value in {"tolerance_s": 0, "box_half_m": 0, "positive_m": 0, "radius_m": 0, **least}.items():
        given = getattr(options, name)
        if given is not None and not given >= value:
            raise FramesError(f"{name} is {given}, expected {value:g} or more")
    if options.negative_m < options.positive_m:
        raise FramesError(f"negative_m is {options.negative_m}, expected positive_m {options.positive_m} or more")
    if not options.sensors or not {*options.sensors} <= {*SENSORS}:
        raise FramesError(f"sensors are {list(options.sensors)}, expected {' or '.join(SENSORS)}, or both")


def stamped_files(folder: Path, *suffixes: str) -> dict[int, Path]:
    """Files of a folder whose name is a number, such as a time stamp, by that number in rising order."""
    if not folder.is_dir():
        return {}
    found = {int(path.stem): path for path in folder.iterdir() if path.suffix in suffixes and path.stem.isdigit()}
    return dict(sorted(found.items()))


def nearest(stamps: np.ndarray, wanted: int, tolerance: int) -> int | None:
    """The one of the sorted int64 `stamps` [N] nearest to `wanted`, the earlier of two; None beyond the tolerance."""
    right = int(np.searchsorted(stamps, wanted))
    around = map(int, stamps[max(right - 1, 0) : right + 1])
    best = min(around, key=lambda stamp: abs(stamp - wanted), default=None)
    return best if best is not None and abs(best - wanted) <= tolerance else None


def picture(path: Path, height: int | None) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an image file, scaled to a height [px] where one is given; raises InputError."""
    image = decode_image(path.read_bytes())
    return image if height is None else resize_image(image, height, round(image.shape[1] * height / image.shape[0]))


def scaled_pictures(path: Path, height: int | None) -> dict[Sensor, Conversion]:
    """The conversion that images like this one need to have the height; none where they have it, or none is given."""
    if height is None or picture(path, None).shape[0] == height:
        return {}
    return {"image": Conversion(lambda source: picture(source, height), f"height {height}")}


def counts(plan: Plan, positive_m: float, radius_m: float) -> dict[str, Any]:
    """How many frames and queries there are, and how many of them have a place to learn from or to be found at.

    evaluated and skipped: queries of all ordered pairs of test runs with and without a place within `radius_m`.
    """
    from vpr_core.data.places import within  # brings SciPy, which --help does without

    train, test = plan.of("train"), plan.of("test")
    known_m = np.concatenate([np.empty((0, 3)), *(run.positions_m for run in train)])
    pairs = [(here, there) for here in test for there in test if here is not there and there.queries.any()]
    truth = [within(here.positions_m, there.positions_m[there.queries], radius_m) for here, there in pairs]
    asked = [len(found) > 0 for pair in truth for found in pair]
    return {
        "train": {
            "runs": len(train),
            "frames": len(known_m),
            "with_positive": sum(len(found) > 1 for found in within(known_m, known_m, positive_m)),
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


def files_to_do(plan: Plan) -> int:
    """How often `write_plan` ticks in all."""
    return sum(len(run.items) * max(len(run.conversions), 1) for run in plan.runs)


def write_plan(
    plan: Plan, out: Path, made_by: str, about: dict[str, Any], overwrite: bool = False, tick: Tick = lambda _: None
) -> dict[str, Path]:
    """Write `out`/train/NAME and `out`/test/NAME for each run and `out`/dataset.json; return the folders by SPLIT/NAME.

    Runs that are there already, made of the same, are left as they are. made_by: the command, named where a folder is
    found incomplete. about: what dataset.json says beside the runs.
    Raises FramesError where another folder stands in the way, unless `overwrite`, and where a run is without frames.
    """
    folders = {f"{run.split}/{run.name}": out / run.split / run.name for run in plan.runs}
    for run, folder in zip(plan.runs, folders.values(), strict=True):
        work = run.identity(made_by)
        if _is_done(folder, work):
            tick(len(run.items) * max(len(run.conversions), 1))
            continue
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_in_the_making(folder, FramesError, "card.json", overwrite, work) as partial:
            _write_run(run, partial, made_by, work, tick)
    runs = {name: json.loads((folder / "card.json").read_text()) for name, folder in folders.items()}
    listed = {name: {"counts": card["counts"], "drops": card["drops"]} for name, card in runs.items()}
    missing = {reason: list(of) for reason, of in plan.missing.items()}
    write_json(out / "dataset.json", {"schema": 1, "made_by": made_by, **about, "missing": missing, "runs": listed})
    return folders


def _is_done(folder: Path, work: str) -> bool:
    try:
        return json.loads((folder / "card.json").read_text()).get("made_from") == work
    except (OSError, ValueError, AttributeError):
        return False


def _write_run(run: Run, folder: Path, made_by: str, work: str, tick: Tick) -> None:
    drops = Counter(run.drops)
    names = {sensor: _provide(run, sensor, folder, tick) for sensor in SENSORS}
    frames: list[Frame] = []
    for index, item in enumerate(run.items):
        if damaged := [sensor for sensor in SENSORS if getattr(item, sensor) and not names[sensor][index]]:
            drops[f"its {damaged[0]} is damaged"] += 1
            continue
        image, cloud = names["image"][index], names["cloud"][index]
        stamp_ns = item.stamp_ns if cloud else None
        frames.append(Frame(len(frames), item.stamp_ns, image, cloud, stamp_ns, item.pose, query=item.query))
    if not frames:
        raise FramesError(f"{run.name}: no frame is left for {run.split}: {dict(drops) or 'it has none'}")
    if not run.conversions:
        tick(len(run.items))
    write_index(folder, frames, _card(run, frames, folder, drops, made_by, work))


def _provide(run: Run, sensor: Sensor, folder: Path, tick: Tick) -> list[str | None]:
    """Link or convert the files of one sensor; its name in the folder for each item, None where there is none."""
    sources: list[Path | None] = [getattr(item, sensor) for item in run.items]
    conversion, target = run.conversions.get(sensor), folder / f"{sensor}s"
    if conversion:
        target.mkdir(exist_ok=True)
        return [_converted(source, sensor, conversion, target, tick) for source in sources]
    parents = {source.parent.resolve() for source in sources if source}
    if len(parents) > 1:
        raise FramesError(f"{run.name} has its {sensor}s in {len(parents)} folders: expected one to link to")
    if parents and not target.is_symlink():
        target.symlink_to(parents.pop(), target_is_directory=True)
    return [source and f"{sensor}s/{source.name}" for source in sources]  # type: ignore[misc]


def _converted(source: Path | None, sensor: Sensor, conversion: Conversion, folder: Path, tick: Tick) -> str | None:
    tick(1)
    if source is None:
        return None
    target = folder / f"{source.stem}{'.png' if sensor == 'image' else '.npy'}"
    if not target.exists():  # what an earlier start wrote is whole
        try:
            data = conversion.read(source)
        except (InputError, FramesError):
            return None
        write_atomic(target, _encoded(data, sensor))
    return f"{folder.name}/{target.name}"


def _encoded(data: np.ndarray, sensor: Sensor) -> bytes:
    if sensor == "image":
        return cv2.imencode(".png", cv2.cvtColor(data, cv2.COLOR_RGB2BGR))[1].tobytes()
    buffer = io.BytesIO()
    np.save(buffer, data)
    return buffer.getvalue()


def _card(run: Run, frames: list[Frame], folder: Path, drops: Counter[str], made_by: str, work: str) -> dict[str, Any]:
    positions_m = np.array([frame.pose.position_m for frame in frames if frame.pose])
    size = None
    if frames[0].image:
        height, width = picture(folder / frames[0].image, None).shape[:2]
        size = [width, height]
    return {
        "session": run.name,
        "bag": run.name,
        "image_size": size,
        "counts": {"frames": len(frames), "queries": sum(frame.query for frame in frames)},
        "drops": dict(sorted(drops.items())),
        "synchronisation_ms": _lags_ms(run),
        "metres": round(float(np.linalg.norm(np.diff(positions_m[:, :2], axis=0), axis=1).sum()), 2),
        "seconds": round((frames[-1].stamp_ns - frames[0].stamp_ns) / 1e9, 3),
        "split": {"name": run.split},
        **run.card,
        "made_by": made_by,
        "made_from": work,
    }


def _lags_ms(run: Run) -> dict[str, float] | None:
    lags_ms = [abs(item.image_lag_ns) / 1e6 for item in run.items if item.image and item.cloud]
    return {"mean": round(float(np.mean(lags_ms)), 3), "max": round(float(np.max(lags_ms)), 3)} if lags_ms else None
