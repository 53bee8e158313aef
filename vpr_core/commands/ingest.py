"""`vpr-distill ingest`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from vpr_core.commands.options import progress_bar
from vpr_core.errors import BagError, FramesError


def define(command: ArgumentParser) -> None:
    """Make a frames folder of a bag: images, clouds, labels and poses that belong together, by header stamp.

    Several bags are made into a folder each, in parallel. A run that was killed or interrupted goes on where it stood
    when it is started again with the same options.
    """
    command.add_argument(
        "--bag", type=Path, nargs="+", required=True, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag; one or several"
    )
    command.add_argument(
        "--out", type=Path, required=True, help="frames folder to write; of several bags, a folder that holds theirs"
    )
    for sensor in ("image", "cloud", "label"):
        command.add_argument(f"--{sensor}_topic", type=str, default=None, help=f"{sensor} topic; 'none' leaves it out")
    command.add_argument(
        "--pose_topic",
        type=str,
        default=None,
        help="odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix topic, 'tf:PARENT>CHILD' for poses from "
        "/tf and /tf_static, 'anchored:BELIEVED+ODOMETRY' for odometry held to the poses that a localizer believed in "
        "(anchored:/localizer/pose+/odom), or 'none'",
    )
    command.add_argument(
        "--gnss_origin",
        type=str,
        default=None,
        help="LAT,LON or LAT,LON,ALT from which poses of a NavSatFix topic are counted in metres east, north and up; "
        "drives with one origin share a map frame; the first fix by default",
    )
    command.add_argument(
        "--base_frame",
        type=str,
        default=None,
        help="the vehicle's frame, such as base_link, whose poses the frames get and that /tf_static mounts the "
        "sensors on; by default the frame whose poses come: odometry's child_frame_id, the CHILD of tf:PARENT>CHILD",
    )
    command.add_argument(
        "--camera_info_topic",
        type=str,
        default=None,
        help="camera_info of the camera's intrinsics; the one beside the image topic by default, 'none' leaves it out",
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
    command.add_argument(
        "--workers", type=PositiveInt, default=2, help="processes at once where there are several bags"
    )
    command.add_argument("--overwrite", action="store_true", help="replace existing frames folders")


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.gnss import parse_origin

    bags, out, workers, overwrite = (options.pop(name) for name in ("bag", "out", "workers", "overwrite"))
    options["gnss_origin"] = options["gnss_origin"] and parse_origin(options["gnss_origin"])
    if len(bags) == 1:
        _check_is_of_one_drive(bags[0], out)
        _run_one(bags[0], out, overwrite, options)
    else:
        _run_many(bags, out, workers, overwrite, options)


def _check_is_of_one_drive(bag: Path, out: Path) -> None:
    """One bag becomes `out` itself, several become folders in it: not to be confused where there are drives already."""
    if drives := sorted(card.parent.name for card in out.glob("*/card.json")):
        raise FramesError(
            f"{out} holds frames of {', '.join(drives[:4])}: for a drive beside them say --out {out / bag.stem}"
        )


def _run_one(bag: Path, out: Path, overwrite: bool, options: dict[str, Any]) -> None:
    from vpr_core.data.card import summary
    from vpr_core.data.frames import Frames
    from vpr_core.data.ingest import ingest

    ingest(bag, out, **options, overwrite=overwrite, progress=progress_bar)
    print(f"{out}: {summary(Frames.load(out).card)}")


def _run_many(bags: list[Path], out: Path, workers: int, overwrite: bool, options: dict[str, Any]) -> None:
    from vpr_core.data.ingest import Options
    from vpr_core.data.ingest_many import ingest_many, same_drives

    outcomes = ingest_many(bags, out, Options(**options), workers=workers, overwrite=overwrite, bar=True)
    for outcome in outcomes:
        what = "failed: " if outcome.failed else "done before, " if outcome.skipped else ""
        print(f"{outcome.out}: {what}{outcome.text}")
    for warning in same_drives([outcome.out for outcome in outcomes if not outcome.failed]):
        print(f"warning: {warning}", file=sys.stderr)
    if failed := [str(outcome.bag) for outcome in outcomes if outcome.failed]:
        raise BagError(f"{len(failed)} of {len(bags)} bags gave no frames: {', '.join(failed)}")
