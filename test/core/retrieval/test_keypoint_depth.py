"""Points in space of features, from clouds of surfaces of which everything is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vpr_core.retrieval.keypoint_depth import DepthOptions, points_at
from vpr_core.retrieval.rigid import moved

OPTIONS = DepthOptions()
T_BASE_CAMERA = np.array([[0.0, 0.0, 1.0, 1.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.6], [0.0, 0.0, 0.0, 1.0]])
LIDAR_M = np.array([0.0, 0.0, 1.9])


def beams() -> np.ndarray:
    """Unit directions [N, 3] of 32 beams at 1024 steps, those ahead."""
    azimuth = np.radians(np.arange(-60, 60, 360 / 1024))
    elevation = np.radians(np.linspace(-25, 15, 32))
    azimuth, elevation = (grid.ravel() for grid in np.meshgrid(azimuth, elevation))
    level = np.cos(elevation)
    return np.column_stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])


def wall(distance_m: float, directions: np.ndarray, low_y_m: float = -99.0) -> np.ndarray:
    """Where the LiDAR's beams meet a wall across the way, left of `low_y_m`, and the road before it."""
    with np.errstate(divide="ignore"):
        to_wall = np.where(directions[:, 0] > 0, distance_m / directions[:, 0], np.inf)
        to_road = np.where(directions[:, 2] < 0, -LIDAR_M[2] / directions[:, 2], np.inf)
    to_wall[to_wall * directions[:, 1] < low_y_m] = np.inf
    reach = np.minimum(to_wall, to_road)
    met = reach < 80
    return directions[met] * reach[met, None] + LIDAR_M


def rays_of(points: np.ndarray) -> np.ndarray:
    ahead = moved(np.linalg.inv(T_BASE_CAMERA), points)
    return ahead[:, :2] / ahead[:, 2:]


def test_points_lie_on_the_surface_between_the_beams() -> None:
    rng = np.random.default_rng(0)
    on_wall = np.column_stack([np.full(60, 15.0), rng.uniform(-5, 5, 60), rng.uniform(0.5, 4, 60)])
    on_road = np.column_stack([rng.uniform(6, 12, 40), rng.uniform(-3, 3, 40), np.zeros(40)])
    true = np.concatenate([on_wall, on_road])
    found = points_at(rays_of(true), wall(15.0, beams()), T_BASE_CAMERA, OPTIONS)
    known = np.isfinite(found).all(axis=1)
    assert known.mean() > 0.85
    np.testing.assert_allclose(found[known], true[known], atol=0.02)


def test_noise_of_a_lidar_stays_small() -> None:
    rng = np.random.default_rng(1)
    true = np.column_stack([np.full(60, 15.0), rng.uniform(-5, 5, 60), rng.uniform(0.5, 4, 60)])
    cloud = wall(15.0, beams())
    found = points_at(rays_of(true), cloud + rng.normal(0, 0.02, cloud.shape), T_BASE_CAMERA, OPTIONS)
    off_m = np.linalg.norm(found - true, axis=1)
    assert np.isfinite(off_m).mean() > 0.9 and np.nanmax(off_m) < 0.06


def test_an_edge_gets_no_point() -> None:
    """A house before another: at its corner it is open on which of them a feature is."""
    directions = beams()
    near = wall(12.0, directions, low_y_m=0.0)
    hidden = directions[:, 1] * 12 / np.maximum(directions[:, 0], 1e-6) >= 0
    cloud = np.concatenate([near, wall(25.0, directions[~hidden])])
    height_m = np.linspace(0.8, 3, 30)
    corner = np.column_stack([np.full(30, 12.0), np.zeros(30), height_m])
    at_corner = points_at(rays_of(corner), cloud, T_BASE_CAMERA, OPTIONS)
    assert np.isnan(at_corner).all(axis=1).mean() > 0.9
    beside = points_at(rays_of(corner + (0, 2.0, 0)), cloud, T_BASE_CAMERA, OPTIONS)
    assert np.isfinite(beside).all(axis=1).mean() > 0.9


def test_what_the_camera_does_not_see_gives_no_point() -> None:
    """Over a low car the LiDAR sees the road behind, the camera does not: the car's points are there as well."""
    directions = beams()
    car = np.column_stack([np.full(900, 6.0), *(grid.ravel() for grid in np.meshgrid(
        np.linspace(-1, 1, 30), np.linspace(0.2, 1.75, 30)))])  # fmt: skip
    cloud = np.concatenate([wall(25.0, directions), car])
    through = np.column_stack([np.full(40, 6.0), np.linspace(-0.8, 0.8, 40), np.full(40, 1.2)])
    found = points_at(rays_of(through), cloud, T_BASE_CAMERA, OPTIONS)
    known = np.isfinite(found).all(axis=1)
    assert (found[known, 0] < 7.0).all()


def test_nothing_is_extrapolated() -> None:
    """Above the highest beam there is nothing, however near the wall's top is."""
    above = np.column_stack([np.full(20, 15.0), np.linspace(-3, 3, 20), np.full(20, 7.5)])
    assert np.isnan(points_at(rays_of(above), wall(15.0, beams()), T_BASE_CAMERA, OPTIONS)).all()


@pytest.mark.parametrize("cloud", [np.empty((0, 3)), np.full((500, 3), np.nan), -np.ones((500, 3))])
def test_without_points_ahead_no_feature_gets_one(cloud: np.ndarray) -> None:
    rays = np.array([[0.0, 0.0], [0.1, 0.1]])
    assert np.isnan(points_at(rays, cloud, T_BASE_CAMERA, OPTIONS)).all()


def test_a_feature_without_a_ray_gets_no_point_and_the_others_do() -> None:
    rays = np.array([[np.nan, np.nan], [0.02, 0.03]])
    found = points_at(rays, wall(15.0, beams()), T_BASE_CAMERA, OPTIONS)
    assert np.isnan(found[0]).all() and found[1, 0] == pytest.approx(15.0, abs=0.02)
    assert points_at(np.empty((0, 2)), wall(15.0, beams()), T_BASE_CAMERA, OPTIONS).shape == (0, 3)


def test_options_reach_it() -> None:
    rays = rays_of(np.array([[15.0, 1.0, 1.0]]))
    cloud = wall(15.0, beams())
    assert np.isnan(points_at(rays, cloud, T_BASE_CAMERA, replace(OPTIONS, reach_rad=0.001))).all()
    assert np.isnan(points_at(rays, cloud, T_BASE_CAMERA, replace(OPTIONS, nearest_m=20.0))).all()
