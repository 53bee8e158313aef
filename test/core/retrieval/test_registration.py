"""Clouds registered: known motions of a town's clouds in any direction, and what must not be believed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frames
from vpr_core.errors import InputError
from vpr_core.retrieval.place_clouds import CloudOptions, cloud_of
from vpr_core.retrieval.registration import (
    Registration,
    RegistrationOptions,
    Verdict,
    matrix_of,
    pose_of,
    register,
    register_surfaces,
    surface_of,
)
from vpr_core.types import Pose

OPTIONS = RegistrationOptions()
MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05)
"""The town's LiDAR turns ten times a second and stamps the beginning."""


@pytest.fixture(scope="module")
def drive(frames: object) -> Frames:
    return Frames.load(str(frames))


def moved(cloud: np.ndarray, pose: Pose, seed: int = 0, noise_m: float = 0.02) -> np.ndarray:
    """What is seen of the same surfaces by another sweep from `pose` in the cloud's frame."""
    rng = np.random.default_rng(seed)
    points = cloud[rng.random(len(cloud)) < 0.7, :3].astype(np.float64)
    points += rng.normal(0, noise_m, points.shape)
    T = np.linalg.inv(matrix_of(pose))
    return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def errors(found: Registration, true: Pose) -> tuple[float, float]:
    """Distance [m] and angle [degrees] from the truth."""
    difference = np.linalg.inv(matrix_of(true)) @ matrix_of(found.T_place_query)
    angle_rad = Rotation.from_matrix(difference[:3, :3]).magnitude()
    return float(np.linalg.norm(difference[:3, 3])), math.degrees(angle_rad)


@pytest.mark.parametrize("degrees", [0, 37, 90, -128, 180])
def test_a_known_motion_is_found_in_any_direction(drive: Frames, degrees: float) -> None:
    place = drive.cloud(5)
    true = Pose.from_xy_yaw(3.0, -1.2, math.radians(degrees))
    found = register(moved(place, true), place)
    distance_m, angle_deg = errors(found, true)
    assert found.accepted and found.converged, found.reason
    assert distance_m < 0.1 and angle_deg < 0.3
    assert found.overlap > 0.8 and found.inlier_rmse_m < 0.15 and found.contradiction < 0.02


def test_sweeps_metres_apart_give_the_way_between_them(drive: Frames, figures: list[str]) -> None:
    """Sweeps of a moving vehicle, with the truth of the town: about 4 m from one place to the next."""
    worst = (0.0, 0.0)
    for first, second in ((2, 3), (5, 4), (12, 11), (15, 17)):
        poses = [drive.frames[index].pose for index in (first, second)]
        assert poses[0] and poses[1]
        true = pose_of(np.linalg.inv(matrix_of(poses[0])) @ matrix_of(poses[1]))
        place, query = (cloud_of(drive, index, MOUNTED) for index in (first, second))
        found = register(query, place, sensor_m=MOUNTED.T_base_lidar.position_m)
        assert found.accepted, found.reason
        worst = (max(worst[0], errors(found, true)[0]), max(worst[1], errors(found, true)[1]))
    figures.append(f"registration of a town's sweeps metres apart: {worst[0]:.2f} m and {worst[1]:.2f} degrees")
    assert worst[0] < 0.3 and worst[1] < 1.0


def test_a_start_is_taken_where_one_is_given(drive: Frames) -> None:
    place = drive.cloud(5)
    true = Pose.from_xy_yaw(2.0, 0.5, math.radians(100))
    query = moved(place, true)
    near = register(query, place, Pose.from_xy_yaw(1.7, 0.2, math.radians(97)))
    assert near.accepted and errors(near, true)[0] < 0.1
    turned = register(query, place, Pose.from_xy_yaw(2.0, 0.5, math.radians(-60)))
    assert not turned.accepted
    with pytest.raises(InputError, match="has no finite position and rotation"):
        register(query, place, Pose((math.nan, 0.0, 0.0)))


def test_another_place_is_refused(drive: Frames, corridor: np.ndarray) -> None:
    """Streets of other towns: they converge as well, and roads fit roads."""
    other = street(seed=3)
    for cloud in (drive.cloud(0), drive.cloud(9)):
        found = register(other, cloud)
        assert not found.accepted and found.overlap < OPTIONS.min_overlap
        assert found.verdict in (Verdict.LITTLE_OVERLAP, Verdict.NOT_CONVERGED, Verdict.FAR)
        assert any(character.isdigit() for character in found.reason)


def street(seed: int) -> np.ndarray:
    """A road with houses of random sizes on both sides, float32 [N, 3]."""
    rng = np.random.default_rng(seed)
    parts = [np.column_stack([rng.uniform(-40, 40, (6000, 2)), np.zeros(6000)])]
    for side in (-1, 1):
        x = -40.0
        while x < 40:
            width, depth, height = rng.uniform(3, 9), rng.uniform(7, 14), rng.uniform(3, 9)
            along, up, across = rng.random((3, 500))
            parts.append(np.column_stack([x + along * width, np.full(500, side * depth), up * height]))
            parts.append(np.column_stack([np.full(500, x), side * (depth + 3 * across), up * height]))
            x += width + rng.uniform(1, 4)
    points = np.concatenate(parts)
    return (points + rng.normal(0, 0.02, points.shape) - (0, 0, 1.9)).astype(np.float32)


@pytest.fixture(scope="module")
def corridor() -> np.ndarray:
    return tunnel(seed=0)


def tunnel(seed: int, rough_m: float = 0.02) -> np.ndarray:
    """Two parallel walls, a floor and a ceiling, longer than the sensor sees, float32 [N, 3]."""
    rng = np.random.default_rng(seed)
    along = rng.uniform(-70, 70, (4, 5000))
    up, across = rng.uniform(0, 4, (2, 5000)), rng.uniform(-3, 3, (2, 5000))
    flat = np.full(5000, 3.0)
    parts = [
        np.column_stack([along[0], flat, up[0]]),
        np.column_stack([along[1], -flat, up[1]]),
        np.column_stack([along[2], across[0], np.zeros(5000)]),
        np.column_stack([along[3], across[1], np.full(5000, 4.0)]),
    ]
    points = np.concatenate(parts)
    return (points + rng.normal(0, rough_m, points.shape) - (0, 0, 1.5)).astype(np.float32)


@pytest.mark.parametrize("rough_m", [0.02, 0.06])
def test_a_corridor_is_told_with_its_direction(rough_m: float) -> None:
    """Everything fits, at any place along it."""
    yaw_rad = math.radians(30)
    turned = moved(tunnel(1, rough_m), Pose.from_xy_yaw(0.0, 0.0, -yaw_rad))
    found = register(tunnel(2, rough_m), turned)
    assert found.overlap > 0.85
    assert found.verdict is Verdict.DEGENERATE and "translation along" in found.reason, found.reason
    x, y, _ = found.weakest
    assert abs(math.remainder(math.atan2(y, x) - yaw_rad, math.pi)) < math.radians(5)
    along = np.array([math.cos(yaw_rad), math.sin(yaw_rad)])
    across = np.array([-along[1], along[0]])
    level = found.covariance[:2, :2]
    assert along @ level @ along > 3 * (across @ level @ across)


def test_a_plain_has_nothing_to_go_by() -> None:
    rng = np.random.default_rng(0)
    ground = np.column_stack([rng.uniform(-50, 50, (12000, 2)), rng.normal(-1.9, 0.02, 12000)]).astype(np.float32)
    found = register(ground, ground)
    assert found.verdict is Verdict.FEW_POINTS and "upright points" in found.reason
    assert found.covariance[0, 0] > 1e3 and found.T_place_query.is_finite


@pytest.mark.parametrize("count", [0, 1, 2, 5, 60])
def test_few_points_are_refused(drive: Frames, count: int) -> None:
    place = drive.cloud(5)
    few = place[:count]
    for found in (register(few, place), register(place, few)):
        assert not found.accepted and found.verdict is Verdict.FEW_POINTS and "expected 150 or more" in found.reason
        assert np.isfinite(found.covariance).all()


def test_points_that_are_not_finite_do_not_count(drive: Frames) -> None:
    place = drive.cloud(5)
    true = Pose.from_xy_yaw(1.0, 0.5, 0.4)
    query = moved(place, true)
    broken = np.full((5000, 3), np.nan, np.float32)
    broken[::2] = np.inf
    assert register(broken, place).verdict is Verdict.FEW_POINTS
    mixed = register(np.vstack([broken, query]), place)
    assert mixed.T_place_query == register(query, place).T_place_query and mixed.accepted


@pytest.mark.parametrize(
    "cloud", [np.zeros((5, 2), np.float32), np.zeros((4, 4, 3), np.float32), np.zeros((9, 3), int)]
)
def test_what_is_no_cloud_is_refused(drive: Frames, cloud: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected float32"):
        register(cloud, drive.cloud(5))


def test_two_answers_that_fit_equally_are_ambiguous() -> None:
    """A yard that looks the same after half a turn."""
    rng = np.random.default_rng(4)
    parts = [np.column_stack([rng.uniform(-25, 25, (6000, 2)), np.full(6000, -1.9)])]
    for x, y, along_x in ((0, 12, True), (18, 4, False), (9, 8, False), (-6, 10, True), (12, -3, True)):
        for sign in (1, -1):
            along, up = rng.uniform(-4, 4, 700), rng.uniform(-1.5, 4, 700)
            flat = np.zeros(700)
            wall = np.column_stack([along if along_x else flat, flat if along_x else along, up])
            parts.append(wall + (sign * x, sign * y, 0))
    points = np.concatenate(parts)
    place, query = ((points + rng.normal(0, 0.02, points.shape)).astype(np.float32) for _ in range(2))
    found = register(query, place)
    assert found.verdict is Verdict.AMBIGUOUS and "180 degrees" in found.reason.replace("-", ""), found.reason
    known = register(query, place, Pose((0.0, 0.0, 0.0)))
    assert known.accepted and errors(known, Pose((0.0, 0.0, 0.0)))[0] < 0.1


def test_a_wall_where_the_other_saw_through_is_a_contradiction(drive: Frames) -> None:
    """A place with walls across the road that the query saw along."""
    place = drive.cloud(5)[:, :3]
    rng = np.random.default_rng(0)
    walls = [
        np.column_stack([np.full(1500, x), rng.uniform(-4, 4, 1500), rng.uniform(-1.5, 2, 1500)])
        for x in (-9.0, -6.0, 6.0, 9.0)
    ]
    clear = register(moved(place, Pose((0.0, 0.0, 0.0))), place)
    blocked = register(place, np.vstack([place, *walls]).astype(np.float32), Pose((0.0, 0.0, 0.0)),
                       RegistrationOptions(max_contradiction=0.04))  # fmt: skip
    assert clear.accepted and clear.contradiction < 0.02
    assert blocked.verdict is Verdict.CONTRADICTED and blocked.contradiction > 0.05


def test_errors_are_as_large_as_the_covariance_says(drive: Frames, figures: list[str]) -> None:
    """Noise drawn again and again: squared errors by the covariance, whose mean is 6 where it is exact.

    What is systematic in real sweeps is absent here, so that the part of the noise alone is asked for.
    """
    noise_alone = replace(OPTIONS, systematic_m=0.0, systematic_rad=0.0)
    place = surface_of(drive.cloud(5), OPTIONS)
    rng = np.random.default_rng(7)
    weighted: dict[str, list[float]] = {"noise alone": [], "whole": []}
    for seed in range(10):
        true = Pose.from_xy_yaw(float(rng.uniform(-3, 3)), float(rng.uniform(-2, 2)), float(rng.uniform(-3, 3)))
        query = surface_of(moved(drive.cloud(5), true, seed, noise_m=0.05), OPTIONS)
        for name, options in (("noise alone", noise_alone), ("whole", OPTIONS)):
            found = register_surfaces(query, place, None, options)
            T, at = matrix_of(found.T_place_query), matrix_of(true)
            error = np.r_[T[:3, 3] - at[:3, 3], Rotation.from_matrix(T[:3, :3] @ at[:3, :3].T).as_rotvec()]
            assert found.accepted and np.linalg.eigvalsh(found.covariance).min() > 0
            weighted[name].append(float(error @ np.linalg.solve(found.covariance, error)))
    told = ", ".join(f"{name} mean {np.mean(values):.2f}, most {max(values):.2f}" for name, values in weighted.items())
    figures.append(f"registration, squared errors by their covariance, 6 expected: {told}")
    assert 0.1 < np.mean(weighted["noise alone"]) < 12
    assert max(weighted["whole"]) < 16.8  # 99 % of chi-squared of 6


def test_every_threshold_refuses(drive: Frames) -> None:
    place = drive.cloud(5)
    query = moved(place, Pose.from_xy_yaw(2.0, 0.3, 0.2))
    for verdict, limit in (
        (Verdict.FEW_POINTS, {"min_upright": 10**6}),
        (Verdict.FAR, {"max_distance_m": 0.5}),
        (Verdict.DEGENERATE, {"min_degeneracy": 0.9}),
        (Verdict.LITTLE_OVERLAP, {"min_overlap": 0.999}),
        (Verdict.RESIDUAL, {"max_inlier_rmse_m": 0.001}),
        (Verdict.CONTRADICTED, {"max_contradiction": -1.0}),
        (Verdict.WEAK, {"min_score": 0.999}),
    ):
        found = register(query, place, options=replace(OPTIONS, **limit))
        assert found.verdict is verdict and not found.accepted
        assert found.reason.startswith(verdict.value)


def test_options_at_their_ends_still_give_an_answer(drive: Frames) -> None:
    """No start, no sliding, a slide that is no whole number of metres."""
    place = drive.cloud(5)
    query = moved(place, Pose.from_xy_yaw(0.3, 0.1, 0.02))
    for change in ({"starts": 0}, {"starts": 1}, {"slide_m": 0.0}, {"slide_m": 7.5}, {"max_shift_m": 0.0}):
        found = register(query, place, options=replace(OPTIONS, **change))  # type: ignore[arg-type]
        assert found.accepted, (change, found.reason)
