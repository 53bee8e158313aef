"""`vpr-distill query`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    restricted_number_type,
)

from vpr_core.commands.options import add_device, check_output_file, progress_bar
from vpr_core.data.camera_sets import WITHIN_S
from vpr_core.errors import InputError
from vpr_core.retrieval.calibration import DEFAULT_TARGET

Similarity = restricted_number_type("Similarity", float, [(">=", -1), ("<=", 1)])


def define(command: ArgumentParser) -> None:
    """Recognise places in a bag; writes one JSON line an image or cloud, with the live node's answers."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--map", type=Path, required=True, help="folder written by `map`")
    command.add_argument("--bag", type=Path, required=True, help="the drive to recognise")
    command.add_argument(
        "--image_topic", type=str, nargs="+", default=None,
        help="for a camera bundle; needed where there are several. Several topics are cameras of one vehicle, that one "
        "first which is mounted as the map's was: images of one moment are one query",
    )  # fmt: skip
    command.add_argument(
        "--cameras_within_s", type=NonNegativeFloat, default=WITHIN_S,
        help="with several image topics: images are of one moment whose stamps lie so near to the first one's [s]",
    )  # fmt: skip
    command.add_argument(
        "--cloud_topic", type=str, default=None, help="for a lidar bundle; needed where there are several"
    )
    command.add_argument("--out", type=Path, default=None, help="file of JSON lines; standard output by default")
    command.add_argument("--top_k", type=PositiveInt, default=5, help="places for each image or cloud")
    command.add_argument(
        "--min_similarity", type=Similarity, default=None, help="accept a match from here up; the bundle's by default"
    )
    command.add_argument(
        "--filter", type=bool, default=False, help="also answer along odometry, as `filtered`; see `fit-filter`"
    )
    command.add_argument(
        "--pose_topic", type=str, default=None, help="odometry for --filter, a topic or tf:odom>base_link"
    )
    command.add_argument(
        "--rerank", type=NonNegativeInt, default=0,
        help="put so many of the most similar places in the order of what their pictures share with the query's; the "
        "map must have local features (`map --features`); 0 does not",
    )  # fmt: skip
    command.add_argument(
        "--verify", type=bool | None, default=None,
        help="check candidates with the map's clouds or points (about 0.3 s a cloud, 0.2 s an image), the sensor being "
        "where it was when the map was made; by default where the map has them, as the localizer does",
    )  # fmt: skip
    command.add_argument(
        "--target_precision", type=ClosedUnitInterval, default=DEFAULT_TARGET,
        help="on a calibrated map: the share of accepted matches that shall be right; 0 accepts by similarity",
    )  # fmt: skip
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.files import write_atomic
    from vpr_core.retrieval.query import odometry_of, query_bag, query_cameras
    from vpr_core.retrieval.recognizer import PlaceRecognizer
    from vpr_core.retrieval.sequence import SequenceRecognizer, follower
    from vpr_core.retrieval.verifiers import verifier_if_wanted

    out, bag = options.pop("out"), options.pop("bag")
    check_output_file(out)
    cameras, within_s = options.pop("image_topic") or [None], options.pop("cameras_within_s")
    topics = {"camera": cameras[0], "lidar": options.pop("cloud_topic")}
    place_map, filtered, pose_topic = (options.pop(name) for name in ("map", "filter", "pose_topic"))
    wanted = options.pop("verify")
    options["target_precision"] = options["target_precision"] or None
    recognizer = PlaceRecognizer.load(options.pop("bundle"), place_map, **options)
    drops: Counter[str] = Counter()
    topic, follow = topics[recognizer.modality], None
    several = {"the filter": ("--filter", filtered), "checking candidates": ("--verify", wanted)}
    for what, (option, is_wanted) in several.items():
        if is_wanted and len(cameras) > 1:
            raise InputError(f"{what} takes one camera: name one --image_topic, or leave {option} out")
    if filtered:
        sequence = SequenceRecognizer.of(recognizer, place_map)
        follow = follower(sequence, odometry_of(bag, recognizer.modality, topic, pose_topic, progress_bar))
    if len(cameras) > 1:
        records = list(query_cameras(recognizer, bag, cameras, drops, progress_bar, within_s))
    else:
        verifier = verifier_if_wanted(wanted, place_map, recognizer.modality, options["device"])
        records = list(query_bag(recognizer, bag, topic, drops, progress_bar, follow, verifier=verifier))
    text = "".join(json.dumps(record) + "\n" for record in records)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text.encode())
    told = sys.stderr if out is None else sys.stdout  # the records alone go down a pipe
    accepted = sum(record["accepted"] for record in records)
    what = "sets of images" if len(cameras) > 1 else {"camera": "images", "lidar": "clouds"}[recognizer.modality]
    summary = f"{len(records)} {what}, {accepted} accepted, {sum(drops.values())} dropped"
    if filtered:
        summary += f"; filtered {sum(record['filtered']['accepted'] for record in records)} accepted"
    print(f"{out or 'query'}: {summary}", file=told)
    for reason, count in drops.most_common():
        print(f"  dropped {count} x {reason}", file=told)
