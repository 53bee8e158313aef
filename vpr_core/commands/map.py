"""`vpr-distill map`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.commands.clouds import add_clouds, add_to_map, cloud_options
from vpr_core.commands.options import add_device, check_output_folder


def define(command: ArgumentParser) -> None:
    """Make a place map of a drive with a bundle."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--frames", type=Path, required=True, help="frames folder of the drive to be recognised")
    command.add_argument("--out", type=Path, required=True, help="place map folder to write")
    add_clouds(command)
    command.add_argument(
        "--features", type=str, default=None, metavar="NAME",
        help="also store local features of every place, which `query --rerank` and the localizer's `rerank` need: "
        "sift, akaze, orb, kornia_sift, disk=FILE, or superpoint, superglue or lightglue=FOLDER; docs/reranking.md",
    )  # fmt: skip
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.retrieval.local_features import load_features
    from vpr_core.retrieval.mapping import build_map
    from vpr_core.retrieval.place_features import FILE, store_features

    drive = Frames.load(options["frames"])
    clouds = cloud_options(options, drive.card)
    check_output_folder(options["out"])
    features = options.pop("features")
    if features:
        load_features(features)  # what is absent shows before the long part
    with tqdm(total=len(drive), desc="map", unit="frame") as bar:
        places = build_map(**options, progress=bar.update)
    print(f"{options['out']}: {len(places)} places, map {places.hash}, model {places.model_hash}")
    if clouds:
        add_to_map(options["out"], options["frames"], len(places), clouds)
    if features:
        with tqdm(total=len(places), desc="features", unit="frame") as bar:
            stored = store_features(options["out"], options["frames"], features, options["device"], bar.update)
        kib = stored.bytes_per_place / 1024
        print(f"{options['out'] / FILE}: {stored.kind}, {kib:.1f} KiB a place, {kib * len(stored) / 1024:.1f} MiB")
