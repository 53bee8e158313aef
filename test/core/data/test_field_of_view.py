"""The overlap of two views, by cases that geometry answers."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.data.field_of_view import most_similar_views, view_overlap


def overlap(second: tuple[float, float, float], angle_deg: float = 90.0, reach_m: float = 50.0) -> float:
    """Of a view from the origin along x with another: x, y [m] and yaw [deg]."""
    x_m, y_m, yaw_deg = second
    views = np.array([[0.0, 0.0, 0.0]]), np.array([[x_m, y_m, np.radians(yaw_deg)]])
    there, back = view_overlap(*views, angle_deg, reach_m), view_overlap(*views[::-1], angle_deg, reach_m)
    assert there == pytest.approx(back, abs=0.02), "the same from either side"
    return float(there[0])


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((0, 0, 0), 1.0), ((0, 0, 45), 0.5), ((0, 0, -45), 0.5), ((0, 0, 60), 1 / 3), ((0, 0, 90), 0.0),
        ((0, 0, 180), 0.0), ((0, 0, 360), 1.0), ((100, 0, 0), 0.0), ((-60, 0, 180), 0.0),
    ],
)  # fmt: skip
def test_views_that_geometry_answers(second: tuple[float, float, float], expected: float) -> None:
    assert overlap(second) == pytest.approx(expected, abs=0.03)


def test_cameras_that_face_each_other_see_the_same_ground() -> None:
    """Two half discs whose centres lie as far apart as they reach: their overlap is the lens of two circles."""
    lens = 2 * np.pi / 3 - np.sqrt(3) / 2
    assert overlap((50, 0, 180), angle_deg=180.0) == pytest.approx(lens / (np.pi / 2), abs=0.02)
    assert overlap((50, 0, 0), angle_deg=180.0) < overlap((50, 0, 180), angle_deg=180.0)


def test_a_full_circle_has_no_heading() -> None:
    assert overlap((0, 0, 123), angle_deg=360.0) == 1.0
    lens = 2 * np.pi / 3 - np.sqrt(3) / 2
    assert overlap((50, 0, 77), angle_deg=360.0) == pytest.approx(lens / np.pi, abs=0.02)


def test_it_falls_with_the_distance_in_every_direction() -> None:
    for direction in ((1, 0), (-1, 0), (0, 1)):
        along = [overlap((direction[0] * away, direction[1] * away, 0)) for away in (0, 10, 20, 40)]
        assert along == sorted(along, reverse=True) and along[-1] < 0.5


def test_the_most_similar_of_the_near_ones_is_taken() -> None:
    deg = np.radians
    views = np.array([[0, 0, 0], [5, 0, deg(60)], [8, 0, deg(10)], [1, 0, deg(180)], [500, 0, 0]])
    near = [np.array([1, 2, 3]), np.array([0, 2, 3]), np.array([0, 1, 3]), np.array([0, 1, 2]), np.array([], np.int64)]
    chosen = most_similar_views(near, views, 90.0, 50.0, 0.5)
    assert [found.tolist() for found in chosen] == [[2], [], [0], [], []], "one that turns too far has none"
    assert [found.tolist() for found in most_similar_views(near, views, 90.0, 50.0, 0.1)][1] == [2]
    assert most_similar_views([], np.empty((0, 3)), 90.0, 50.0, 0.5) == []
    assert view_overlap(np.empty((0, 3)), np.empty((0, 3)), 90.0, 50.0).shape == (0,)


def test_many_are_compared_in_parts() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.column_stack([rng.uniform(-20, 20, (5000, 2)), rng.uniform(-3, 3, 5000)]) for _ in range(2))
    whole = view_overlap(first, second, 90.0, 50.0)
    np.testing.assert_array_equal(whole[4096:], view_overlap(first[4096:], second[4096:], 90.0, 50.0))
    assert len(whole) == 5000 and 0.0 <= whole.min() < whole.max() <= 1.0
