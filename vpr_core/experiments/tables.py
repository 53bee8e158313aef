"""The networks of plans, trained and tested: each adds its rows to a CSV file as it is finished."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpr_core.errors import FramesError
from vpr_core.evaluation.evaluate import rounded
from vpr_core.experiments.cells import Cell
from vpr_core.experiments.networks import TITLES, Network
from vpr_core.experiments.side_by_side import cores, train_networks
from vpr_core.experiments.sources import COLUMNS, Row, Source
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.network_input import EMBEDDING
from vpr_core.training.weigh import load_sample_weights


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
    there = {_place_in_table(row) for row in read_rows(out, source.columns)}
    networks: dict[tuple[str, ...], Network] = {}
    for cell in cells:  # networks of one recipe are one network, whatever cells they stand in
        networks.setdefault(_place(cell.network, source), cell.network)
    missing = [network for place, network in networks.items() if {(*place, town) for town in source.places} - there]
    if not missing:
        return
    source.prepare(workers or cores())

    def finished(network: Network) -> None:
        rows = _rows(network, source) if network in missing else []
        _append(out, [row for row in rows if _place_in_table(row) not in there], source.columns)

    train_networks(
        _with_those_before(missing),
        source.folder,
        source.drives,
        device=device,
        workers=workers,
        bar=bar,
        finished=finished,
    )


def read_rows(path: Path, columns: Sequence[str] = COLUMNS) -> list[Row]:
    """The rows of a table; raises FramesError where the file has other columns."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise FramesError(f"{path} has columns {reader.fieldnames}, expected {list(columns)}: choose another --out")
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


def _with_those_before(networks: Sequence[Network]) -> list[Network]:
    """The networks, and before them those that they learn from, which may be finished in the table."""
    before = [each for network in networks for each in network.after]
    first = _with_those_before(before) if before else []
    return list({network.name: network for network in (*first, *networks)}.values())


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
    if network.weighing and network.teacher:
        weights = load_sample_weights(network.weighing.path(source.folder, network.teacher)).weights
        known["samples_weighed"] = rounded(float((weights > 0).mean()))
    return [{**row, **known} for row in source.rows(network)]


def _append(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """In one write, so that a kill leaves all rows of a network or none."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        writer.writeheader()
    writer.writerows(rows)
    with path.open("a") as file:
        file.write(text.getvalue())
