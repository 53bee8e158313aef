"""Evidence of a search, on maps small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.retrieval.evidence import FARTHEST, MARGIN_LIMIT, RESOLUTION, Layout, evidence_of
from vpr_core.retrieval.place_map import Place
from vpr_core.types import Pose


def along(positions_m: list[float], session: str = "noon") -> list[Place]:
    return [Place(session, i, Pose((x, 0.0, 50.0 * i))) for i, x in enumerate(positions_m)]


def without_poses(*sessions: str) -> list[Place]:
    return [Place(session, i, None) for i, session in enumerate(sessions)]


def test_every_figure_by_hand() -> None:
    layout = Layout.of(along([0.0, 2.0, 4.0, 100.0, 102.0]))
    similarity = np.array([0.8, 0.92, 0.7, 0.68, 0.1])
    found = evidence_of(similarity, np.array([1, 0, 3]), layout, exclusion=10.0)
    distance = np.sqrt(2 - 2 * similarity)
    np.testing.assert_allclose(found.distance, distance[[1, 0, 3]])
    other = distance + RESOLUTION
    np.testing.assert_allclose(found.ratio, [other[1] / other[3], other[0] / other[3], other[3] / other[1]])
    np.testing.assert_allclose(found.margin, (similarity[[1, 0, 3]] - [0.68, 0.68, 0.92]) / similarity.std())
    np.testing.assert_allclose(found.agreement, [3 / 5, 3 / 5, 2 / 5])
    np.testing.assert_allclose(found.spread, [2.0, 4.0, 96.0])
    assert found.elsewhere.tolist() == [False, False, True] and found.rival == 3


def test_a_neighbour_along_the_road_is_no_rival_and_the_same_elsewhere_is() -> None:
    similarity = np.array([0.9, 0.89, 0.3, 0.2])
    near = evidence_of(similarity, np.array([0]), Layout.of(along([0.0, 2.0, 50.0, 60.0])), 10.0)
    far = evidence_of(similarity, np.array([0]), Layout.of(along([0.0, 80.0, 50.0, 60.0])), 10.0)
    assert near.ratio[0] < 0.5 < 0.9 < far.ratio[0] <= 1.0
    assert near.margin[0] > 1.0 > far.margin[0] >= 0.0
    assert (near.rival, far.rival) == (2, 1)


def test_height_does_not_part_places() -> None:
    layout = Layout.of(along([0.0, 2.0]))  # 50 m above one another
    np.testing.assert_allclose(layout.apart(np.array([0])), [[0.0, 2.0]])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_map_of_few_places_has_evidence_too(count: int) -> None:
    layout = Layout.of(along([float(i) for i in range(count)]))
    similarity = np.linspace(0.9, 0.8, count)
    found = evidence_of(similarity, np.arange(count), layout, exclusion=10.0)
    assert found.rival == -1 and not found.elsewhere.any()
    np.testing.assert_allclose(found.ratio, (found.distance + RESOLUTION) / (FARTHEST + RESOLUTION))
    for values in (found.margin, found.agreement, found.spread):
        assert values.shape == (count,) and np.isfinite(values).all() and (np.abs(values) <= MARGIN_LIMIT).all()


def test_identical_places_far_apart_leave_nothing_to_tell_them_by() -> None:
    layout = Layout.of(along([0.0, 100.0, 200.0]))
    found = evidence_of(np.ones(3), np.arange(3), layout, exclusion=10.0)
    assert (found.ratio == 1).all() and (found.margin == 0).all() and found.elsewhere.tolist() == [False, True, True]


def test_without_poses_places_along_a_session_stand_for_metres() -> None:
    layout = Layout.of(without_poses("noon", "noon", "noon", "night"))
    np.testing.assert_array_equal(layout.apart(np.array([0, 3])), [[0, 1, 2, np.inf], [np.inf, np.inf, np.inf, 0]])
    found = evidence_of(np.array([0.9, 0.85, 0.5, 0.8]), np.array([0]), layout, exclusion=1)
    assert found.rival == 3 and found.agreement[0] == 0.5
    assert Layout.of([*along([0.0]), *without_poses("night")]).positions_m is None
