"""Recall by direction and distance, by hand-made drives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.evaluation.breakdown import (
    Share,
    direction_rows,
    directions,
    pooled,
    pooled_direction_rows,
    recall_by_direction,
    recall_by_distance,
    recall_of_all,
)
from vpr_core.evaluation.evaluate import Evaluation, evaluate
from vpr_core.evaluation.truth import headings_rad

MakeDrive = Callable[..., Frames]
Angles = Callable[..., Callable[[Frames], np.ndarray]]
PLACES = [0.0, 100.0, 200.0, 300.0]


@pytest.fixture
def compare(angles: Angles) -> Callable[..., Evaluation]:
    def run(database: Frames, queries: Frames, known: list[float], asked: list[float]) -> Evaluation:
        method = angles({database.session: known, queries.session: asked})
        return evaluate("angles", method, database, [queries])[0]

    return run


@pytest.mark.parametrize(
    ("place_deg", "query_deg", "expected"),
    [
        (0, 44, "same"), (0, -44, "same"), (0, 46, "across"), (0, -134, "across"), (0, 136, "opposite"),
        (0, 180, "opposite"), (170, -170, "same"), (-90, 90, "opposite"), (-100, 170, "across"),
    ],
)  # fmt: skip
def test_direction_is_the_difference_of_headings(
    make_drive: MakeDrive, compare: Callable[..., Evaluation], place_deg: float, query_deg: float, expected: str
) -> None:
    """The second place and query turn by a degree, so that the orientations are not all one."""
    database = make_drive("map", [0.0, 500.0], yaw_deg=[place_deg, place_deg + 1])
    queries = make_drive("drive", [3.0, 501.0], yaw_deg=[query_deg, query_deg - 1])
    assert directions(compare(database, queries, [0, 90], [0, 90]))[0] == expected


def test_recall_of_each_direction(make_drive: MakeDrive, compare: Callable[..., Evaluation]) -> None:
    """Two queries seen the same way are right, one of two seen from the other side; one is off the map."""
    database = make_drive("map", PLACES, yaw_deg=[0, 0, 0, 1])
    queries = make_drive("drive", [0, 100, 200, 300, 9000], yaw_deg=[0, 10, 180, 170, 0])
    found = compare(database, queries, [0, 30, 60, 90], [0, 30, 60, 1, 0])
    assert recall_by_direction(found) == [Share("same", 2, 2), Share("across", 0, 0), Share("opposite", 1, 2)]
    assert [share.recall for share in recall_by_direction(found)] == [1.0, None, 0.5]
    assert directions(found)[-1] == ""
    assert recall_of_all(found, "all") == Share("all", 3, 4)


def test_figures_of_each_direction_are_of_its_queries_alone(
    make_drive: MakeDrive, compare: Callable[..., Evaluation]
) -> None:
    """The one wrong match looks back and is the surest of all: it costs nothing in the rows of the same direction."""
    database = make_drive("map", PLACES, yaw_deg=[0, 0, 0, 1])
    queries = make_drive("drive", [0, 100, 200, 300, 9000], yaw_deg=[0, 10, 180, 170, 0])
    found = compare(database, queries, [0, 30, 60, 90], [0.5, 30.5, 61, 0, 0])
    known = {"method": "angles", "metric": "cosine", "database": "map", "queries": "drive"}
    assert direction_rows(found) == [
        {**known, "direction": "same", "recall_at_1": 1.0, "average_precision": 1.0, "pr_auc": 1.0,
         "recall_at_100_precision": 1.0, "auroc": None, "evaluated": 2},
        {**known, "direction": "opposite", "recall_at_1": 0.5, "average_precision": 0.25, "pr_auc": 0.125,
         "recall_at_100_precision": 0.0, "auroc": 0.0, "evaluated": 2},
    ]  # fmt: skip
    assert found.precision_recall.recall_at_100_precision == 0.0
    together = pooled_direction_rows([found, found])
    counted = [(row["direction"], row["recall_at_1"], row["evaluated"], row["queries"]) for row in together]
    assert counted == [("same", 1.0, 4, "2 pairs"), ("opposite", 0.5, 4, "2 pairs")]


def test_without_orientations_the_travel_tells_the_heading(
    make_drive: MakeDrive, compare: Callable[..., Evaluation]
) -> None:
    forth, back = make_drive("map", PLACES), make_drive("back", PLACES[::-1])
    np.testing.assert_allclose(np.cos(headings_rad(back)), -1.0)
    assert set(directions(compare(forth, back, [0, 30, 60, 90], [90, 60, 30, 0]))) == {"opposite"}
    assert headings_rad(make_drive("one", [5.0])).tolist() == [0.0]


def test_distance_to_the_nearest_place(make_drive: MakeDrive, compare: Callable[..., Evaluation]) -> None:
    """Bins of a quarter of 10 m; 10 m itself belongs to the last, 11 m to none."""
    queries = make_drive("drive", [1.0, 102.4, 203.0, 310.0, 311.0])
    found = compare(make_drive("map", PLACES), queries, [0, 30, 60, 90], [0, 60, 60, 90, 90])
    assert recall_by_distance(found) == [
        Share("0 to 2.5 m", 1, 2), Share("2.5 to 5 m", 1, 1), Share("5 to 7.5 m", 0, 0), Share("7.5 to 10 m", 1, 1),
    ]  # fmt: skip


def test_drives_together_count_queries() -> None:
    groups = [[Share("same", 1, 4), Share("opposite", 0, 0)], [Share("same", 2, 2), Share("opposite", 1, 3)]]
    assert pooled(groups) == [Share("same", 3, 6), Share("opposite", 1, 3)]
