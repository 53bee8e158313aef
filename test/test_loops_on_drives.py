"""Loops of real and made-up drives: a corridor driven twice, and a street passed again among other parked cars."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.evaluation.loop_closures import LoopEvaluation, answers_of, evaluate_loops, truth_by_pose
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.loop_closure import LoopAnswer, LoopCloser, LoopOptions
from vpr_core.synthetic.drive import record_drive

SHIPPED = Path(__file__).parents[1] / "bundles" / "town_camera"
IMAGES = 84
SECOND_NS = 1_000_000_000


def told(name: str, found: LoopEvaluation) -> str:
    return (
        f"loops, {name}: {found.loops} of {len(found.judged)} queries have one; accepted {found.accepted}, precision "
        f"{found.precision:.3f}, recall {found.recall:.3f}; recall at 100 % precision "
        f"{found.curve.recall_at_100_precision:.3f}, average precision {found.curve.average_precision:.3f}"
    )


@pytest.fixture(scope="module")
def corridor(shared: Path) -> Path:
    folder = shared / "data" / "rtabmap_corridor_loop"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


def test_the_second_lap_of_a_real_corridor_closes_loops(corridor: Path, figures: list[str]) -> None:
    """The images have no poses: one a second, the last 20 left out, as the data set's own protocol has it."""
    with (corridor / "loop_ground_truth.csv").open() as file:
        earlier = {int(row[0]): {int(cell) for cell in row[1].split()} for row in list(csv.reader(file))[1:]}
    options = LoopOptions(exclude_s=20.0, min_similarity=0.0)
    closer, found = LoopCloser(Bundle.load(SHIPPED, threads=1), options), list[tuple[LoopAnswer, np.ndarray]]()
    for number in range(1, IMAGES + 1):
        image = decode_image(next(corridor.rglob(f"{number:03d}.jpg")).read_bytes())
        known = closer.past.place_ids
        answer = closer.add(image, number * SECOND_NS, None)
        assert answer
        found.append((answer, known[: answer.searched]))

    def truth(answer: LoopAnswer, old: np.ndarray) -> np.ndarray:
        return np.array([place for place in old if int(place) + 1 in earlier[answer.place_id + 1]], int)

    loops = evaluate_loops(found, truth)
    figures.append(told("corridor, by single images", loops))
    assert loops.loops == 44
    # A network of streets, in a corridor: most best matches are right, chance would be 5 of 40.
    assert sum(one.right for one in loops.judged) > 22


def test_a_street_passed_again_closes_the_loop(frames: Path, tmp_path: Path, figures: list[str]) -> None:
    bag = record_drive(
        tmp_path / "again", town=3, condition="noon", route="loop", seed=9, max_length_m=60.0, labels=False,
        lidar_columns=64,
    )  # fmt: skip
    first, again = Frames.load(frames), Frames.load(ingest(bag, tmp_path / "frames", pose_topic="/ground_truth/odom"))
    closer = LoopCloser(Bundle.load(SHIPPED, threads=1), LoopOptions(exclude_m=30.0))
    found = list(answers_of(closer, first))
    # A minute later, after a way back on which nothing was seen.
    late_ns = first.frames[-1].stamp_ns + 60 * SECOND_NS - again.frames[0].stamp_ns
    moved = tuple(replace(frame, stamp_ns=frame.stamp_ns + late_ns) for frame in again.frames)
    found += answers_of(closer, replace(again, frames=moved))
    loops = evaluate_loops(found, truth_by_pose(found))
    figures.append(told("town at noon, a street passed again", loops))
    assert loops.loops == len(again)
    assert loops.precision == 1.0 and loops.recall > 0.5 and not math.isnan(loops.threshold_at_100_precision)
