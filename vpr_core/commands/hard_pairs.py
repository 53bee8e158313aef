"""`vpr-distill hard-pairs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from vpr_core.commands.options import check_output_folder


def define(command: ArgumentParser) -> None:
    """Make training pairs of bags in which a localizer refused a place or took it for another.

    Such bags are kept by the node snapshot_recorder, or are whole drives recorded with the localizer's ~/matches. Each
    becomes a frames folder, and hard_pairs.csv beside them names, for each image or cloud that was refused or taken for
    the wrong place, the places that stood before the right one, and the right one. Then

      vpr-distill distill --frames frames/noon hard/*/ --hard_pairs hard/hard_pairs.csv ...

    trains with these drives too, and brings what was confused into one batch. Where the vehicle really was has to be
    known: from a topic of poses in the map's frame, or from what the localizer believed before and after, carried
    along odometry (--pose_topic anchored:/localizer/pose+/odom).
    """
    command.add_argument("--bags", type=Path, nargs="+", required=True, help="bags, or folders that hold bags")
    command.add_argument(
        "--frames", type=Path, nargs="+", required=True, help="frames folders that the localizer's map was made of"
    )
    command.add_argument("--out", type=Path, required=True, help="folder to write: frames of each bag, and the pairs")
    command.add_argument(
        "--pose_topic",
        type=str,
        required=True,
        help="as of `ingest`, in the map's frame; 'anchored:/localizer/pose+/odom' without ground truth",
    )
    command.add_argument("--matches_topic", type=str, default=None, help="of the localizer; the only one by default")
    for sensor in ("image", "cloud"):
        command.add_argument(f"--{sensor}_topic", type=str, default=None, help=f"{sensor} topic; 'none' leaves it out")
    command.add_argument("--keyframe_m", type=NonNegativeFloat, default=1.0, help="metres between frames of a bag")
    command.add_argument("--radius_m", type=PositiveFloat, default=10.0, help="within it a place is the right one")
    command.add_argument(
        "--negative_m", type=PositiveFloat, default=50.0, help="beyond it a place is a wrong one; as of the recipe"
    )
    command.add_argument("--workers", type=PositiveInt, default=2, help="bags read at once")
    command.add_argument("--overwrite", action="store_true", help="replace existing frames folders")


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.hard_bags import hard_pairs_of_bags
    from vpr_core.data.ingest import Options

    check_output_folder(options["out"])
    names = ("image_topic", "cloud_topic", "pose_topic", "keyframe_m")
    ingesting = Options(label_topic="none", **{name: options.pop(name) for name in names})
    bags, frames, out = (options.pop(name) for name in ("bags", "frames", "out"))
    for line in hard_pairs_of_bags(bags, frames, out, ingesting, **options, bar=True):
        print(line)
