"""Runs that no drive has: a robot that is carried elsewhere unnoticed, and one that comes to a landmark."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vpr_core.data.poses import compose, inverse
from vpr_core.experiments.trust_outcomes import Judge, Outcome, Seen
from vpr_core.types import Pose

CUTS = 6
"""Of each drive, evenly spread."""
BEFORE, AFTER = 40, 60
"""Frames driven before and after a cut; of a short drive at most a fifth and a quarter."""
CHURCH_AHEAD_M, CHURCH_BEHIND_M = 130.0, 60.0
"""A run to the church begins so far before it, and ends where not even the LiDAR sees it any more."""
CHURCH_PASSED_M = 40.0
"""A drive that comes no nearer does not lead there."""


@dataclass(frozen=True)
class Cut:
    """A drive that was cut and continued elsewhere."""

    town: str
    sensor: str
    condition: str
    mode: str
    driven: int
    """Frames after the cut."""
    found_after: int | None
    """Frames from the cut to the first right acceptance, itself counted; None where there is none."""
    wrong: int
    """Accepted before it was found again, and wrong."""


@dataclass(frozen=True)
class Church:
    """A run to the landmark of the town of like houses."""

    town: str
    sensor: str
    condition: str
    mode: str
    is_passed: bool
    """Whether the drive leads there at all."""
    accepted_m: float | None
    """How far before the church the first right acceptance was, below 0 behind it; None where there is none."""
    wrong: int


def cuts(judge: Judge, seen: Seen, condition: str) -> list[Cut]:
    """A drive with poses, cut at CUTS places, each time continued about half of it away."""
    count = len(seen.recognitions)
    before, after = min(BEFORE, count // 5), min(AFTER, count // 4)
    starts = [number * (count - before) // CUTS for number in range(CUTS)]
    return [
        _cut(judge, seen, condition, range(start, start + before), range(there, there + after))
        for start in starts
        for there in [1 + (start + count // 2) % (count - after - 1)]
    ]


def _cut(judge: Judge, seen: Seen, condition: str, here: range, there: range) -> Cut:
    rows = np.array([*here, *there])
    estimates = judge.follow(carried(seen, rows))[len(here) :]
    answers: list[Pose | None] = [None] * len(seen.recognitions)
    for row, estimate in zip(there, estimates, strict=True):
        answers[row] = estimate.pose
    right = seen.right(answers)[there.start : there.stop]
    accepted = np.array([estimate.accepted for estimate in estimates], bool)
    found = np.flatnonzero(accepted & right)
    first = int(found[0]) + 1 if len(found) else None
    wrong = int((accepted & ~right)[:first].sum())
    return Cut(judge.town, judge.sensor, condition, seen.followed_as, len(there), first, wrong)


def carried(seen: Seen, rows: np.ndarray) -> Seen:
    """The frames `rows`, with odometry that notices nothing of what lies between two that do not follow each other.

    From one frame to the next odometry and time go on as they did before the latter on its drive.
    """
    odometry, found = [seen.odometry[rows[0]]], [seen.recognitions[rows[0]]]
    for row in rows[1:]:
        step_ns = seen.recognitions[row].stamp_ns - seen.recognitions[row - 1].stamp_ns
        found.append(replace(seen.recognitions[row], stamp_ns=found[-1].stamp_ns + step_ns))
        moved = compose(inverse(seen.odometry[row - 1]), seen.odometry[row])
        odometry.append(compose(odometry[-1], moved))
    return replace(seen.part(rows.tolist()), recognitions=found, odometry=odometry)


def churches(judge: Judge, seen: Seen, condition: str, church_m: tuple[float, float]) -> list[Church]:
    """What is said on the way to the church: by frames alone, of which those that were checked where any were, and by
    the filter begun there."""
    assert seen.positions_m is not None
    ahead_m = _ahead(seen.positions_m, church_m)
    rows = np.flatnonzero((ahead_m <= CHURCH_AHEAD_M) & (ahead_m >= -CHURCH_BEHIND_M))
    passed = bool(len(rows)) and bool(np.hypot(*(seen.positions_m[rows] - church_m).T).min() <= CHURCH_PASSED_M)
    along, ahead_m = seen.part(rows.tolist()), ahead_m[rows]
    checked = np.array([one is not None for one in along.verifications], bool)
    alone = judge.verified(along, condition) if checked.any() else judge.single(along, condition)
    of_alone = ahead_m[checked] if checked.any() else ahead_m
    return [_church(alone, passed, of_alone), _church(judge.filtered(along, condition), passed, ahead_m)]


def _church(found: Outcome, is_passed: bool, ahead_m: np.ndarray) -> Church:
    first, wrong = _first(ahead_m, found.right & found.accepted), int((found.accepted & ~found.right).sum())
    return Church(found.town, found.sensor, found.condition, found.mode, is_passed, first, wrong)


def _ahead(positions_m: np.ndarray, church_m: tuple[float, float]) -> np.ndarray:
    """[M] how far each frame has to drive to the one nearest to the church, below 0 behind it."""
    steps_m = np.hypot(*np.diff(positions_m, axis=0, prepend=positions_m[:1]).T)
    driven_m = np.cumsum(steps_m)
    return np.asarray(driven_m[np.hypot(*(positions_m - church_m).T).argmin()] - driven_m)


def _first(ahead_m: np.ndarray, found: np.ndarray) -> float | None:
    return round(float(ahead_m[found][0]), 1) if found.any() else None
