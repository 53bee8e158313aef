"""Every condition changes what it should and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.errors import VprError
from vpr_core.synthetic import leaves
from vpr_core.synthetic.camera import Camera, photograph
from vpr_core.synthetic.conditions import CONDITIONS, Condition, sun_at
from vpr_core.synthetic.contact_sheet import contact_sheet, spread
from vpr_core.synthetic.scene import Hits, Scene
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder
from vpr_core.synthetic.town import Town
from vpr_core.synthetic.view import View
from vpr_core.types import Pose

NOON, RAIN, WINTER = CONDITIONS["noon"], CONDITIONS["rain"], CONDITIONS["winter"]
GREY = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def poses(town: Town) -> list[Pose]:
    return spread(town, 4)


def seen_by_camera(scene: Scene, pose: Pose, condition: Condition) -> leaves.Passage:
    camera = Camera()
    view = View.of(pose, camera.position_base_m)
    return leaves.cast(scene, view.origin_m, view.rays(camera.rays_base), condition)


def pictures_of(scene: Scene, poses: list[Pose], condition: Condition) -> np.ndarray:
    """[P, H, W, 3] float without noise, the sun at one place."""
    return np.stack([photograph(Camera(), scene, pose, condition, 1.0) for pose in poses]).astype(float)


def rows_of(scene: Scene, poses: list[Pose], *materials: Material) -> np.ndarray:
    """Pixels [P, H, W] that show one of the materials nearer than 30 m."""
    chosen = []
    for pose in poses:
        hits = seen_by_camera(scene, pose, NOON).hits
        chosen.append(np.isin(scene.material[hits.face], materials) & (hits.face >= 0) & (hits.distance_m < 30))
    return np.stack(chosen).reshape(len(poses), 240, 320)


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_every_ray_that_meets_no_leaf_meets_the_same_at_the_same_distance(
    scene: Scene, poses: list[Pose], name: str
) -> None:
    for pose in poses:
        noon, other = (seen_by_camera(scene, pose, condition) for condition in (NOON, CONDITIONS[name]))
        leaf = (noon.hits.face >= 0) & (scene.material[noon.hits.face] == Material.LEAVES)
        np.testing.assert_array_equal(other.hits.face[~leaf], noon.hits.face[~leaf])
        np.testing.assert_array_equal(other.hits.distance_m[~leaf], noon.hits.distance_m[~leaf])
        assert not other.fallen[~leaf].any()
        if CONDITIONS[name].leaves == 1:
            np.testing.assert_array_equal(other.hits.face, noon.hits.face)


def test_bare_trees_let_rays_through_to_branches_and_what_stands_behind(scene: Scene, poses: list[Pose]) -> None:
    for pose in poses:
        noon, winter = (seen_by_camera(scene, pose, condition) for condition in (NOON, WINTER))
        leaf = (noon.hits.face >= 0) & (scene.material[noon.hits.face] == Material.LEAVES)
        if leaf.sum() < 200:
            continue
        assert (winter.hits.distance_m[leaf] > noon.hits.distance_m[leaf]).mean() > 0.99
        bark = (winter.hits.face >= 0) & (scene.material[winter.hits.face] == Material.PLAIN)
        assert 0.02 < bark[leaf].mean() < 0.6
        np.testing.assert_allclose(winter.twigs_m[leaf], noon.hits.distance_m[leaf])
        return
    pytest.fail("no picture shows a tree")


def test_a_leaf_that_has_fallen_has_fallen_for_every_ray(scene: Scene) -> None:
    face = np.nonzero(scene.material == Material.LEAVES)[0].astype(np.int32)
    hits = Hits(np.ones(len(face), np.float32), face)
    once, fewer = (leaves.passes_leaves(scene, hits, replace(WINTER, leaves=share)) for share in (0.3, 0.1))
    assert once.mean() == pytest.approx(0.7, abs=0.02)
    assert fewer[once].all(), "leaves that have fallen do not come back"
    backwards = Hits(hits.distance_m, face[::-1])
    np.testing.assert_array_equal(leaves.passes_leaves(scene, backwards, replace(WINTER, leaves=0.3))[::-1], once)
    stays = np.nonzero(scene.material == Material.EVERGREEN)[0].astype(np.int32)
    assert len(stays) > 100
    assert not leaves.passes_leaves(scene, Hits(np.ones(len(stays), np.float32), stays), WINTER).any()


def test_low_sun_is_warm_and_casts_long_shadows(town: Town) -> None:
    """A wall of 3 m at 10 m to the side reaches over the road with its shadow when the sun is 8 degrees high only."""
    builder = SurfaceBuilder()
    at = Placement(0.0, 0.0)
    ground = [(-500, -500, 0), (500, -500, 0), (500, 500, 0), (-500, 500, 0)]
    builder.polygon(at, ground, Material.PLAIN, (0.2, 0.2, 0.2))
    builder.polygon(at, [(-100, 10, 0), (100, 10, 0), (100, 10, 3), (-100, 10, 3)], Material.PLAIN, GREY)
    scene = Scene([builder.build()], town.facades, town.ground, [], seed=0)
    pose = Pose.from_xy_yaw(0.0, 0.0, 0.0)
    low_sun = CONDITIONS["low_sun"]
    assert math.radians(6) <= low_sun.sun_elevation_rad <= math.radians(10)
    shaded, open_ = (photograph(Camera(), scene, pose, low_sun, side)[200:].mean() for side in (math.pi / 2, 3.5))
    assert open_ > 1.1 * shaded
    below, other = (photograph(Camera(), scene, pose, NOON, side)[200:].mean() for side in (math.pi / 2, 3.5))
    assert below == pytest.approx(other, rel=0.1)
    lit = photograph(Camera(), scene, pose, low_sun, 3.5)[200:].mean(axis=(0, 1))
    noon = photograph(Camera(), scene, pose, NOON, 3.5)[200:].mean(axis=(0, 1))
    assert lit[0] / lit[2] > 1.1 * noon[0] / noon[2]


def test_driving_into_the_low_sun_dazzles_unless_something_stands_before_it(wall_ahead: Scene) -> None:
    pose = Pose.from_xy_yaw(0.0, 0.0, 0.0)
    low_sun = CONDITIONS["low_sun"]
    plain = replace(low_sun, glare=0.0)

    def dazzle(azimuth_rad: float) -> float:
        with_glare, without = (
            photograph(Camera(), wall_ahead, pose, condition, azimuth_rad).astype(float)
            for condition in (low_sun, plain)
        )
        return float(np.abs(with_glare - without).mean())

    assert dazzle(0.5) > 5
    assert dazzle(-0.3) < 0.01, "the wall hides the sun"
    assert dazzle(math.pi) < 0.01, "the sun is behind the camera"


@pytest.fixture(scope="module")
def wall_ahead(town: Town) -> Scene:
    """A plane, and a high wall across the right half of what lies ahead."""
    builder = SurfaceBuilder()
    at = Placement(0.0, 0.0)
    ground = [(-500, -500, 0), (500, -500, 0), (500, 500, 0), (-500, 500, 0)]
    builder.polygon(at, ground, Material.GROUND, GREY)
    builder.polygon(at, [(20, -60, 0), (20, 0, 0), (20, 0, 30), (20, -60, 30)], Material.PLAIN, (0.7, 0.05, 0.05))
    return Scene([builder.build()], town.facades, town.ground, [], seed=0)


def test_a_wet_road_mirrors_what_stands_on_it_more_where_it_is_seen_at_a_flat_angle(
    town: Town, street_pose: Pose
) -> None:
    """A wall across the road, red or grey: only wet ground tells which."""
    x, y = street_pose.position_m[:2]
    across = Placement(float(x), float(y), street_pose.yaw_rad)

    def ground(condition: Condition, colour: tuple[float, float, float]) -> np.ndarray:
        builder = SurfaceBuilder()
        plane = [(-500, -500, 0), (500, -500, 0), (500, 500, 0), (-500, 500, 0)]
        builder.polygon(Placement(float(x), float(y)), plane, Material.GROUND, GREY)
        wall = [(25, -20, 0), (25, 20, 0), (25, 20, 12), (25, -20, 12)]
        builder.polygon(across, wall, Material.PLAIN, colour)
        scene = Scene([builder.build()], town.facades, town.ground, [], seed=0)
        return photograph(Camera(), scene, street_pose, condition, 1.0).astype(float)[:, 100:220]

    difference = ground(RAIN, GREY) - ground(RAIN, (0.5, 0.02, 0.02))
    far, near = difference[162:172, :, 2].mean(), difference[225:, :, 2].mean()
    assert far > 8 and far > 3 * abs(near)
    dry = replace(RAIN, wetness=0.0)
    assert np.abs(ground(dry, GREY) - ground(dry, (0.5, 0.02, 0.02)))[162:].max() == 0


def test_rain_is_darker_and_greyer_than_noon_and_wets_what_it_falls_on(scene: Scene, poses: list[Pose]) -> None:
    noon, rain = (pictures_of(scene, poses, condition) for condition in (NOON, RAIN))
    walls = rows_of(scene, poses, Material.WALL)
    assert rain.mean() < 0.9 * noon.mean()
    assert rain[walls].std() < 0.85 * noon[walls].std()
    dry = pictures_of(scene, poses, replace(RAIN, wetness=0.0))
    assert rain[walls].mean() < 0.95 * dry[walls].mean()
    sky = noon[:, :60].mean(axis=(0, 1, 2)), rain[:, :60].mean(axis=(0, 1, 2))
    assert np.ptp(sky[1]) < 0.5 * np.ptp(sky[0])


def test_rain_and_snow_fall_only_where_numbers_are_drawn(scene: Scene, street_pose: Pose) -> None:
    for condition in (RAIN, WINTER):
        clear = replace(condition, rain=0.0, snowfall=0.0, noise=0.0)
        falling = replace(condition, noise=0.0)
        still = [photograph(Camera(), scene, street_pose, each, 1.0) for each in (clear, falling)]
        np.testing.assert_array_equal(*still)
        first, again, other = (
            photograph(Camera(), scene, street_pose, falling, 1.0, rng=np.random.default_rng(seed))
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert (np.abs(first.astype(int) - other).max(axis=2) > 12).mean() > 0.002


def test_snow_lies_on_what_faces_the_sky_and_not_on_walls(scene: Scene, poses: list[Pose]) -> None:
    bare = replace(WINTER, snow=0.0)
    snowed, before = (pictures_of(scene, poses, condition) for condition in (WINTER, bare))
    roofs, walls = (rows_of(scene, poses, material) for material in (Material.ROOF, Material.WALL))
    ground = rows_of(scene, poses, Material.GROUND)
    assert roofs.sum() > 500
    assert snowed[roofs].mean() > before[roofs].mean() + 40
    assert snowed[ground].mean() > before[ground].mean() + 20
    assert abs(snowed[walls].mean() - before[walls].mean()) < 8
    assert np.ptp(snowed[roofs].mean(axis=0)) < 15, "snow has no colour"


def test_wheels_keep_tracks_open_in_the_slush(scene: Scene, street_pose: Pose) -> None:
    picture = photograph(Camera(), scene, street_pose, WINTER, 1.0)
    camera = Camera()
    across_m = np.array([0.0, 0.75, -0.75])
    points = np.column_stack([np.full(3, 6.0), across_m, np.zeros(3), np.ones(3)])
    x, y, z = (np.linalg.inv(camera.T_base_camera) @ points.T)[:3]
    columns, rows, _ = np.rint(camera.matrix @ np.stack([x / z, y / z, np.ones(3)])).astype(int)
    tones = [
        picture[row - 4 : row + 5, column - 2 : column + 3].mean() for row, column in zip(rows, columns, strict=True)
    ]
    assert tones[0] > tones[1] + 15 and tones[0] > tones[2] + 15


def test_the_sun_moves_during_a_drive() -> None:
    low_sun = CONDITIONS["low_sun"]
    begin, azimuth = sun_at(low_sun, 1.0, 0.0)
    assert (begin, azimuth) == (low_sun, 1.0)
    later, azimuth = sun_at(low_sun, 1.0, 240.0)
    assert math.degrees(1.0 - azimuth) == pytest.approx(1.0)
    assert math.degrees(low_sun.sun_elevation_rad - later.sun_elevation_rad) == pytest.approx(0.6)
    assert replace(later, sun_elevation_rad=low_sun.sun_elevation_rad) == low_sun


def test_the_lidar_suffers_only_from_what_is_in_the_air() -> None:
    for name in ("noon", "dusk", "night", "low_sun"):
        clear = CONDITIONS[name]
        assert (clear.lidar_drop_share, clear.lidar_backscatter_share, clear.lidar_noise_factor) == (0, 0, 1)
    winter, rain, fog = WINTER, RAIN, CONDITIONS["fog"]
    assert 0 < winter.lidar_drop_share < rain.lidar_drop_share < fog.lidar_drop_share < 1
    assert 0 < winter.lidar_backscatter_share < rain.lidar_backscatter_share < fog.lidar_backscatter_share < 0.2
    assert 1 < winter.lidar_noise_factor < rain.lidar_noise_factor < fog.lidar_noise_factor


def test_a_contact_sheet_shows_every_place_under_every_condition(town: Town) -> None:
    sheet = contact_sheet(town, 2, ("noon", "winter"), size=(64, 48))
    assert sheet.dtype == np.uint8 and sheet.shape == (25 + 2 * 51, 3 * 67, 3)
    noon, winter, labels = (sheet[25:73, at : at + 64].astype(float) for at in (0, 67, 134))
    assert np.abs(noon - winter).mean() > 10
    assert (labels[:8] == (70, 130, 180)).all(axis=2).any(), "the colour of the sky"
    with pytest.raises(VprError, match="hail"):
        contact_sheet(town, 1, ("hail",))
