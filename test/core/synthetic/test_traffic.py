"""What moves: the same for the same drive and time, on its part of the street, clear of the vehicle that looks."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.synthetic.camera import Camera
from vpr_core.synthetic.ground import PAVEMENT_M
from vpr_core.synthetic.labels import label_image
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.streets import LANE_OFFSET_M
from vpr_core.synthetic.surface import Label
from vpr_core.synthetic.town import Town
from vpr_core.synthetic.traffic import NEAR_M, Traffic, drawn_traffic
from vpr_core.synthetic.trajectory import Trajectory, follow
from vpr_core.types import Pose


@pytest.fixture(scope="module")
def ego(town: Town) -> Trajectory:
    return follow(town.route("loop"), np.random.default_rng(0))


@pytest.fixture(scope="module")
def traffic(town: Town, ego: Trajectory) -> Traffic:
    return drawn_traffic(town.plan, np.random.default_rng(3), ego)


@pytest.fixture(scope="module")
def busy(town: Town, ego: Trajectory) -> Scene:
    return town.scene(3, ego)


def poses_of(traffic: Traffic, label: Label, time_s: float) -> np.ndarray:
    """[M, 4] of the cars or of the people."""
    chosen = [mover.model.label[0] == label for mover in traffic.movers]
    return traffic.poses(time_s)[chosen]


def test_same_drive_and_time_same_movers(town: Town, ego: Trajectory, traffic: Traffic) -> None:
    again = drawn_traffic(town.plan, np.random.default_rng(3), ego)
    other = drawn_traffic(town.plan, np.random.default_rng(4), ego)
    for time_s in (0.0, 31.7):
        np.testing.assert_array_equal(traffic.at(time_s).vertices_m, again.at(time_s).vertices_m)
    assert not np.array_equal(traffic.poses(5.0)[:10], other.poses(5.0)[:10])
    assert not np.array_equal(traffic.poses(5.0), traffic.poses(6.0))


def test_nothing_meets_the_vehicle_that_looks(ego: Trajectory, traffic: Traffic) -> None:
    met_from_close = 0
    for time_s in np.arange(0.0, ego.duration_s, 0.4):
        pose = ego.pose(float(time_s))
        away = traffic.poses(float(time_s))[:, :2] - pose.position_m[:2]
        cos, sin = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
        ahead, aside = cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0]
        assert not ((np.abs(ahead) < 3.5) & (np.abs(aside) < 1.5)).any(), time_s
        met_from_close += int(((np.abs(ahead) < 3.5) & (np.abs(aside) < 8.0)).sum())
    assert met_from_close > 20, "the drive passes cars and people"


def test_cars_never_meet_each_other(ego: Trajectory, traffic: Traffic) -> None:
    for time_s in np.arange(0.0, ego.duration_s, 1.0):
        cars_m = poses_of(traffic, Label.CAR, float(time_s))[:, :2]
        apart_m = np.linalg.norm(cars_m[:, None] - cars_m[None], axis=2) + 1e3 * np.eye(len(cars_m))
        assert apart_m.min() > 1.9, time_s


def test_cars_drive_on_the_right_and_people_walk_beside_the_road_or_across_it(town: Town, traffic: Traffic) -> None:
    on_pavement = []
    for time_s in (0.0, 20.0, 50.0):
        cars, people = (poses_of(traffic, label, time_s) for label in (Label.CAR, Label.PERSON))
        assert len(cars) > 10 and len(people) > 100
        assert town.ground.beyond_kerb_m(cars[:, :2]).max() < -0.9
        ground = town.ground.sample(*cars[:, :2].astype(np.float32).T)
        along = np.cos(ground.heading_rad - cars[:, 2])
        straight = (np.abs(along) > 0.98) & (ground.to_crossing_m > 12)
        right_m = -ground.across_m[straight] * np.sign(along[straight])
        assert straight.sum() > 4 and right_m.min() > 0.2
        assert np.median(right_m) == pytest.approx(LANE_OFFSET_M, abs=0.4)
        assert (along[straight] > 0).any() and (along[straight] < 0).any()
        beyond_m = town.ground.beyond_kerb_m(people[:, :2])
        assert beyond_m.max() < PAVEMENT_M
        on_pavement.append((beyond_m > 0.3).mean())
    assert min(on_pavement) > 0.85


def test_people_stride(traffic: Traffic) -> None:
    """The feet of someone who walks move against the body."""
    times_s = np.arange(0.0, 1.2, 0.1)
    walking = (mover for mover in traffic.movers if mover.model.label[0] == Label.PERSON)
    lone = Traffic([next(mover for mover in walking if mover.poses(times_s)[:, 3].min() > 1.0)])
    reach_m = []
    for time_s in times_s:
        pose = lone.poses(float(time_s))[0]
        away = lone.at(float(time_s)).vertices_m[:, :2] - pose[:2]
        reach_m.append((away @ [np.cos(pose[2]), np.sin(pose[2])]).max())
    assert max(reach_m) - min(reach_m) > 0.1


def test_only_what_is_near_is_built(ego: Trajectory, traffic: Traffic) -> None:
    mesh = traffic.at(40.0)
    away_m = np.linalg.norm(mesh.vertices_m[:, :2] - ego.pose(40.0).position_m[:2], axis=1)
    assert 0 < len(mesh.rows) < len(traffic.rest.faces)
    assert away_m.max() < NEAR_M + 4.0


def test_rays_shadows_and_labels_see_what_moves_and_the_town_stands_still(busy: Scene, ego: Trajectory) -> None:
    camera, seen = Camera(160, 120), set()
    for time_s in np.arange(5.0, 60.0, 5.0):
        moved, pose = busy.at(float(time_s)), ego.pose(float(time_s))
        before, after = label_image(camera, busy, pose), label_image(camera, moved, pose)
        changed = before != after
        assert set(np.unique(after[changed]).tolist()) <= {Label.CAR, Label.PERSON}
        seen |= set(np.unique(after[changed]).tolist())
    assert seen == {Label.CAR, Label.PERSON}


def test_a_car_that_moves_throws_a_shadow(busy: Scene, traffic: Traffic, ego: Trajectory) -> None:
    time_s = 12.0
    moved = busy.at(time_s)
    assert busy._traffic is not None
    cars = poses_of(busy._traffic, Label.CAR, time_s)
    near = np.linalg.norm(cars[:, :2] - ego.pose(time_s).position_m[:2], axis=1) < NEAR_M - 5
    points = np.column_stack([cars[near, :2], np.zeros(near.sum())]).astype(np.float32)
    up = np.tile(np.float32([0, 0, 1]), (len(points), 1))
    assert len(points) and moved.blocked(points, up, np.array([0.0, 0.0, 1.0])).all()
    assert (moved.open_beside_cars(points) < 0.3).all()
    assert not busy.blocked(points, up, np.array([0.0, 0.0, 1.0])).all()


def test_a_scene_at_a_time_leaves_the_scene_as_it_was(busy: Scene, street_pose: Pose) -> None:
    before = busy.normals.copy()
    first, second = (busy.at(time_s) for time_s in (3.0, 9.0))
    np.testing.assert_array_equal(busy.normals, before)
    assert first is not second and not np.array_equal(first.normals, second.normals)
