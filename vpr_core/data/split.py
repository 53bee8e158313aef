"""Drives divided by place into training, validation and test, so that no place is on two sides.

The map of an area is cut across its longest extent. The parts of the test keep all their frames; frames of the others
that are nearer than a buffer to what was kept out belong to nothing. Every drive of an area is cut at the same lines.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.errors import FramesError
from vpr_core.files import folder_in_the_making, write_json

SPLITS = ("train", "validation", "test")
_OUT = ""
"""Of frames in a buffer."""
_OF_THE_WHOLE_DRIVE = ("seconds", "metres", "synchronisation_ms", "picture", "made_from")


@dataclass(frozen=True)
class Part:
    """A strip of an area, from `low_m` to `high_m` along its axis."""

    split: str
    low_m: float
    high_m: float

    def distance_m(self, along_m: np.ndarray) -> np.ndarray:
        """[N] how far positions along the axis are from the strip; 0 inside."""
        return np.maximum(np.maximum(self.low_m - along_m, along_m - self.high_m), 0.0)


@dataclass(frozen=True)
class Cut:
    """How an area is cut."""

    axis: tuple[float, float]
    """Unit vector in the map frame along which the strips lie one behind the other."""
    parts: tuple[Part, ...]
    buffer_m: float

    def along_m(self, positions_m: np.ndarray) -> np.ndarray:
        """[N] of positions [N, 2+]."""
        return positions_m[:, :2] @ np.array(self.axis)

    def splits(self, positions_m: np.ndarray) -> np.ndarray:
        """[N] the split of each position, "" in a buffer."""
        along_m = self.along_m(positions_m)
        found = np.full(len(along_m), _OUT, dtype=object)
        taken: list[Part] = []
        for split in reversed(SPLITS):
            parts = [part for part in self.parts if part.split == split]
            inside = np.any([part.distance_m(along_m) == 0 for part in parts], axis=0) if parts else False
            near = np.any([part.distance_m(along_m) < self.buffer_m for part in taken], axis=0) if taken else False
            found[inside & ~np.asarray(near)] = split
            taken += parts
        return found


def cut_area(positions_m: np.ndarray, test_share: float, validation_share: float, buffer_m: float, seed: int) -> Cut:
    """Cut positions [N, 2+] so that the shares are those of the frames before buffers are left out.

    seed: decides in which order the parts lie, and how training is divided around what is kept out.
    """
    centred = positions_m[:, :2] - positions_m[:, :2].mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    axis = axis * (1 if axis[np.argmax(np.abs(axis))] > 0 else -1)
    along_m = np.sort(positions_m[:, :2] @ axis)
    rng = np.random.default_rng(seed)
    train_share, before = 1 - test_share - validation_share, rng.random()
    shares = [("train", train_share * before), ("train", train_share * (1 - before)),
              ("validation", validation_share), ("test", test_share)]  # fmt: skip
    order = _order(shares, rng)
    ends = np.cumsum([share for _, share in order])[:-1]
    # Half way between two frames, so that none lies on a line.
    index = np.clip(np.rint(ends * len(along_m)).astype(int), 1, len(along_m) - 1)
    lines_m = [-np.inf, *((along_m[index - 1] + along_m[index]) / 2), np.inf]
    parts = [Part(split, float(lines_m[i]), float(lines_m[i + 1])) for i, (split, _) in enumerate(order)]
    return Cut((float(axis[0]), float(axis[1])), tuple(parts), buffer_m)


def _order(shares: list[tuple[str, float]], rng: np.random.Generator) -> list[tuple[str, float]]:
    """The parts one behind the other, none of those that are kept out beside another, for the buffer between them
    would come off one of them."""
    while True:
        order = [shares[index] for index in rng.permutation(len(shares)) if shares[index][1] > 0]
        neighbours = [{before[0], after[0]} for before, after in zip(order, order[1:], strict=False)]
        if {"validation", "test"} not in neighbours:
            return order


def split_frames(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    test_share: float = 0.2,
    validation_share: float = 0.1,
    buffer_m: float = 30.0,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write `out`/train/NAME, `out`/validation/NAME and `out`/test/NAME for each frames folder; return split.json.

    The folders hold hard links to the images and clouds (copies on another disk) and are frames folders like any
    other. split.json says where was cut and what was left out, split.png shows it. The same arguments give the same.

    Raises FramesError where a drive has no poses, a split is left without frames, or places leak from one to another.
    """
    drives = [Frames.load(folder) for folder in folders]
    _check(drives, test_share, validation_share)
    areas = list(dict.fromkeys(drive.area for drive in drives))
    cuts = {}
    for area in areas:
        positions_m = np.concatenate([drive.positions_m for drive in drives if drive.area == area])
        cuts[area] = cut_area(positions_m, test_share, validation_share, buffer_m, seed)
    assigned = [cuts[drive.area].splits(drive.positions_m) for drive in drives]
    _check_counts(assigned, {"train": 1.0, "validation": validation_share, "test": test_share}, buffer_m)
    out = Path(out)
    with folder_in_the_making(out, FramesError, "split.json", overwrite) as folder:
        about = {"seed": seed, "buffer_m": buffer_m}
        written = {
            split: [
                _write_part(drive, folder / split / drive.folder.name, splits == split, {"name": split, **about})
                for drive, splits in zip(drives, assigned, strict=True)
                if (splits == split).any()
            ]
            for split in SPLITS
        }
        check_leaks(written, buffer_m)
        _draw(folder / "split.png", drives, assigned, cuts)
        report = _report(drives, assigned, cuts, {"test": test_share, "validation": validation_share, **about})
        write_json(folder / "split.json", report)
    return report


def check_leaks(parts: dict[str, list[Frames]], buffer_m: float) -> None:
    """Raise FramesError, naming two frames, where drives of two splits come nearer to each other than `buffer_m`, or
    have images of the same moment."""
    for first, second in combinations(parts, 2):
        for one in parts[first]:
            for other in parts[second]:
                _check_pair(f"{first} ({one.session})", one, f"{second} ({other.session})", other, buffer_m)


def _check_pair(name: str, one: Frames, other_name: str, other: Frames, buffer_m: float) -> None:
    shared = {frame.stamp_ns for frame in one.frames} & {frame.stamp_ns for frame in other.frames}
    if shared:
        raise FramesError(f"{name} and {other_name} leak: both have a frame of stamp {min(shared)}")
    if one.area != other.area:
        return
    distance_m, _ = cKDTree(one.positions_m[:, :2]).query(other.positions_m[:, :2])
    nearest = int(np.argmin(distance_m))
    if distance_m[nearest] < buffer_m:
        raise FramesError(
            f"{name} and {other_name} leak: frame {nearest} of the second is {distance_m[nearest]:.1f} m from a frame "
            f"of the first, expected at least {buffer_m:g} m"
        )


def _check(drives: list[Frames], test_share: float, validation_share: float) -> None:
    if min(test_share, validation_share) < 0 or test_share + validation_share >= 1:
        raise FramesError(
            f"shares of {test_share:g} for test and {validation_share:g} for validation leave nothing to train on"
        )
    if without := [str(drive.folder) for drive in drives if not drive.has_poses]:
        raise FramesError(f"{without[0]} has no poses to split by place; ingest its bag with --pose_topic")
    for first, second in combinations(drives, 2):
        if first.folder.name == second.folder.name:
            raise FramesError(f"{first.folder} and {second.folder} have one name: rename a folder")


def _check_counts(assigned: list[np.ndarray], shares: dict[str, float], buffer_m: float) -> None:
    for split, share in shares.items():
        if share > 0 and not any((splits == split).any() for splits in assigned):
            raise FramesError(
                f"no frame is left for {split}: with a buffer of {buffer_m:g} m the map is too small for these shares"
            )


def _write_part(drive: Frames, folder: Path, chosen: np.ndarray, split: dict[str, Any]) -> Frames:
    frames = [frame for frame, wanted in zip(drive.frames, chosen, strict=True) if wanted]
    for frame in frames:
        for name in (frame.image, frame.cloud, frame.label):
            if name:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _link(drive.folder / name, folder / name)
    renumbered: list[Frame] = [replace(frame, index=index) for index, frame in enumerate(frames)]
    card = {name: value for name, value in drive.card.items() if name not in (*_OF_THE_WHOLE_DRIVE, "schema")}
    card |= {"counts": {**card["counts"], "frames": len(frames)}, "split": split, "picture": "../../split.png"}
    write_index(folder, renumbered, card)
    return Frames.load(folder)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _report(
    drives: list[Frames], assigned: list[np.ndarray], cuts: dict[tuple[str, str], Cut], options: dict[str, Any]
) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {
        drive.folder.name: {name or "left out": int((splits == name).sum()) for name in (*SPLITS, _OUT)}
        for drive, splits in zip(drives, assigned, strict=True)
    }
    areas = [
        {"area": area, "map_frame": map_frame, "axis": [round(value, 9) for value in cut.axis],
         "parts": [{"split": part.split, "from_m": _finite(part.low_m), "to_m": _finite(part.high_m)}
                   for part in cut.parts]}
        for (area, map_frame), cut in cuts.items()
    ]  # fmt: skip
    return {"schema": 1, **options, "areas": areas, "frames": counts}


def _finite(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def _draw(path: Path, drives: list[Frames], assigned: list[np.ndarray], cuts: dict[tuple[str, str], Cut]) -> None:
    """A map for each area: frames by split, the lines between parts, and in grey what lies in a buffer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {"train": "#3b6fb6", "validation": "#e09f3e", "test": "#c0392b", _OUT: "#c8c8c8"}
    figure = Figure(figsize=(7, 6 * len(cuts)), layout="constrained")
    for number, (area, cut) in enumerate(cuts.items(), 1):
        axes = figure.add_subplot(len(cuts), 1, number)
        here = [(drive, splits) for drive, splits in zip(drives, assigned, strict=True) if drive.area == area]
        positions_m = np.concatenate([drive.positions_m for drive, _ in here])
        splits = np.concatenate([splits for _, splits in here])
        for name in (_OUT, *SPLITS):
            chosen = positions_m[splits == name]
            label = f"{name or 'left out'}: {len(chosen)}"
            axes.scatter(chosen[:, 0], chosen[:, 1], s=6, color=colours[name], label=label)
        axes.autoscale(False)
        for part in cut.parts[1:]:
            (x, y), low_m = cut.axis, part.low_m
            points = (x * low_m, y * low_m), (x * low_m - y, y * low_m + x)
            axes.axline(*points, color="black", linewidth=0.8, linestyle="--")
        axes.set(title=" ".join(filter(None, area)), xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.legend(loc="best", fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})
