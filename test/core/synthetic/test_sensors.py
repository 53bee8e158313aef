"""Camera and LiDAR: known geometry at analytic distances, light that changes pictures and never what stands where."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.errors import VprError
from vpr_core.synthetic.camera import Camera, photograph
from vpr_core.synthetic.conditions import CONDITIONS, condition_named
from vpr_core.synthetic.facades import Facade, FacadeTable
from vpr_core.synthetic.lidar import Lidar, scan
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose

GREY = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def wall_scene(town: Town) -> Scene:
    """A plane z = 0 and one large wall at x = 20 m, seen from the origin."""
    builder = SurfaceBuilder()
    at = Placement(0.0, 0.0)
    builder.polygon(at, [(-500, -500, 0), (500, -500, 0), (500, 500, 0), (-500, 500, 0)], Material.GROUND, GREY)
    builder.polygon(at, [(20, -50, 0), (20, 50, 0), (20, 50, 30), (20, -50, 30)], Material.PLAIN, GREY)
    return Scene([builder.build()], town.facades, town.ground, [], seed=0)


def test_a_wall_and_the_ground_are_hit_at_their_distance(wall_scene: Scene) -> None:
    lidar = Lidar(noise_m=0.0)
    points = scan(lidar, wall_scene, Pose.from_xy_yaw(0.0, 0.0, 0.0), CONDITIONS["noon"])
    height_m = lidar.position_base_m[2]
    on_ground = np.abs(points[:, 2] + height_m) < 1e-3
    on_wall = np.abs(points[:, 0] - 20.0) < 1e-3
    assert (on_ground | on_wall).all()
    assert on_wall.sum() > 100 and on_ground.sum() > 1000
    straight_ahead = points[np.abs(points[:, 1]) < 1e-3]
    assert straight_ahead[:, 0].max() == pytest.approx(20.0, abs=1e-3)


def test_a_turned_vehicle_sees_the_wall_beside_it(wall_scene: Scene) -> None:
    pose = Pose.from_xy_yaw(5.0, 3.0, math.pi / 2)
    points = scan(Lidar(noise_m=0.0), wall_scene, pose, CONDITIONS["noon"])
    above_ground = points[:, 2] > -1.8
    np.testing.assert_allclose(points[above_ground, 1], -15.0, atol=1e-3)


def test_noise_has_the_stated_size(wall_scene: Scene) -> None:
    pose = Pose.from_xy_yaw(0.0, 0.0, 0.0)
    exact, noisy = (
        scan(Lidar(), wall_scene, pose, CONDITIONS["noon"], rng) for rng in (None, np.random.default_rng(0))
    )
    error_m = np.linalg.norm(noisy[:, :3], axis=1) - np.linalg.norm(exact[:, :3], axis=1)
    assert error_m.std() == pytest.approx(0.02, rel=0.1)
    assert abs(error_m.mean()) < 0.001


def test_the_lidar_stays_within_its_range_and_frame(scene: Scene, street_pose: Pose) -> None:
    lidar = Lidar()
    points = scan(lidar, scene, street_pose, CONDITIONS["noon"], np.random.default_rng(0))
    distance_m = np.linalg.norm(points[:, :3], axis=1)
    assert points.dtype == np.float32 and np.isfinite(points).all()
    assert lidar.beams * lidar.columns * 0.5 < len(points) <= lidar.beams * lidar.columns
    assert distance_m.min() > 0.5 and distance_m.max() < lidar.range_m + 0.1
    assert points[:, 3].min() >= 0 and points[:, 3].max() <= 255
    assert points[:, 2].min() == pytest.approx(-lidar.position_base_m[2], abs=0.1)


def test_geometry_is_equal_across_conditions(scene: Scene, street_pose: Pose) -> None:
    lidar = Lidar()
    noon = scan(lidar, scene, street_pose, CONDITIONS["noon"])
    for name in ("dusk", "night"):
        np.testing.assert_array_equal(scan(lidar, scene, street_pose, CONDITIONS[name]), noon)
    fog = scan(lidar, scene, street_pose, CONDITIONS["fog"])
    near = np.linalg.norm(noon[:, :3], axis=1) < lidar.range_m * CONDITIONS["fog"].lidar_range_share
    np.testing.assert_array_equal(fog, noon[near])


def test_only_parked_cars_differ_between_drives(town: Town, scene: Scene, street_pose: Pose) -> None:
    lidar, other = Lidar(), town.scene(2)
    rays = lidar.rays
    origin_m = np.array([street_pose.position_m[0], street_pose.position_m[1], 1.9])
    first, second = scene.cast(origin_m, rays), other.cast(origin_m, rays)
    static = len(town.surface.faces)
    both = (first.face < static) & (second.face < static)
    np.testing.assert_array_equal(first.distance_m[both], second.distance_m[both])
    assert (~both).any()


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


def test_the_camera_projects_as_its_matrix_says(wall_scene: Scene) -> None:
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
