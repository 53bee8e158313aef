"""Published data sets as frames folders: what a file of `vpr_core.data.datasets` plans is written here.

Images and clouds that a frames folder can hold stay where they are, behind one link for each run; others are converted
one by one. A run that was stopped goes on where it stood when it is started again with the same options.
"""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_core.data.dataset_parts import picture
from vpr_core.data.frames import Frame, write_index
from vpr_core.data.plan import SENSORS, Conversion, Plan, Run, Sensor
from vpr_core.errors import FramesError, InputError
from vpr_core.files import folder_in_the_making, write_atomic, write_json

Tick = Callable[[int], object]
"""Called with how many files were done since."""


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
    parents = {source.parent: source.parent.resolve() for source in sources if source}
    if not parents:
        return [None] * len(sources)
    top = Path(os.path.commonpath(parents.values()))
    names = [source and parents[source.parent].relative_to(top) / source.name for source in sources]
    if conversion:
        return [_converted(source, name, sensor, conversion, target, tick)
                for source, name in zip(sources, names, strict=True)]  # fmt: skip
    if not target.is_symlink():
        target.symlink_to(top, target_is_directory=True)
    return [None if name is None else f"{sensor}s/{name.as_posix()}" for name in names]


def _converted(
    source: Path | None, name: Path | None, sensor: Sensor, conversion: Conversion, folder: Path, tick: Tick
) -> str | None:
    """name: where it lies below the folder."""
    tick(1)
    if source is None or name is None:
        return None
    target = folder / name.with_suffix(".png" if sensor == "image" else ".npy")
    if not target.exists():  # what an earlier start wrote is whole
        try:
            data = conversion.read(source)
        except (InputError, FramesError):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, _encoded(data, sensor))
    return f"{folder.name}/{target.relative_to(folder).as_posix()}"


def _encoded(data: np.ndarray, sensor: Sensor) -> bytes:
    if sensor == "image":
        return cv2.imencode(".png", cv2.cvtColor(data, cv2.COLOR_RGB2BGR))[1].tobytes()
    buffer = io.BytesIO()
    np.save(buffer, data)
    return buffer.getvalue()


def _card(run: Run, frames: list[Frame], folder: Path, drops: Counter[str], made_by: str, work: str) -> dict[str, Any]:
    positions_m = np.array([frame.pose.position_m for frame in frames if frame.pose]).reshape(-1, 3)
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
