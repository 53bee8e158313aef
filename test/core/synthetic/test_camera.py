"""The camera: known geometry, light that changes pictures."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.errors import VprError
from vpr_core.synthetic.camera import Camera, photograph
from vpr_core.synthetic.conditions import CONDITIONS, condition_named
from vpr_core.synthetic.facades import Facade, FacadeTable
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose

GREY = (0.5, 0.5, 0.5)


def test_every_condition_changes_the_picture(scene: Scene, street_pose: Pose) -> None:
    pictures = {
        name: photograph(Camera(), scene, street_pose, condition, 1.0).astype(float)
        for name, condition in CONDITIONS.items()
    }
    for first, second in itertools.combinations(pictures, 2):
        assert np.abs(pictures[first] - pictures[second]).mean() > 10, (first, second)
    assert pictures["night"].mean() < 0.7 * pictures["dusk"].mean() < 0.9 * pictures["noon"].mean()
    assert pictures["fog"].std() < 0.9 * pictures["noon"].std()


def test_same_seed_same_picture_and_another_seed_another_noise(scene: Scene, street_pose: Pose) -> None:
    first, again, other = (
        photograph(Camera(), scene, street_pose, CONDITIONS["night"], 1.0, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (240, 320, 3) and first.dtype == np.uint8


@pytest.mark.parametrize("size", [(96, 64), (320, 240)])
def test_pictures_have_the_size_asked_for(scene: Scene, street_pose: Pose, size: tuple[int, int]) -> None:
    picture = photograph(Camera(*size), scene, street_pose, CONDITIONS["fog"], 1.0)
    assert picture.shape == (size[1], size[0], 3)


def test_windows_are_lit_at_night_and_not_at_noon(town: Town) -> None:
    facade = _plain_facade()
    builder = SurfaceBuilder()
    wall = [(20, 30, 0), (20, -30, 0), (20, -30, 15), (20, 30, 15)]
    builder.polygon(Placement(0.0, 0.0), wall, Material.WALL, GREY, owner=0)
    scene = Scene([builder.build()], FacadeTable([facade]), town.ground, [], seed=0)
    dark = replace(CONDITIONS["night"], lit_windows=0.0, headlights=0.0)
    lit = replace(dark, lit_windows=1.0)
    unlit, shown = (
        photograph(Camera(), scene, Pose.from_xy_yaw(0, 0, 0), night, 1.0).astype(int) for night in (dark, lit)
    )
    share = ((shown - unlit).max(axis=2) > 60).mean()
    assert 0.02 < share < 0.5


def _plain_facade() -> Facade:
    return Facade(
        corner_m=(20.0, 30.0),
        axis=(0.0, -1.0),
        foot_m=0.0,
        width_m=60.0,
        wall=GREY,
        trim=GREY,
        accent=GREY,
        ground_floor_m=3.0,
        storey_m=3.0,
        storeys=5,
        columns=24,
        window_m=(1.2, 1.5),
        sill_m=0.9,
        seed=5,
    )


def test_the_camera_projects_as_its_matrix_says() -> None:
    """A point of the map, brought into the optical frame and through K, lands on the pixel whose ray points at it."""
    camera = Camera()
    transform = camera.T_base_camera
    np.testing.assert_allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(transform[:3, :3]) == pytest.approx(1.0)
    point_base = np.array([12.0, -2.0, 3.0, 1.0])
    x, y, z = (np.linalg.inv(transform) @ point_base)[:3]
    column, row, _ = camera.matrix @ [x / z, y / z, 1.0]
    ray = camera.directions_base(np.array([column]), np.array([row]))[0]
    away = point_base[:3] - transform[:3, 3]
    np.testing.assert_allclose(ray, away / np.linalg.norm(away), atol=1e-9)
    assert column > camera.width / 2, "what lies to the right of the vehicle is on the right of the picture"


def test_an_unknown_condition_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(VprError, match=r"'hail'.*noon, dusk, night, fog"):
        condition_named("hail")
