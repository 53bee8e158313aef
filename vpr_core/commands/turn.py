"""`vpr-distill turn`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.commands.options import check_output_folder


def define(command: ArgumentParser) -> None:
    """Write a drive as if its LiDAR were mounted the other way round: clouds turned, all else as it is.

    To train a LiDAR network on a street that was driven both ways, turn the drives of one way. Both then face alike,
    and what is left between them is the other lane, which the network learns to see past. A map made with
    `--other_way true` has its places turned in the same way: there a vehicle is recognised that comes from the other
    side.

    vpr-distill turn --frames frames/back --out frames/back_turned
    vpr-distill distill --config config/distill/town_lidar.yaml --frames frames/there frames/back_turned ...
    """
    command.add_argument("--frames", type=Path, required=True, help="frames folder with clouds")
    command.add_argument("--out", type=Path, required=True, help="frames folder to write")


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.data.turned import turn_drive

    check_output_folder(options["out"])
    with tqdm(total=len(Frames.load(options["frames"])), desc="turn", unit="cloud") as bar:
        drive = turn_drive(options["frames"], options["out"], bar.update)
    print(f"{options['out']}: {len(drive)} frames, session {drive.session}")
