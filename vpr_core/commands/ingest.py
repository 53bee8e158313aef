"""`vpr-distill ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeFloat, PositiveFloat

from vpr_core.commands.options import progress_bar


def define(command: ArgumentParser) -> None:
    """Make a frames folder of a bag: images, clouds, labels and poses that belong together, by header stamp.

    A run that was killed or interrupted goes on where it stood when it is started again with the same options.
    """
    command.add_argument("--bag", type=Path, required=True, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    command.add_argument("--out", type=Path, required=True, help="frames folder to write")
    for sensor in ("image", "cloud", "label"):
        command.add_argument(f"--{sensor}_topic", type=str, default=None, help=f"{sensor} topic; 'none' leaves it out")
    command.add_argument(
        "--pose_topic",
        type=str,
        default=None,
        help="odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix topic, 'tf:PARENT>CHILD' for poses from "
        "/tf and /tf_static, or 'none'",
    )
    command.add_argument(
        "--gnss_origin",
        type=str,
        default=None,
        help="LAT,LON or LAT,LON,ALT from which poses of a NavSatFix topic are counted in metres east, north and up; "
        "drives with one origin share a map frame; the first fix by default",
    )
    command.add_argument("--keyframe_m", type=NonNegativeFloat, default=2.0, help="metres between keyframes")
    command.add_argument(
        "--keyframe_s", type=NonNegativeFloat, default=1.0, help="seconds between them where there are no poses"
    )
    command.add_argument(
        "--tolerance_s",
        type=NonNegativeFloat,
        default=0.1,
        help="largest time between an image and its cloud or label",
    )
    command.add_argument(
        "--max_speed_mps",
        type=PositiveFloat,
        default=50.0,
        help="poses that are farther apart than this allows have jumped: frames between them are dropped",
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
    from vpr_core.data.card import summary
    from vpr_core.data.frames import Frames
    from vpr_core.data.gnss import parse_origin
    from vpr_core.data.ingest import ingest

    origin = options["gnss_origin"] and parse_origin(options["gnss_origin"])
    out = ingest(**{**options, "gnss_origin": origin}, progress=progress_bar)
    print(f"{out}: {summary(Frames.load(out).card)}")
