"""`vpr-distill map`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.commands import clouds, features
from vpr_core.commands.clouds import add_clouds, cloud_options, lidar_mounting
from vpr_core.commands.features import add_features, point_source
from vpr_core.commands.options import add_device, check_output_folder


def define(command: ArgumentParser) -> None:
    """Make a place map of a drive with a bundle."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--frames", type=Path, required=True, help="frames folder of the drive to be recognised")
    command.add_argument("--out", type=Path, required=True, help="place map folder to write")
    command.add_argument(
        "--other_way", type=bool, default=False,
        help="add every place of a LiDAR's drive once more, as a vehicle sees it that comes the other way: twice the "
        "places, in a session NAME-other-way",
    )  # fmt: skip
    add_clouds(command)
    add_features(command)
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.retrieval.local_features import load_features
    from vpr_core.retrieval.mapping import build_map

    check_output_folder(options["out"])
    drive = Frames.load(options["frames"])
    source = point_source(options, drive)
    other_way = options.pop("other_way")
    options["other_way_from"] = lidar_mounting(options, drive.card) if other_way else None
    stored_clouds = cloud_options(options, drive.card)
    name = options.pop("features")
    if name:
        load_features(name)  # what is absent shows before the long part
    with tqdm(total=len(drive) * (2 if other_way else 1), desc="map", unit="frame") as bar:
        places = build_map(**options, progress=bar.update)
    print(f"{options['out']}: {len(places)} places, map {places.hash}, model {places.model_hash}")
    if stored_clouds:
        clouds.add_to_map(options["out"], options["frames"], len(drive), stored_clouds)
    if name:
        features.add_to_map(options["out"], options["frames"], len(places), name, options["device"], source)
