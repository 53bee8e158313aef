"""`vpr-distill fit-filter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.commands.options import add_device, add_verify


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
    add_verify(command, 4, "a filter")
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.retrieval.filter_fit import CHOICES, fit_filter_of_drive
    from vpr_core.retrieval.place_map import PlaceMap
    from vpr_core.retrieval.verifiers import can_verify

    verifies, every = options.pop("verify"), options.pop("verify_every")
    if verifies is None:
        verifies = can_verify(options["map"], PlaceMap.load(options["map"]).modality)
    checked = -(-len(Frames.load(options["frames"])) // every) if verifies else 0
    with (
        tqdm(total=len(CHOICES), desc="fit-filter", unit="model") as bar,
        tqdm(total=2 * checked, desc="verified", unit="frame", disable=not checked) as check_bar,
    ):
        path, model = fit_filter_of_drive(
            options["bundle"], options["map"], options["frames"], verify_every=every if verifies else 0,
            device=options["device"], progress=bar.update, check_progress=check_bar.update,
        )  # fmt: skip
    print(f"{path}: off-map log ratio {model.off_map_log_ratio:g}, one look every {model.evidence_m:g} m")
    if verifies:
        print(f"where a check leads: {model.checked_log_ratio:.1f} nats; none fits: {model.unchecked_log_ratio:.1f}")
