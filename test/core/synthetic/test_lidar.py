"""The LiDAR: known geometry at analytic distances, a sweep that takes time, weather that costs points and precision."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.synthetic.conditions import CONDITIONS
from vpr_core.synthetic.lidar import POINT, Lidar, scan
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose

GREY = (0.5, 0.5, 0.5)
NOON = CONDITIONS["noon"]
ORIGIN = Pose.from_xy_yaw(0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def wall_scene(town: Town) -> Scene:
    """A plane z = 0 and one large wall at x = 20 m, seen from the origin."""
    builder = SurfaceBuilder()
    at = Placement(0.0, 0.0)
    builder.polygon(at, [(-500, -500, 0), (500, -500, 0), (500, 500, 0), (-500, 500, 0)], Material.GROUND, GREY)
    builder.polygon(at, [(20, -50, 0), (20, 50, 0), (20, 50, 30), (20, -50, 30)], Material.PLAIN, GREY)
    return Scene([builder.build()], town.facades, town.ground, [], seed=0)


def positions(points: np.ndarray) -> np.ndarray:
    return np.stack([points["x"], points["y"], points["z"]], axis=1)


def ranges(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions(points), axis=1)


def beam_of_each(lidar: Lidar, points: np.ndarray) -> np.ndarray:
    """Number of each point's ray in the sweep."""
    column = np.rint(points["time"] * lidar.rotation_hz * lidar.columns).astype(int)
    return column * lidar.beams + points["ring"]


def test_a_wall_and_the_ground_are_hit_at_their_distance(wall_scene: Scene) -> None:
    lidar = Lidar(noise_m=0.0)
    points = positions(scan(lidar, wall_scene, ORIGIN, NOON))
    on_ground = np.abs(points[:, 2] + lidar.position_base_m[2]) < 1e-3
    on_wall = np.abs(points[:, 0] - 20.0) < 1e-3
    assert (on_ground | on_wall).all()
    assert on_wall.sum() > 100 and on_ground.sum() > 1000
    straight_ahead = points[np.abs(points[:, 1]) < 1e-3]
    assert straight_ahead[:, 0].max() == pytest.approx(20.0, abs=1e-3)


def test_a_turned_vehicle_sees_the_wall_beside_it(wall_scene: Scene) -> None:
    points = positions(scan(Lidar(noise_m=0.0), wall_scene, Pose.from_xy_yaw(5.0, 3.0, math.pi / 2), NOON))
    above_ground = points[:, 2] > -1.8
    np.testing.assert_allclose(points[above_ground, 1], -15.0, atol=1e-3)


def test_rings_and_times_say_which_beam_was_shot_when(wall_scene: Scene) -> None:
    lidar = Lidar(beams=16, columns=360, rotation_hz=20.0, noise_m=0.0)
    points = scan(lidar, wall_scene, ORIGIN, NOON)
    assert points.dtype == POINT
    direction = positions(points) / ranges(points)[:, None]
    np.testing.assert_allclose(direction, lidar.rays[beam_of_each(lidar, points)], atol=1e-5)
    elevation = np.linspace(lidar.lowest_rad, lidar.highest_rad, 16)[points["ring"]]
    np.testing.assert_allclose(np.arcsin(direction[:, 2]), elevation, atol=1e-4)
    clockwise_from_behind = (math.pi - np.arctan2(direction[:, 1], direction[:, 0])) % (2 * math.pi)
    turned = points["time"] * lidar.rotation_hz * 2 * math.pi
    np.testing.assert_allclose(np.cos(clockwise_from_behind - turned), 1.0, atol=1e-6)
    assert (np.diff(points["time"]) >= 0).all() and 0.045 < points["time"].max() < 0.05


def test_a_moving_vehicle_sees_the_wall_come_nearer_during_the_sweep(wall_scene: Scene) -> None:
    lidar, speed_mps = Lidar(noise_m=0.0), 15.0
    course = np.zeros((lidar.columns, 3))
    course[:, 0] = speed_mps * lidar.column_times_s
    points = scan(lidar, wall_scene, course, NOON)
    wall = points[positions(points)[:, 2] > -1.8]
    assert np.ptp(wall["time"]) > 0.03
    np.testing.assert_allclose(wall["x"], 20.0 - speed_mps * wall["time"], atol=1e-3)


def test_a_turning_vehicle_sees_the_wall_lean(wall_scene: Scene) -> None:
    lidar, turn_radps = Lidar(noise_m=0.0), 0.8
    course = np.zeros((lidar.columns, 3))
    course[:, 2] = turn_radps * lidar.column_times_s
    points = scan(lidar, wall_scene, course, NOON)
    wall = points[positions(points)[:, 2] > -1.8]
    yaw = turn_radps * wall["time"]
    np.testing.assert_allclose(np.cos(yaw) * wall["x"] - np.sin(yaw) * wall["y"], 20.0, atol=2e-3)
    assert np.ptp(wall["x"]) > 0.1


def test_noise_has_the_stated_size(wall_scene: Scene) -> None:
    lidar = Lidar()
    exact, noisy = (scan(lidar, wall_scene, ORIGIN, NOON, rng) for rng in (None, np.random.default_rng(0)))
    error_m = ranges(noisy) - ranges(exact)
    assert error_m.std() == pytest.approx(lidar.noise_m, rel=0.1)
    assert abs(error_m.mean()) < 0.001


def test_the_lidar_stays_within_its_range_and_frame(scene: Scene, street_pose: Pose) -> None:
    lidar = Lidar()
    points = scan(lidar, scene, street_pose, NOON, np.random.default_rng(0))
    distance_m = ranges(points)
    assert np.isfinite(positions(points)).all()
    assert lidar.beams * lidar.columns * 0.5 < len(points) <= lidar.beams * lidar.columns
    assert distance_m.min() > 0.5 and distance_m.max() < lidar.range_m + 0.1
    assert points["intensity"].min() >= 0 and points["intensity"].max() <= 255
    assert points["z"].min() == pytest.approx(-lidar.position_base_m[2], abs=0.1)


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_geometry_is_equal_across_conditions(scene: Scene, street_pose: Pose, name: str) -> None:
    """Same places, same ranges: weather shortens the reach, and only fallen leaves let beams through."""
    lidar, condition = Lidar(), CONDITIONS[name]
    noon, other = scan(lidar, scene, street_pose, NOON), scan(lidar, scene, street_pose, condition)
    if condition.leaves < 1:
        of_both = np.intersect1d(beam_of_each(lidar, noon), beam_of_each(lidar, other), return_indices=True)[1:]
        before_m, after_m = ranges(noon)[of_both[0]], ranges(other)[of_both[1]]
        assert (after_m >= before_m - 1e-3).all() and 0.8 < (after_m == before_m).mean() < 1
    else:
        np.testing.assert_array_equal(other, noon[ranges(noon) < lidar.range_m * condition.lidar_range_share])


@pytest.mark.parametrize("name", ["fog", "rain", "winter"])
def test_weather_costs_points_and_precision(wall_scene: Scene, name: str) -> None:
    lidar, condition = Lidar(), CONDITIONS[name]
    exact, clear, seen = (
        scan(lidar, wall_scene, ORIGIN, weather, rng)
        for weather, rng in ((NOON, None), (NOON, np.random.default_rng(1)), (condition, np.random.default_rng(1)))
    )
    assert len(seen) < len(clear)
    error_m = np.full(lidar.beams * lidar.columns, np.nan)
    error_m[beam_of_each(lidar, seen)] = ranges(seen)
    error_m = error_m[beam_of_each(lidar, exact)] - ranges(exact)
    early = error_m < -0.5
    expected = condition.lidar_backscatter_share
    assert 0.6 * expected < early.mean() < 1.1 * expected
    precision_m = np.nanstd(error_m[np.abs(error_m) < 0.2])
    assert precision_m == pytest.approx(lidar.noise_m * condition.lidar_noise_factor, rel=0.1)
    drops = ranges(seen) < 3.0
    assert drops.sum() > 0.3 * early.sum() and seen["intensity"][drops].max() < 12.0


def test_rain_loses_more_of_what_is_far(wall_scene: Scene) -> None:
    lidar, rain = Lidar(), replace(CONDITIONS["rain"], lidar_backscatter_share=0.0, lidar_range_share=1.0)
    exact = scan(lidar, wall_scene, ORIGIN, rain)
    seen = np.isin(
        beam_of_each(lidar, exact), beam_of_each(lidar, scan(lidar, wall_scene, ORIGIN, rain, np.random.default_rng(2)))
    )
    distance_m = ranges(exact)
    near, far = distance_m < 10, distance_m > 40
    for part in (near, far):
        expected = rain.lidar_drop_share * distance_m[part].mean() / lidar.range_m
        assert 1 - seen[part].mean() == pytest.approx(expected, abs=0.03)
    assert seen[near].mean() > seen[far].mean() + 0.05


def test_only_parked_cars_differ_between_drives(town: Town, scene: Scene, street_pose: Pose) -> None:
    lidar, other = Lidar(), town.scene(2)
    rays = lidar.rays
    origin_m = np.array([street_pose.position_m[0], street_pose.position_m[1], 1.9])
    first, second = scene.cast(origin_m, rays), other.cast(origin_m, rays)
    static = len(town.surface.faces)
    both = (first.face < static) & (second.face < static)
    np.testing.assert_array_equal(first.distance_m[both], second.distance_m[both])
    assert (~both).any()
