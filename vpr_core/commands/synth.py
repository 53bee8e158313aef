"""`vpr-distill synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm


def define(command: ArgumentParser) -> None:
    """Record a drive through a made-up town as a ROS 2 bag. The same options give the same bag."""
    command.add_argument("--out", type=Path, required=True, help="bag folder to write")
    command.add_argument("--town", type=int, default=1, help="number of the town; another number, another town")
    command.add_argument("--condition", default="noon", help="noon, dusk, night or fog")
    command.add_argument("--route", default="loop", help="loop, lane (beside it), offmap or mixed")
    command.add_argument("--seed", type=int, default=0, help="of parked cars, wander and noise")
    command.add_argument("--max_length_m", type=float, default=None, help="end the drive after so many metres")
    command.add_argument("--overwrite", action="store_true", help="replace an existing bag")


def run(options: dict[str, Any]) -> None:
    from vpr_core.synthetic.drive import record_drive

    with tqdm(desc="synth", unit="frame") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        out = record_drive(**options, progress=progress)
    print(out)
