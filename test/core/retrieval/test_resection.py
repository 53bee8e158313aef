"""Poses from points in space of which everything is known: within their covariance, and refused where they must be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_core.data.poses import compose, inverse
from vpr_core.retrieval.resection import LONGEST_PX, Resection, ResectionOptions, Verdict, View, resect
from vpr_core.retrieval.rigid import matrix_of, moved
from vpr_core.types import Pose

OPTIONS = ResectionOptions()
FOCAL_PX = 380.0
SIZE_PX = (LONGEST_PX, LONGEST_PX * 0.75)
T_BASE_CAMERA = np.array([[0.0, 0.0, 1.0, 1.0], [-1.0, 0.0, 0.0, 0.1], [0.0, -1.0, 0.0, 1.6], [0.0, 0.0, 0.0, 1.0]])
"""A camera that looks forward from 1 m before, 0.1 m left of and 1.6 m above the vehicle's origin."""
AWAY = Pose((2.0, -0.7, 0.1), tuple(Rotation.from_euler("ZYX", (9.0, 2.0, -1.0), degrees=True).as_quat()))


def street(count: int, seed: int = 0) -> np.ndarray:
    """Points [N, 3] of two rows of houses, a road and what stands before them, in the place's frame."""
    rng = np.random.default_rng(seed)
    left = np.column_stack([rng.uniform(8, 40, count), np.full(count, 7.0), rng.uniform(0, 8, count)])
    right = np.column_stack([rng.uniform(8, 40, count), np.full(count, -6.0), rng.uniform(0, 8, count)])
    road = np.column_stack([rng.uniform(6, 30, count), rng.uniform(-5, 5, count), np.zeros(count)])
    points = np.concatenate([left, right, road])
    return points[rng.permutation(len(points))[:count]]


def seen(points: np.ndarray, T_place_query: Pose = AWAY, noise_px: float = 0.0, seed: int = 0) -> View:
    """What a camera at that pose sees of points [N, 3]."""
    T_camera_place = np.linalg.inv(matrix_of(T_place_query) @ T_BASE_CAMERA)
    ahead = moved(T_camera_place, points)
    rays = ahead[:, :2] / ahead[:, 2:]
    rays += np.random.default_rng(seed).normal(0, noise_px / FOCAL_PX, rays.shape)
    inside = (ahead[:, 2] > 1) & (np.abs(rays) * FOCAL_PX < (LONGEST_PX / 2, LONGEST_PX * 3 / 8)).all(axis=1)
    return View(np.arange(len(points)), rays, points, FOCAL_PX, SIZE_PX, T_BASE_CAMERA)[inside]


def mixed(view: View, wrong: float, seed: int = 1) -> View:
    """With a share of the pairs led to points of something else."""
    rng = np.random.default_rng(seed)
    rows = rng.random(len(view.rays)) < wrong
    points = view.points.copy()
    points[rows] = view.points[rng.permutation(len(points))[: rows.sum()]]
    return replace(view, points=points)


def error(found: Resection, true: Pose = AWAY) -> np.ndarray:
    """[6]: position [m] and rotation vector [rad], along the place's axes, as the covariance has them."""
    turned = Rotation.from_quat(found.T_place_query.quaternion_xyzw) * Rotation.from_quat(true.quaternion_xyzw).inv()
    return np.concatenate([np.subtract(found.T_place_query.position_m, true.position_m), turned.as_rotvec()])


def test_a_pose_is_found_exactly_where_everything_is_exact() -> None:
    found = resect(seen(street(200)))
    assert found.accepted, found.reason
    np.testing.assert_allclose(error(found), 0.0, atol=1e-6)
    assert found.inliers == found.points and found.rmse_px < 1e-4 and found.inlier_share == 1.0


@pytest.mark.parametrize("wrong", [0.0, 0.6, 0.8])
def test_a_pose_is_found_among_wrong_pairs(wrong: float) -> None:
    view = seen(street(400), noise_px=1.0)
    found = resect(mixed(view, wrong))
    assert found.accepted, found.reason
    assert np.linalg.norm(error(found)[:3]) < 0.3 and np.linalg.norm(error(found)[3:]) < math.radians(1)
    assert abs(found.inlier_share - (1 - wrong)) < 0.12


def test_errors_are_what_the_covariance_says() -> None:
    """Without its systematic part, and with noise that is not correlated: chi-squared of six."""
    options = replace(OPTIONS, correlated_points=1.0, least_residual_px=0.1, systematic_m=1e-6, systematic_rad=1e-7)
    squares = []
    for seed in range(40):
        found = resect(seen(street(150, seed), noise_px=1.5, seed=seed), options)
        assert found.accepted, found.reason
        off = error(found)
        squares.append(off @ np.linalg.solve(found.covariance, off))
    assert 4.5 < np.mean(squares) < 8.0


def test_the_covariance_grows_by_what_errs_together_and_by_what_is_systematic() -> None:
    view = seen(street(150), noise_px=1.0)
    plain = replace(OPTIONS, systematic_m=1e-6, systematic_rad=1e-7)
    one, four = (resect(view, replace(plain, correlated_points=count)).covariance for count in (1.0, 4.0))
    np.testing.assert_allclose(four, 4 * one, rtol=2e-2, atol=1e-9)
    assert np.diag(resect(view).covariance)[:3].min() > OPTIONS.systematic_m**2
    assert np.linalg.eigvalsh(resect(view).covariance).min() > 0


@pytest.mark.parametrize("count", [0, 3, OPTIONS.min_points - 1])
def test_few_points_show_no_place(count: int) -> None:
    view = seen(street(200))
    found = resect(view[np.arange(len(view.rays)) < count])
    assert found.verdict is Verdict.FEW_POINTS and f"{count} matched features" in found.reason


def test_points_without_depth_and_rays_without_direction_are_left_out() -> None:
    view = seen(street(300), noise_px=0.5)
    rays, points = view.rays.copy(), view.points.copy()
    rays[::3], points[1::3, 2] = np.nan, np.nan
    found = resect(replace(view, rays=rays, points=points))
    whole = resect(view[np.arange(len(rays)) % 3 == 2])
    assert found.accepted and found == replace(whole, covariance=found.covariance)
    nothing = resect(replace(view, points=np.full_like(points, np.nan)))
    assert nothing.verdict is Verdict.FEW_POINTS and nothing.covariance[0, 0] == 1e4


def test_chance_gives_no_pose_that_is_believed() -> None:
    """Pairs that are all wrong."""
    rng = np.random.default_rng(5)
    for seed in range(6):
        view = seen(street(150, seed))
        shuffled = replace(view, points=view.points[rng.permutation(len(view.points))])
        assert resect(shuffled).verdict in (Verdict.FEW_INLIERS, Verdict.SMALL_SHARE, Verdict.NO_POSE)


def test_a_line_of_points_is_refused() -> None:
    """A kerb, however long."""
    kerb = np.column_stack([np.linspace(8, 40, 80), np.full(80, -3.0), np.zeros(80)])
    found = resect(seen(kerb, noise_px=0.3))
    assert not found.accepted and found.verdict in (Verdict.CROWDED, Verdict.DEGENERATE, Verdict.NO_POSE, Verdict.FAR)


def test_points_in_one_corner_are_refused() -> None:
    sign = street(400)
    sign = np.column_stack([np.full(400, 30.0), 6 + sign[:, 1] / 10, 5 + sign[:, 2] / 10])
    found = resect(seen(sign, noise_px=0.3))
    assert found.verdict is Verdict.CROWDED and "spread over 0.0" in found.reason


def test_what_is_far_away_determines_no_position() -> None:
    """Hills at the horizon."""
    rng = np.random.default_rng(2)
    hills = np.column_stack([rng.uniform(2900, 3000, 300), rng.uniform(-2000, 2000, 300), rng.uniform(-900, 900, 300)])
    found = resect(seen(hills, noise_px=1.0), replace(OPTIONS, max_distance_m=1e6))
    assert found.verdict is Verdict.DEGENERATE and ("is known to" in found.reason or "not determined" in found.reason)
    assert np.sqrt(np.linalg.eigvalsh(found.covariance[:3, :3])[-1]) > OPTIONS.max_position_sigma_m


def test_a_wall_before_the_camera_is_enough() -> None:
    """Points on one plane: the pose is determined all the same."""
    rng = np.random.default_rng(3)
    wall = np.column_stack([np.full(200, 15.0), rng.uniform(-9, 9, 200), rng.uniform(-2, 8, 200)])
    found = resect(seen(wall, noise_px=0.5))
    assert found.accepted, found.reason
    off = error(found)
    assert off @ np.linalg.solve(found.covariance, off) < 22.5  # 99.9 % of chi-squared with six


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (Pose((-18.0, 0.0, 0.0)), "18.0 m and tilted by 0 degrees"),
        (Pose((0.0, 0.0, 0.0), tuple(Rotation.from_euler("x", 25, degrees=True).as_quat())), "tilted by 25 degrees"),
    ],
)
def test_no_vehicle_stands_there(pose: Pose, words: str) -> None:
    found = resect(seen(street(400), pose))
    assert found.verdict is Verdict.FAR and words in found.reason


def test_two_poses_that_the_pairs_agree_on_are_ambiguous() -> None:
    """A row of equal houses: every feature goes with two of them, 6 m apart."""
    points = street(200)
    view = seen(points, noise_px=0.3)
    again = replace(view, points=view.points + (6.0, 0.0, 0.0))
    both = View(
        np.concatenate([view.features, again.features]), np.concatenate([view.rays, again.rays]),
        np.concatenate([view.points, again.points]), FOCAL_PX, SIZE_PX, T_BASE_CAMERA,
    )  # fmt: skip
    found = resect(both)
    assert found.verdict is Verdict.AMBIGUOUS and "m fits as well" in found.reason
    assert found.points == len(view.rays)  # each feature counts once
    some = np.concatenate([np.full(len(view.rays), True), np.arange(len(again.rays)) % 5 == 0])
    assert resect(both[some]).accepted


def test_the_same_view_gives_the_same_pose() -> None:
    view = mixed(seen(street(300), noise_px=1.0), 0.7)
    first, second = resect(view), resect(view)
    assert first.T_place_query == second.T_place_query and first.reason == second.reason


def test_pixels_are_counted_in_pictures_of_one_width() -> None:
    """The residual of noise of 2 px, per coordinate."""
    found = resect(seen(street(400), noise_px=1.5))
    assert found.rmse_px == pytest.approx(1.5 * math.sqrt(2), rel=0.12)


def test_where_the_camera_is_mounted_is_taken_out() -> None:
    """The pose is the vehicle's: a camera elsewhere that sees the same gives another."""
    view = seen(street(200))
    shifted = T_BASE_CAMERA.copy()
    shifted[:3, 3] += (0.5, 0.0, 0.0)
    found = resect(replace(view, T_base_camera=shifted))
    between = compose(inverse(found.T_place_query), AWAY)
    np.testing.assert_allclose(between.position_m, (0.5, 0.0, 0.0), atol=1e-6)
