"""Which places are left of a map that has to become smaller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from vpr_core.errors import MapError
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.retrieval.pruning import prune, prune_to_size
from vpr_core.types import Pose


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def street(*sessions: tuple[str, int, np.ndarray], looks: np.ndarray, step_m: float = 2.0) -> PlaceMap:
    """A straight street: each session has a name, its first stamp and what it adds to the look of every place."""
    places = tuple(Place(name, first_ns + i, Pose((i * step_m, 0.0, 0.0)))
                   for name, first_ns, _ in sessions for i in range(len(looks)))  # fmt: skip
    descriptors = unit(np.concatenate([looks + weather for _, _, weather in sessions]))
    return PlaceMap(descriptors, places, "model", "map", "camera", None)


@pytest.fixture
def looks(make_world: Callable[..., Any]) -> np.ndarray:
    return np.asarray(make_world(120).looks)


def test_half_of_a_street_covers_all_of_it(looks: np.ndarray) -> None:
    rows = prune(street(("noon", 0, np.zeros(64)), looks=looks), 60)
    assert len(rows) == 60 and (np.diff(rows) > 0).all()
    assert max(second - first for first, second in pairwise(rows)) <= 4
    assert rows[0] <= 3 and rows[-1] >= 116


def test_it_is_the_same_every_time_and_nothing_where_the_map_is_small(looks: np.ndarray) -> None:
    known = street(("noon", 0, np.zeros(64)), looks=looks)
    np.testing.assert_array_equal(prune(known, 31), prune(known, 31))
    np.testing.assert_array_equal(prune(known, 120), np.arange(120))
    assert len(prune(known, 1)) == 1
    with pytest.raises(MapError, match="0 places was asked for"):
        prune(known, 0)


def test_of_two_drives_alike_one_is_left_and_what_looks_different_is_kept(looks: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    night = 1.5 * unit(rng.normal(size=(1, 64)))
    again = 0.02 * unit(rng.normal(size=(120, 64)))
    rows = prune(street(("noon", 0, np.zeros(64)), ("again", 10**9, again), ("night", 0, night), looks=looks), 240)
    by_day = np.sort(rows[rows < 240] % 120)
    assert (rows >= 240).sum() >= 110
    assert len(set(by_day.tolist())) >= 105


def test_of_equal_places_the_newest_is_left(looks: np.ndarray) -> None:
    same = street(("old", 0, np.zeros(64)), ("new", 10**9, np.zeros(64)), looks=looks[:40], step_m=500.0)
    rows = prune(same, 40)
    np.testing.assert_array_equal(rows, np.arange(40, 80))


def test_where_a_robot_stood_long_is_thinned_before_where_it_passed_once() -> None:
    rng = np.random.default_rng(7)
    stood, passed = np.zeros(200), np.arange(1, 51) * 2.0
    x_m = np.concatenate([stood, passed])
    look = unit(np.concatenate([np.ones((200, 64)) + rng.normal(0, 0.01, (200, 64)), rng.normal(size=(50, 64))]))
    places = tuple(Place("drive", i, Pose((float(x), 0.0, 0.0))) for i, x in enumerate(x_m))
    rows = prune(PlaceMap(look, places, "model", "map", "camera", None), 60)
    assert (rows >= 200).sum() >= 45 and (rows < 200).any()


def test_a_map_without_poses_is_thinned_by_looks(looks: np.ndarray) -> None:
    known = street(("noon", 0, np.zeros(64)), ("again", 10**9, np.zeros(64)), looks=looks)
    blind = replace(known, places=tuple(replace(place, pose=None) for place in known.places), map_frame="")
    assert len(set((prune(blind, 120) % 120).tolist())) >= 100


def test_a_budget_of_bytes_is_kept(looks: np.ndarray) -> None:
    known = street(("noon", 0, np.zeros(64)), looks=looks)
    sizes = np.where(np.arange(120) < 60, 1000, 3000)
    for budget in (240_000, 100_000, 3_500):
        rows = prune_to_size(known, sizes, budget)
        assert budget - 8000 <= sizes[rows].sum() <= budget
    with pytest.raises(MapError, match="do not hold one place"):
        prune_to_size(known, sizes, 500)
