"""Frames of many bags at once, each in a process of its own; one that fails costs only itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2

from vpr_core.data.bag import bag_files
from vpr_core.data.card import summary
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import Options, ingest, work_of
from vpr_core.errors import BagError, FramesError, VprError
from vpr_core.geodesy import GeoPoint
from vpr_core.parallel import Progress, Task, run_tasks

_SAME_DRIVE = 0.5
"""Two folders that share more of their stamps than this are one drive; two drives share none."""


@dataclass(frozen=True)
class Outcome:
    """What became of one bag."""

    bag: Path
    out: Path
    text: str
    """Frames and drops, or what went wrong."""
    failed: bool = False
    skipped: bool = False
    """It was done before, with the same options."""


def ingest_many(
    bags: Sequence[Path],
    out: Path,
    options: Options | None = None,
    *,
    workers: int = 2,
    overwrite: bool = False,
    bar: bool = False,
) -> list[Outcome]:
    """Write `out`/NAME for each bag, at most `workers` at once, and say what became of each, in their order.

    A bag that was done before with the same options is not done again, and one that was stopped in the middle is gone
    on with. bar: shows progress over all bags on stderr. Raises BagError where two bags have one name or a session is
    named for several, VprError where a process was killed.
    """
    options = options or Options()
    folders = {bag: out / name_of(bag) for bag in bags}
    for first, second in combinations(bags, 2):
        if folders[first] == folders[second]:
            raise BagError(f"{first} and {second} would both be written to {folders[first]}: ingest them one at a time")
    if options.session is not None and len(bags) > 1:
        raise BagError("--session names one drive; several bags take the names of their folders")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        notes = {bag: Path(name) / f"{index}.json" for index, bag in enumerate(bags)}
        tasks = {
            str(bag): Task(_ingest_alone, (bag, folders[bag], asdict(options), overwrite, notes[bag])) for bag in bags
        }
        megabytes = sum(_megabytes(bag) for bag in bags)
        run_tasks(tasks, workers=workers, unit="MB", description="ingest", total=megabytes, bar=bar)
        return [Outcome(bag, folders[bag], **json.loads(notes[bag].read_text())) for bag in bags]


def name_of(bag: Path) -> str:
    """Name of a bag's frames folder."""
    return bag.resolve().name if bag.is_dir() else bag.stem


def same_drives(folders: Sequence[Path]) -> list[str]:
    """A warning for each two frames folders that hold one drive, which shows in stamps that they share."""
    stamps = {folder: {frame.stamp_ns for frame in Frames.load(folder).frames} for folder in folders}
    warnings = []
    for first, second in combinations(folders, 2):
        shared, smaller = len(stamps[first] & stamps[second]), min(len(stamps[first]), len(stamps[second]))
        if shared > _SAME_DRIVE * smaller:
            warnings.append(
                f"{first} and {second} hold the same drive: {shared} of {smaller} frames have the same stamps; "
                "use one of them, or places would be learned and found by their own copies"
            )
    return warnings


def _megabytes(bag: Path) -> int:
    try:
        return max(sum(path.stat().st_size for path in bag_files(bag)) // 1_000_000, 1)
    except OSError:
        return 1  # it will fail, and say why


def _ingest_alone(
    bag: Path, folder: Path, values: dict[str, Any], overwrite: bool, note: Path, progress: Progress
) -> None:
    cv2.setNumThreads(1)
    origin = values["gnss_origin"]
    values = values | {"gnss_origin": GeoPoint(*origin) if origin else None}
    done: dict[str, Any]
    try:
        if skipped := _is_done(bag, folder, replace(Options(**values), session=values["session"] or folder.name)):
            progress(_megabytes(bag), _megabytes(bag))
        else:
            ingest(bag, folder, **values, overwrite=overwrite, progress=_share(_megabytes(bag), progress))
        done = {"text": summary(Frames.load(folder).card), "skipped": skipped}
    except (VprError, OSError) as error:
        done = {"text": str(error), "failed": True}
    note.write_text(json.dumps(done))


def _is_done(bag: Path, folder: Path, options: Options) -> bool:
    if not folder.exists():
        return False
    try:
        return Frames.load(folder).card.get("made_from") == work_of(bag, options)
    except FramesError:
        return False


def _share(megabytes: int, progress: Progress) -> Callable[[str, int], Any]:
    """Progress of the two passes over one bag as megabytes of it; each pass counts for half."""
    return lambda name, total: _Bar(megabytes, 0.5 if name == "extract" else 0.0, total, progress)


@dataclass
class _Bar:
    megabytes: int
    begin: float
    total: int
    progress: Progress
    done: int = 0

    def update(self, count: int) -> None:
        self.done += count
        if self.done % 16 == 0 or self.done == self.total:
            share = self.begin + 0.5 * self.done / max(self.total, 1)
            self.progress(round(share * self.megabytes), self.megabytes)

    def close(self) -> None:
        if self.begin:
            self.progress(self.megabytes, self.megabytes)
