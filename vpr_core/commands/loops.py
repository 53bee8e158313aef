"""`vpr-distill loops`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from vpr_core.commands.options import add_device, check_output_file, file_ending, progress_bar
from vpr_core.commands.query import Similarity

if TYPE_CHECKING:
    import numpy as np

    from vpr_core.evaluation.loop_closures import LoopEvaluation
    from vpr_core.retrieval.loop_closure import LoopAnswer, LoopCloser

    Found = list[tuple[LoopAnswer, np.ndarray]]


def define(command: ArgumentParser) -> None:
    """Find the loop closures of a drive, its own past being the map, with the live node's answers and what is right.

    Each kept frame is compared with the places that were passed before, the recent past left out. With poses, which
    stand for the odometry and for the truth, it prints precision and recall, and recall at 100 % precision.
    docs/loop_closure.md defines them.
    """
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--frames", type=Path, required=True, help="folder written by `ingest`: the drive")
    command.add_argument("--out", type=Path, default=None, help="also write the answers to this file of JSON lines")
    command.add_argument(
        "--picture", type=file_ending(".svg", ".png"), default=None, help="also draw the way and its closures to this"
    )
    command.add_argument("--radius_m", type=PositiveFloat, default=10.0, help="a match within this distance is right")
    command.add_argument(
        "--keyframe_m", type=PositiveFloat, default=2.0, help="distance from a place to the next; of those in --frames"
    )
    command.add_argument(
        "--exclude_m", type=NonNegativeFloat, default=50.0, help="leave out places passed within so many metres of way"
    )
    command.add_argument(
        "--exclude_s", type=NonNegativeFloat, default=10.0,
        help="and those of so many seconds; this alone counts for frames without poses",
    )  # fmt: skip
    command.add_argument(
        "--max_drift", type=NonNegativeFloat, default=0.1,
        help="leave out places farther away than this share of the way since, by which odometry may be off; 1 none",
    )  # fmt: skip
    command.add_argument(
        "--agreement_needed", type=PositiveInt, default=3,
        help="so many of the last --agreement_of queries have to find the same place along odometry; 1: each by itself",
    )  # fmt: skip
    command.add_argument(
        "--agreement_of", type=PositiveInt, default=5, help="how many queries --agreement_needed is of"
    )
    command.add_argument("--top_k", type=PositiveInt, default=5, help="places for each frame")
    command.add_argument(
        "--min_similarity", type=Similarity, default=None, help="accept a closure from here up; the bundle's by default"
    )
    command.add_argument(
        "--memory_mib", type=PositiveFloat, default=256.0,
        help="what the past may take; where it is full, every second place of its older half goes",
    )  # fmt: skip
    add_device(command, "where the network runs")


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.errors import FramesError
    from vpr_core.evaluation.loop_closures import answers_of, evaluate_loops, truth_by_pose
    from vpr_core.retrieval.bundle import Bundle
    from vpr_core.retrieval.loop_closure import LoopCloser, LoopOptions

    out, picture = options.pop("out"), options.pop("picture")
    check_output_file(out)
    check_output_file(picture, "--picture")
    drive, radius_m = Frames.load(options.pop("frames")), options.pop("radius_m")
    bundle = Bundle.load(options.pop("bundle"), options.pop("device"))
    if not len(drive):
        raise FramesError(f"{drive.folder} has no frames")
    if picture and not drive.has_poses:
        raise FramesError(f"{drive.folder} has no poses to draw: ingest it with --pose_topic, or leave out --picture")
    closer = LoopCloser(bundle, LoopOptions(**options))
    with progress_bar("loops", len(drive)) as bar:
        found = list(answers_of(closer, drive, bar.update))
    evaluation = evaluate_loops(found, truth_by_pose(found, radius_m)) if drive.has_poses else None
    if out:
        _write(out, closer, found, evaluation)
    if picture and evaluation:
        from vpr_core.evaluation.loop_picture import draw_loops

        draw_loops([answer for answer, _ in found], evaluation, drive.session, picture)
    print("\n".join(_told(drive.session, closer, found, evaluation, radius_m)))


def _write(out: Path, closer: LoopCloser, found: Found, evaluation: LoopEvaluation | None) -> None:
    from vpr_core.evaluation.loop_closures import judged_record
    from vpr_core.files import write_atomic

    records = [answer.record(closer.bundle.hash) for answer, _ in found]
    if evaluation:
        judged = {one.answer.place_id: one for one in evaluation.judged}
        records = [
            judged_record(judged[record["place_id"]], record) if record["place_id"] in judged else record
            for record in records
        ]
    write_atomic(out, "".join(json.dumps(record) + "\n" for record in records).encode())


def _told(name: str, closer: LoopCloser, found: Found, evaluation: LoopEvaluation | None, radius_m: float) -> list[str]:
    past = closer.past
    asked = sum(len(searched) > 0 for _, searched in found)
    lines = [
        f"{name}: {len(found)} places, {asked} of them with others old enough to be seen again; {closer.closures} "
        f"closures accepted from similarity {closer.threshold:.3f}",
        f"  memory {past.bytes / 2**20:.2f} MiB of {closer.options.memory_mib:g}, room for {past.most} places, "
        f"{past.thinned} thinned out",
    ]
    if evaluation is None:
        return [*lines, "  without poses nobody knows which are right"]
    if not evaluation.judged:
        return [*lines, "  the drive is too short for a loop: see --exclude_m and --exclude_s"]
    curve = evaluation.curve
    return [
        *lines,
        f"  {evaluation.loops} places with a loop within {radius_m:g} m: {evaluation.right} closed, "
        f"{evaluation.accepted - evaluation.right} accepted that are wrong; precision {evaluation.precision:.3f}, "
        f"recall {evaluation.recall:.3f}",
        f"  recall at 100 % precision {curve.recall_at_100_precision:.3f}, from similarity "
        f"{evaluation.threshold_at_100_precision:.3f}; average precision {curve.average_precision:.3f}, "
        f"AUROC {curve.auroc:.3f}",
    ]
