"""How many of a drive's loops are closed, and how many closures are wrong (definitions: docs/loop_closure.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.precision_recall import PrecisionRecall, precision_recall
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M
from vpr_core.retrieval.loop_closure import LoopAnswer, LoopCloser
from vpr_core.types import Pose

_NEVER = -2.0
Truth = Callable[[LoopAnswer, np.ndarray], np.ndarray]
"""Of the places int [N] that were old enough for an answer, those that show its place."""


@dataclass(frozen=True)
class Judged:
    """An answer and what was to be found."""

    answer: LoopAnswer
    first_hit: int
    """Rank from 1 of the first right match, 0 where none is right, -1 where no place old enough is the query's."""

    @property
    def accepted(self) -> bool:
        return self.answer.recognition.accepted is not None

    @property
    def right(self) -> bool:
        """Whether its best match is right."""
        return self.first_hit == 1

    @property
    def similarity(self) -> float:
        """Of its best match; _NEVER where no threshold would accept it."""
        matches = self.answer.recognition.matches
        return matches[0].similarity if matches and self.answer.agrees else _NEVER


@dataclass(frozen=True)
class LoopEvaluation:
    """The answers of one drive for which some place was old enough, in the order of time."""

    judged: tuple[Judged, ...]

    @cached_property
    def curve(self) -> PrecisionRecall:
        """Over the similarity from which closures are accepted, of those that agree with the queries before.

        A query without a loop counts as a negative.
        """
        best = [one.similarity for one in self.judged]
        return precision_recall(np.array(best), np.array([one.first_hit for one in self.judged], int))

    @property
    def loops(self) -> int:
        """Queries with a right place that was old enough."""
        return sum(one.first_hit >= 0 for one in self.judged)

    @property
    def accepted(self) -> int:
        return sum(one.accepted for one in self.judged)

    @property
    def right(self) -> int:
        """Accepted and right."""
        return sum(one.accepted and one.right for one in self.judged)

    @property
    def precision(self) -> float:
        """Of what was accepted; NaN where nothing was."""
        return self.right / self.accepted if self.accepted else float("nan")

    @property
    def recall(self) -> float:
        """Share of the queries with a loop that were accepted with a right place; NaN where there is no loop."""
        return self.right / self.loops if self.loops else float("nan")

    @property
    def threshold_at_100_precision(self) -> float:
        """The similarity from which recall at 100 % precision was reached; NaN where the most similar is wrong."""
        reached = self.curve.threshold[(self.curve.precision == 1.0) & (self.curve.threshold > _NEVER)]
        return float(reached[-1]) if len(reached) else float("nan")


def answers_of(
    closer: LoopCloser, drive: Frames, progress: Callable[[int], object] | None = None
) -> Iterator[tuple[LoopAnswer, np.ndarray]]:
    """Drive along the frames: each answer, and the places int [N] that were old enough for it.

    The frames' poses are the odometry. Raises FramesError where the drive lacks what the bundle looks at, InputError as
    `LoopCloser.add` does.
    """
    observation = drive.image if closer.bundle.modality == "camera" else drive.cloud
    for index, frame in enumerate(drive.frames):
        known = closer.past.place_ids
        if closer.wants(frame.pose):
            answer = closer.add(observation(index), frame.stamp_ns, frame.pose)
            if answer is not None:
                yield answer, known[: answer.searched + answer.unreachable]
        if progress:
            progress(1)


def evaluate_loops(found: list[tuple[LoopAnswer, np.ndarray]], truth: Truth) -> LoopEvaluation:
    """Compare answers, as `answers_of` gives them, with what is right."""
    return LoopEvaluation(
        tuple(
            Judged(answer, _first_hit(answer, truth(answer, searched))) for answer, searched in found if len(searched)
        )
    )


def truth_by_pose(found: list[tuple[LoopAnswer, np.ndarray]], radius_m: float = DEFAULT_RADIUS_M) -> Truth:
    """Places within the radius in x and y; raises FramesError where an answer has no pose."""
    positions_m = np.full((1 + max((answer.place_id for answer, _ in found), default=0), 2), np.nan)
    for answer, _ in found:
        positions_m[answer.place_id] = _posed(answer).position_m[:2]

    def truth(answer: LoopAnswer, searched: np.ndarray) -> np.ndarray:
        away_m = np.linalg.norm(positions_m[searched] - positions_m[answer.place_id], axis=1)
        return searched[away_m <= radius_m]

    return truth


def _posed(answer: LoopAnswer) -> Pose:
    if answer.pose is None:
        raise FramesError(f"place {answer.place_id} has no pose, so nobody knows which closures are right: ingest the "
                          "drive with --pose_topic")  # fmt: skip
    return answer.pose


def _first_hit(answer: LoopAnswer, true: np.ndarray) -> int:
    if not len(true):
        return -1
    ranks = (rank for rank, match in enumerate(answer.recognition.matches, 1) if match.place_id in true)
    return next(ranks, 0)


def judged_record(one: Judged, record: dict[str, Any]) -> dict[str, Any]:
    """A record of the answer with whether the past held its place, and whether the best match is it."""
    return {**record, "has_loop": one.first_hit >= 0, "right": one.right}
