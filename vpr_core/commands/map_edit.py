"""`vpr-distill map-edit`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveFloat, PositiveInt
from tqdm import tqdm

from vpr_core.commands.options import add_device
from vpr_core.errors import VprError

if TYPE_CHECKING:
    import numpy as np

    from vpr_core.retrieval.map_editing import Chosen
    from vpr_core.retrieval.map_sessions import Stored

EDITS = ("add", "remove", "merge", "max_places", "budget_mib")
_HEADERS = 8 << 10
"""Of map.json and of what stands before the numbers of the other files, at most."""


def define(command: ArgumentParser) -> None:
    """List a map's sessions; or add, remove and merge sessions, or make it smaller.

    Without an edit it prints the sessions: places, way, dates, sizes. One edit at a time is made, in the map's own
    folder or to --out. The map stays whole until the edited one is complete. Clouds and local features come along;
    what was fitted to the map as it was (calibration, filter) is left out, with the command that makes it again:
    docs/maps.md.

    vpr-distill map-edit --map place_map

    vpr-distill map-edit --map place_map --add frames/night --bundle bundle

    vpr-distill map-edit --map place_map --budget_mib 50 --out smaller_map
    """
    command.add_argument("--map", type=Path, required=True, help="folder written by `map` or by the map builder")
    command.add_argument(
        "--add", type=Path, nargs="+", default=[], help="frames folders of drives to add, each a session; with --bundle"
    )
    command.add_argument("--bundle", type=Path, default=None, help="for --add: the bundle that the map was made with")
    command.add_argument(
        "--other_way", type=bool | None, default=None,
        help="for --add: add every place once more, as a LiDAR sees it that comes the other way (see `map`); by "
        "default where the map has such places",
    )  # fmt: skip
    command.add_argument(
        "--remove", type=str, nargs="+", default=[], metavar="SESSION", help="sessions to remove, as they are listed"
    )
    command.add_argument(
        "--merge", type=Path, nargs="+", default=[], metavar="MAP",
        help="maps of the same model and frame whose sessions to add; places that both have are taken once",
    )  # fmt: skip
    command.add_argument(
        "--max_places", type=PositiveInt, default=None, help="leave out near-duplicates until so many places are left"
    )
    command.add_argument(
        "--budget_mib", type=PositiveFloat, default=None,
        help="leave out near-duplicates until descriptors, poses, clouds and features take so many MiB at most",
    )  # fmt: skip
    command.add_argument("--out", type=Path, default=None, help="folder for the edited map; the map's own by default")
    add_device(command, "for --add: where the network runs")


def run(options: dict[str, Any]) -> None:
    from vpr_core.retrieval.map_editing import merged, without
    from vpr_core.retrieval.map_sessions import Stored
    from vpr_core.retrieval.map_writing import write_map

    edit = _edit(options)
    stored, out = Stored.load(options["map"]), options["out"] or options["map"]
    _list(stored)
    if edit is None:
        return
    told: list[str] = []
    with TemporaryDirectory(dir=stored.folder.resolve().parent, prefix=".map-edit-") as scratch:
        if edit == "add":
            added, told = _added(stored, options, Path(scratch))
            chosen = merged(stored, added)
        elif edit == "merge":
            chosen = merged(stored, [Stored.load(folder) for folder in options["merge"]])
        elif edit == "remove":
            chosen = [without(stored, options["remove"])]
        else:
            chosen = [_pruned(stored, options)]
        if len(chosen) == 1 and len(chosen[0].rows) == len(stored.place_map) and out == options["map"]:
            print(f"{out}: small enough, nothing to do")
            return
        told += write_map(chosen, out)[1]
    _list(Stored.load(out), options["budget_mib"])
    for line in told:
        print(line)


def _edit(options: dict[str, Any]) -> str | None:
    """The one edit that is asked for; raises VprError where there are several or they lack something."""
    given = [name for name in EDITS if options[name]]
    if len(given) > 1:
        raise VprError(f"one edit at a time: give {' or '.join(f'--{name}' for name in given)}, then the other")
    if bool(options["add"]) != bool(options["bundle"]):
        raise VprError("--add takes the --bundle that the map was made with, and --bundle is for --add alone")
    if options["out"] and not given:
        raise VprError(f"--out is where an edited map goes: give one of {', '.join(f'--{name}' for name in EDITS)}")
    return given[0] if given else None


def _added(stored: Stored, options: dict[str, Any], scratch: Path) -> tuple[list[Stored], list[str]]:
    from vpr_core.data.frames import Frames
    from vpr_core.retrieval.map_editing import described_as

    other_way = stored.has_other_way if options["other_way"] is None else options["other_way"]
    maps, told = [], []
    for number, frames in enumerate(options["add"]):
        drive = Frames.load(frames)
        mounting = stored.lidar_mounting(drive.card) if other_way else None
        parts = 1 + other_way + (stored.clouds is not None) + (stored.features is not None)
        with tqdm(total=parts * len(drive), desc=f"add {frames.name}", unit="frame") as bar:
            made, lines = described_as(
                stored, frames, options["bundle"], scratch / str(number), options["device"], bar.update, mounting
            )
        maps.append(made)
        told += lines
    return maps, told


def _pruned(stored: Stored, options: dict[str, Any]) -> Chosen:
    from vpr_core.retrieval.map_editing import Chosen
    from vpr_core.retrieval.map_sessions import place_bytes
    from vpr_core.retrieval.pruning import prune, prune_to_size

    rows: np.ndarray
    with tqdm(desc="prune", unit="place") as bar:
        if options["max_places"]:
            rows = prune(stored.place_map, options["max_places"], bar.update)
        else:
            budget = int(options["budget_mib"] * 2**20) - _HEADERS
            rows = prune_to_size(stored.place_map, place_bytes(stored).sum(axis=1), budget, bar.update)
    return Chosen(stored, rows)


def _list(stored: Stored, budget_mib: float | None = None) -> None:
    from vpr_core.evaluation.evaluate import table_text
    from vpr_core.retrieval.map_sessions import mib, place_bytes, sessions_of

    rows = [session.row() for session in sessions_of(stored)]
    places, size = len(stored.place_map), mib(int(place_bytes(stored).sum()) + _HEADERS)
    of_budget = "" if budget_mib is None else f" of the {budget_mib:g} that were given"
    print(f"{stored.folder}: {places} places, {size:g} MiB{of_budget}, map {stored.place_map.hash}")
    if rows:
        shown = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        print(table_text(rows, shown))
    for line in stored.refused:
        print(line)
