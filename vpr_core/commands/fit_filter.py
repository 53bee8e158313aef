"""`vpr-distill fit-filter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.commands.options import add_device


def define(command: ArgumentParser) -> None:
    """Fit how far the filter over places believes what it sees, on a second drive; stored with the map."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--map", type=Path, required=True, help="folder written by `map`; observation.json goes there")
    command.add_argument(
        "--frames",
        type=Path,
        required=True,
        help="another drive through the map, at other weather or time of day, with poses in the map's frame",
    )
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.retrieval.filter_fit import CHOICES, fit_filter_of_drive

    with tqdm(total=len(CHOICES), desc="fit-filter", unit="model") as bar:
        path, model = fit_filter_of_drive(
            options["bundle"], options["map"], options["frames"], device=options["device"], progress=bar.update
        )
    print(f"{path}: off-map log ratio {model.off_map_log_ratio:g}, one look every {model.evidence_m:g} m")
