"""Styles of towns: an old and a modern one differ, and one repeats itself everywhere but at its church."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.errors import VprError
from vpr_core.synthetic.camera import Camera
from vpr_core.synthetic.landmarks import CHURCH_M
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.streets import Street
from vpr_core.synthetic.styles import STYLES, style_named
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.town import Town

REACH_M = 20.0
PERIOD_M = 12.0


@pytest.fixture(scope="module")
def modern() -> Town:
    return Town(4, "modern")


@pytest.fixture(scope="module")
def identical() -> Town:
    return Town(4, "identical")


@pytest.fixture(scope="module")
def identical_scene(identical: Town) -> Scene:
    return identical.scene(1)


def depth_m(scene: Scene, street: Street, along_m: float) -> np.ndarray:
    """What a camera ahead along the middle of a street measures within its reach, [height * width]."""
    position, direction = street.at(along_m)
    cos, sin = direction
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    rays = (Camera(160, 120, math.radians(100)).rays_base @ turn.T).astype(np.float32)
    return np.minimum(scene.cast(np.array([*position, 1.6]), rays).distance_m, REACH_M)


def away_from_church_m(town: Town, street: Street) -> float:
    assert town.church_m is not None
    return float(np.linalg.norm(street.points_m - town.church_m, axis=1).min())


def share_alike(first_m: np.ndarray, second_m: np.ndarray) -> float:
    near = (first_m < REACH_M) | (second_m < REACH_M)
    assert near.mean() > 0.3
    return float((np.abs(first_m - second_m)[near] < 0.1).mean())


def test_an_unknown_style_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(VprError, match=r"'baroque'.*old_town, modern, identical"):
        style_named("baroque")
    with pytest.raises(VprError, match="baroque"):
        Town(1, "baroque")


@pytest.mark.parametrize("style", sorted(set(STYLES) - {"old_town"}))
def test_a_style_is_the_same_for_the_same_seed_and_can_be_driven(style: str, request: pytest.FixtureRequest) -> None:
    town: Town = request.getfixturevalue(style)
    np.testing.assert_array_equal(town.surface.vertices_m, Town(town.seed, style).surface.vertices_m)
    for route in ("loop", "lane", "offmap", "mixed", "opposite"):
        line_m = town.route(route)
        assert 400 < len(line_m) < 2500 and np.isfinite(line_m).all()
        assert town.ground.beyond_kerb_m(line_m).max() < -1.0, "routes stay on the road"


def test_a_modern_town_has_wider_blocks_bends_and_higher_flat_houses(town: Town, modern: Town) -> None:
    old_m, new_m = (np.median([street.length_m for street in place.plan.streets]) for place in (town, modern))
    assert new_m > 1.15 * old_m
    bends = [
        np.max([street.length_m / np.linalg.norm(street.points_m[-1] - street.points_m[0]) for street in plan.streets])
        for plan in (town.plan, modern.plan)
    ]
    assert bends[1] > bends[0]
    storeys = [place.facades["storeys"].mean() for place in (town, modern)]
    assert storeys[1] > storeys[0] + 1.5
    tiles = [(place.surface.material == Material.ROOF).mean() for place in (town, modern)]
    assert tiles[1] < 0.3 * tiles[0]


def test_places_one_facade_apart_look_alike_in_the_town_that_repeats_itself(
    identical: Town, identical_scene: Scene
) -> None:
    far = [street for street in identical.plan.streets if away_from_church_m(identical, street) > 60.0]
    first_m = depth_m(identical_scene, far[0], 30.0)
    for street, along_m in ((far[0], 30.0 + PERIOD_M), (far[5], 30.0), (far[9], 30.0 + PERIOD_M)):
        assert share_alike(first_m, depth_m(identical_scene, street, along_m)) > 0.97
    assert share_alike(first_m, depth_m(identical_scene, far[0], 30.0 + PERIOD_M / 2)) < 0.97


def test_the_church_is_the_one_place_that_looks_different(identical: Town, identical_scene: Scene) -> None:
    streets = sorted(identical.plan.streets, key=lambda street: away_from_church_m(identical, street))
    at_church, elsewhere = (depth_m(identical_scene, street, 30.0) for street in (streets[0], streets[-1]))
    assert share_alike(at_church, elsewhere) < 0.85
    assert identical.church_m is not None
    loop_m = identical.route("loop")
    assert np.linalg.norm(loop_m - identical.church_m, axis=1).min() < 12 + CHURCH_M[1]


def test_ordinary_towns_do_not_repeat_themselves(town: Town, scene: Scene) -> None:
    streets = town.plan.streets
    first_m = depth_m(scene, streets[0], 30.0)
    assert share_alike(first_m, depth_m(scene, streets[9], 30.0)) < 0.9
    assert share_alike(first_m, depth_m(scene, streets[0], 42.0)) < 0.9
