"""`vpr-distill ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import (
    NonNegativeFloat,
)

from vpr_core.commands.options import progress_bar


def define(command: ArgumentParser) -> None:
    """Make a frames folder of a bag: images, clouds and poses that belong together, by header stamp."""
    command.add_argument("--bag", type=Path, required=True, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    command.add_argument("--out", type=Path, required=True, help="frames folder to write")
    for sensor in ("image", "cloud", "pose"):
        command.add_argument(f"--{sensor}_topic", type=str, default=None, help=f"{sensor} topic; 'none' leaves it out")
    command.add_argument("--keyframe_m", type=NonNegativeFloat, default=2.0, help="metres between keyframes")
    command.add_argument(
        "--keyframe_s", type=NonNegativeFloat, default=1.0, help="seconds between them where there are no poses"
    )
    command.add_argument(
        "--tolerance_s", type=NonNegativeFloat, default=0.1, help="largest time between an image and its cloud"
    )
    command.add_argument("--session", type=str, default=None, help="name of the drive; the folder's name by default")
    command.add_argument(
        "--area",
        type=str,
        default=None,
        help="name of the town or site, where drives of several are trained on together: those of one area share a "
        "map frame, those of two have no place in common",
    )
    command.add_argument("--overwrite", action="store_true", help="replace an existing frames folder")


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.data.ingest import ingest

    out = ingest(**options, progress=progress_bar)
    card = Frames.load(out).card
    drops = "; ".join(f"{count} x {reason}" for reason, count in card["drops"].items()) or "none"
    print(f"{out}: {card['counts']['frames']} frames, {card['metres']} m, {card['seconds']} s, drops: {drops}")
