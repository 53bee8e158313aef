"""The networks of plans, trained and tested: each adds its rows to a CSV file as it is finished."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpr_core.errors import FramesError
from vpr_core.experiments.networks import TITLES, Network, cores, train_networks
from vpr_core.experiments.plans import Cell
from vpr_core.experiments.sources import Row, Source
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import EMBEDDING

COLUMNS = (
    "label", "recipe", "student", "seed", "modality", "method", "drives", "trained_on", "town", "condition", "steps",
    "seconds",
    "recall_at_1", "recall_at_5", "recall_at_1_percent", "evaluated",
)  # fmt: skip


def run_tables(
    cells: Sequence[Cell],
    out: Path,
    source: Source,
    *,
    workers: int | None = None,
    device: str = "cpu",
    bar: bool = True,
) -> None:
    """Train the networks of the cells that `out` lacks on the source's drives, and append their rows.

    The source's folder may be thrown away, at the price of the time. Rows of other drives stay in `out` and are not
    used. Raises FramesError where `out` is another table.
    """
    there = {_place_in_table(row) for row in read_rows(out)}
    networks: dict[tuple[str, ...], Network] = {}
    for cell in cells:  # networks of one recipe are one network, whatever cells they stand in
        networks.setdefault(_place(cell.network, source), cell.network)
    missing = [network for place, network in networks.items() if {(*place, town) for town in source.places} - there]
    if not missing:
        return
    source.prepare(workers or cores())

    def finished(network: Network) -> None:
        rows = _rows(network, source) if network in missing else []
        _append(out, [row for row in rows if _place_in_table(row) not in there])

    train_networks(
        _with_teachers(missing),
        source.folder,
        source.drives,
        device=device,
        workers=workers,
        bar=bar,
        finished=finished,
    )


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; raises FramesError where the file has other columns."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise FramesError(f"{path} has columns {reader.fieldnames}, expected {list(COLUMNS)}: choose another --out")
        return list(reader)


def rows_of(cells: Sequence[Cell], rows: Sequence[Row], source: Source) -> dict[Cell, list[Row]]:
    """The rows of each cell's network on these drives, with the label and the method that it has in the cell."""
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[_place_in_table(row)].append(row)
    whole = {TITLES["teacher", EMBEDDING], TITLES["alone", EMBEDDING]}
    return {
        cell: [
            {**row, "label": cell.network.label}
            | ({"method": TITLES[cell.network.method, EMBEDDING]} if row["method"] in whole else {})
            for town in source.places
            for row in found[(*_place(cell.network, source), town)]
        ]
        for cell in cells
    }


def _place(network: Network, source: Source) -> tuple[str, ...]:
    return network.hash, str(network.recipe.seed), source.name, source.trained_on


def _place_in_table(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the rows of one network in one town have in common."""
    return tuple(str(row[name]) for name in ("recipe", "seed", "drives", "trained_on", "town"))


def _with_teachers(networks: Sequence[Network]) -> list[Network]:
    """The networks, and before them the teachers that are finished in the table but needed again."""
    teachers = [network.teacher for network in networks if network.teacher]
    return list({network.name: network for network in (*teachers, *networks)}.values())


def _rows(network: Network, source: Source) -> list[dict[str, Any]]:
    card = load_checkpoint(source.folder / network.name).card
    known = {
        "label": network.label,
        "recipe": network.hash,
        "student": network.alone.hash,
        "drives": source.name,
        "trained_on": source.trained_on,
        "steps": card["steps"],
        "seconds": card["seconds"],
    }
    return [{**row, **known} for row in source.rows(network)]


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
