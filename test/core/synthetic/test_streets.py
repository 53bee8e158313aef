"""Routes: where they lead, how far they keep from each other, and what an unknown one answers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vpr_core.errors import VprError
from vpr_core.synthetic.routes import OFF_MAP_M, ROUTES, route_line
from vpr_core.synthetic.streets import StreetPlan

SEEDS = range(12)


def distances_m(line_m: np.ndarray, other_m: np.ndarray) -> np.ndarray:
    """From every point of a line to the nearest point of the other."""
    return np.linalg.norm(line_m[:, None] - other_m[None], axis=2).min(axis=1)


@pytest.fixture(scope="module", params=SEEDS)
def plan(request: pytest.FixtureRequest) -> StreetPlan:
    return StreetPlan(np.random.default_rng(request.param))


def test_routes_are_finite_and_their_points_a_metre_apart(plan: StreetPlan) -> None:
    for route in ROUTES:
        line_m = route_line(plan, route)
        steps_m = np.linalg.norm(np.diff(line_m, axis=0), axis=1)
        assert np.isfinite(line_m).all()
        assert steps_m.max() < 1.05 and np.median(steps_m) > 0.95


def test_the_loop_is_about_a_kilometre_and_takes_no_street_twice(plan: StreetPlan) -> None:
    assert 1000 < len(route_line(plan, "loop")) < 1450
    assert len(set(plan.loop)) == len(plan.loop) - 1
    assert plan.loop[0] == plan.loop[-1]


def test_the_lane_lies_beside_the_loop_in_the_same_direction(plan: StreetPlan) -> None:
    loop_m, lane_m = route_line(plan, "loop"), route_line(plan, "lane")
    aside_m = distances_m(lane_m, loop_m)
    assert 2.5 < np.median(aside_m) < 3.5
    assert aside_m.max() < 4.5
    # At the crossing where the loop closes, its first and last street are equally near.
    lane_m = lane_m[10:-10]
    nearest = np.linalg.norm(lane_m[:, None] - loop_m[None], axis=2).argmin(axis=1)
    directions = [np.gradient(line_m, axis=0) for line_m in (lane_m, loop_m)]
    assert ((directions[0] * directions[1][nearest]).sum(axis=1) > 0).all()


def test_the_opposite_route_is_the_loop_in_the_other_direction_on_its_own_lane(plan: StreetPlan) -> None:
    loop_m, opposite_m = route_line(plan, "loop"), route_line(plan, "opposite")
    aside_m = distances_m(opposite_m, loop_m)
    assert 2.5 < np.median(aside_m) < 3.5
    assert aside_m.max() < 4.5
    opposite_m = opposite_m[10:-10]
    nearest = np.linalg.norm(opposite_m[:, None] - loop_m[None], axis=2).argmin(axis=1)
    directions = [np.gradient(line_m, axis=0) for line_m in (opposite_m, loop_m)]
    directions = [course / np.linalg.norm(course, axis=1, keepdims=True) for course in directions]
    assert np.median((directions[0] * directions[1][nearest]).sum(axis=1)) < -0.99
    np.testing.assert_allclose(opposite_m, route_line(plan, "lane")[::-1][10:-10][: len(opposite_m)], atol=1.5)


def test_the_block_is_driven_twice_and_closes_its_loop(plan: StreetPlan) -> None:
    line_m = route_line(plan, "block")
    assert 400 < len(line_m) < 800
    first, second = line_m[20 : len(line_m) // 2 - 20], line_m[len(line_m) // 2 :]
    assert distances_m(first, second).max() < 1.0
    assert distances_m(line_m, route_line(plan, "loop")).min() < 1.0


def test_streets_off_the_map_keep_their_distance_from_the_loop(plan: StreetPlan) -> None:
    line_m = route_line(plan, "offmap")
    assert len(line_m) > 500
    for driven in ("loop", "lane"):
        assert distances_m(line_m, route_line(plan, driven)).min() > OFF_MAP_M


def test_the_mixed_route_starts_off_the_map_and_has_stretches_on_and_off_it(plan: StreetPlan) -> None:
    off = distances_m(route_line(plan, "mixed"), route_line(plan, "loop")) > 25.0
    assert off[0]
    assert 0.2 < off.mean() < 0.45
    changes = Counter(zip(off[:-1], off[1:], strict=True))
    assert changes[True, False] >= 2 and changes[False, True] >= 1


def test_streets_bend(plan: StreetPlan) -> None:
    bends_m = [
        np.linalg.norm(street.points_m[len(street.points_m) // 2] - street.points_m[[0, -1]].mean(axis=0))
        for street in plan.streets
    ]
    assert max(bends_m) > 2.0


def test_another_seed_is_another_town() -> None:
    first, second = (StreetPlan(np.random.default_rng(seed)).loop_line for seed in (1, 2))
    assert first.shape != second.shape or not np.allclose(first, second)


def test_an_unknown_route_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(VprError, match=r"'home'.*loop, lane, offmap, mixed, opposite"):
        route_line(StreetPlan(np.random.default_rng(0)), "home")
