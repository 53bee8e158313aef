"""True places by distance and heading, and what follows of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.evaluation.breakdown import directions, nearest_places
from vpr_core.evaluation.comparison import Drives, evaluate_method, evaluate_ranked
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.pairs import average_recall, evaluate_pairs
from vpr_core.evaluation.truth import true_places

MakeDrive = Callable[..., Frames]
Angles = Callable[..., Callable[[Frames], np.ndarray]]


@pytest.fixture
def database(make_drive: MakeDrive) -> Frames:
    """Two views at each of two places, looking along the street and back."""
    return make_drive("map", [0.0, 1.0, 100.0, 101.0], yaw_deg=[0.0, 180.0, 10.0, -170.0])


@pytest.fixture
def queries(make_drive: MakeDrive) -> Frames:
    return make_drive("drive", [0.0, 2.0, 99.0, 50.0, 101.0], yaw_deg=[41.0, 140.0, -30.0, 0.0, 95.0])


def test_a_place_is_true_up_to_the_limit_of_its_heading(database: Frames, queries: Frames) -> None:
    by_distance = [found.tolist() for found in true_places(database, queries, 25.0)]
    assert by_distance == [[0, 1], [0, 1], [2, 3], [], [2, 3]]
    by_both = [found.tolist() for found in true_places(database, queries, 25.0, 40.0)]
    assert by_both == [[], [1], [2], [], []], "41 degrees are too many, 40 are not, across the turn of the circle too"
    assert [found.tolist() for found in true_places(database, queries, 25.0, 41.0)][0] == [0]


def test_recall_and_directions_follow_it(database: Frames, queries: Frames, angles: Angles) -> None:
    """By descriptors the view back is taken for the view along the street, which is near but not true."""
    method = Method("angles", angles({"map": [0, 30, 60, 90], "drive": [0, 0, 60, 30, 90]}))
    drives = Drives(database, (queries,))
    (near,) = evaluate_method(method, drives, 25.0).evaluations
    (seen,) = evaluate_method(method, drives, 25.0, max_heading_deg=40.0).evaluations
    assert (near.result.evaluated, near.result.at[1]) == (4, 1.0)
    assert (seen.result.evaluated, seen.result.skipped, seen.result.at[1], seen.result.at[5]) == (2, 3, 0.5, 1.0)
    assert nearest_places(seen)[1].tolist()[1:3] == [1, 2], "the true one, though another may be nearer"
    assert set(directions(seen)) == {"same", ""} and "opposite" not in directions(seen)
    assert seen.row()["max_heading_deg"] == 40.0 and "max_heading_deg" not in near.row()
    assert (near.limits_text(), seen.limits_text()) == ("25 m", "25 m and 40 degrees of heading")


def test_lists_and_pairs_of_runs_take_it_too(database: Frames, queries: Frames, angles: Angles) -> None:
    rows = np.array([[0, 1], [1, 0], [3, 2], [0, 1], [2, 3]])
    ranked = evaluate_ranked(
        "lists", lambda *_: (np.full(rows.shape, np.nan), rows), Drives(database, (queries,)), 25.0, 40.0
    )
    assert ranked[0].result.first_hit.tolist() == [-1, 1, 2, -1, -1]
    describe = angles({"map": [0, 30, 60, 90], "drive": [0, 0, 60, 30, 90]})
    pairs = evaluate_pairs("angles", describe, [database, queries], 25.0, max_heading_deg=40.0)
    assert [pair.result.evaluated for pair in pairs] == [2, 2]
    assert average_recall(pairs)["max_heading_deg"] == 40.0
