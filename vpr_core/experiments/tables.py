"""The networks of plans, trained and tested in made-up towns: each adds its rows to a CSV file as it is finished."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpr_core.errors import FramesError
from vpr_core.experiments.networks import TITLES, Network, cores, evaluate_network, table_rows, train_networks
from vpr_core.experiments.plans import Cell
from vpr_core.experiments.town import Towns, record_frames, town_drives
from vpr_core.synthetic.town import GENERATION
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import EMBEDDING

COLUMNS = (
    "label", "recipe", "student", "seed", "modality", "method", "drives", "trained_on", "town", "condition", "steps",
    "seconds",
    "recall_at_1", "recall_at_5", "recall_at_1_percent", "evaluated",
)  # fmt: skip
Row = dict[str, str]
DRIVES = f"towns-{GENERATION}"
"""Which drives the figures are of, and the folder of them and of what is trained on them."""


def run_tables(
    cells: Sequence[Cell],
    out: Path,
    work: Path,
    *,
    train_towns: Sequence[int],
    test_towns: Sequence[int],
    workers: int | None = None,
    bar: bool = True,
) -> None:
    """Train the networks of the cells that `out` lacks, and append their rows.

    work: folder for drives, checkpoints and unfinished runs; it may be thrown away, at the price of the time. Rows of
    drives by an older generator of towns stay in `out` and are not used. Raises FramesError where `out` is another
    table.
    """
    work = work / DRIVES
    towns = Towns.planned(work / "frames", train_towns, test_towns)
    trained_on = name_of(train_towns)
    there = {_place_in_table(row) for row in read_rows(out)}
    networks: dict[tuple[str, ...], Network] = {}
    for cell in cells:  # networks of one recipe are one network, whatever cells they stand in
        networks.setdefault((cell.network.hash, str(cell.network.recipe.seed), DRIVES, trained_on), cell.network)
    missing = [network for place, network in networks.items() if {(*place, str(town)) for town in test_towns} - there]
    if not missing:
        return
    record_frames(town_drives(work / "bags", train_towns, test_towns), work / "frames", workers=workers or cores())
    folder = work / f"trained_on_{trained_on}"

    def finished(network: Network) -> None:
        rows = _rows(network, folder, towns, trained_on) if network in missing else []
        _append(out, [row for row in rows if _place_in_table(row) not in there])

    train_networks(_with_teachers(missing), folder, towns, workers=workers, bar=bar, finished=finished)


def name_of(towns: Sequence[int]) -> str:
    """How the towns that networks are trained on stand in a table."""
    return "+".join(map(str, towns))


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; raises FramesError where the file has other columns."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise FramesError(f"{path} has columns {reader.fieldnames}, expected {list(COLUMNS)}: choose another --out")
        return list(reader)


def rows_of(
    cells: Sequence[Cell], rows: Sequence[Row], train_towns: Sequence[int], test_towns: Sequence[int]
) -> dict[Cell, list[Row]]:
    """The rows of each cell's network in these towns, with the label and the method that it has in the cell."""
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[_place_in_table(row)].append(row)
    chosen = {}
    for cell in cells:
        network, titles = cell.network, {TITLES["teacher", EMBEDDING], TITLES["alone", EMBEDDING]}
        place = (network.hash, str(network.recipe.seed), DRIVES, name_of(train_towns))
        chosen[cell] = [
            {**row, "label": network.label}
            | ({"method": TITLES[network.method, EMBEDDING]} if row["method"] in titles else {})
            for town in test_towns
            for row in found[(*place, str(town))]
        ]
    return chosen


def _place_in_table(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the rows of one network in one town have in common."""
    return tuple(str(row[name]) for name in ("recipe", "seed", "drives", "trained_on", "town"))


def _with_teachers(networks: Sequence[Network]) -> list[Network]:
    """The networks, and before them the teachers that are finished in the table but needed again."""
    teachers = [network.teacher for network in networks if network.teacher]
    return list({network.name: network for network in (*teachers, *networks)}.values())


def _rows(network: Network, folder: Path, towns: Towns, trained_on: str) -> list[dict[str, Any]]:
    card = load_checkpoint(folder / network.name).card
    known = {
        "label": network.label,
        "recipe": network.hash,
        "student": network.alone.hash,
        "drives": DRIVES,
        "trained_on": trained_on,
        "steps": card["steps"],
    }
    return [
        {**row, **known, "seconds": card["seconds"]}
        for town in towns.tests
        for evaluations in evaluate_network(network, folder, town).values()
        for row in table_rows(evaluations, network.recipe.modality, network.recipe.seed, town)
    ]


def _append(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """In one write, so that a kill leaves all rows of a network or none."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        writer.writeheader()
    writer.writerows(rows)
    with path.open("a") as file:
        file.write(text.getvalue())
