"""Label images: the classes of Cityscapes, at the rays that the picture is taken with."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.synthetic.camera import Camera
from vpr_core.synthetic.conditions import CONDITIONS
from vpr_core.synthetic.labels import label_image
from vpr_core.synthetic.lines import heading
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Label
from vpr_core.synthetic.town import Town
from vpr_core.synthetic.view import View
from vpr_core.types import Pose

STANDING = {
    Label.ROAD,
    Label.SIDEWALK,
    Label.BUILDING,
    Label.FENCE,
    Label.POLE,
    Label.TRAFFIC_LIGHT,
    Label.TRAFFIC_SIGN,
    Label.VEGETATION,
    Label.TERRAIN,
    Label.SKY,
    Label.CAR,
}


@pytest.fixture(scope="module")
def loop_poses(town: Town) -> list[Pose]:
    line_m = town.route("loop")
    yaw_rad = heading(line_m)
    return [Pose.from_xy_yaw(*line_m[i].tolist(), float(yaw_rad[i])) for i in range(10, len(line_m), 25)]


def test_sky_is_where_no_ray_meets_anything(scene: Scene, street_pose: Pose) -> None:
    camera = Camera()
    labels = label_image(camera, scene, street_pose, pitch_rad=0.01)
    view = View.of(street_pose, camera.position_base_m, 0.01)
    missed = scene.cast(view.origin_m, view.rays(camera.rays_base)).face < 0
    assert labels.dtype == np.uint8 and labels.shape == (240, 320)
    np.testing.assert_array_equal(labels.ravel() == Label.SKY, missed)
    assert 0.05 < missed.mean() < 0.7


def test_bare_trees_let_the_sky_be_seen(scene: Scene, loop_poses: list[Pose]) -> None:
    camera = Camera(160, 120)
    shares = []
    for pose in loop_poses[::4]:
        summer, winter = (label_image(camera, scene, pose, CONDITIONS[name]) for name in ("noon", "winter"))
        assert (winter != summer)[summer != Label.VEGETATION].sum() == 0, "only leaves fall"
        shares.append([(labels == Label.VEGETATION).mean() for labels in (summer, winter)])
    summer_share, winter_share = np.mean(shares, axis=0)
    assert 0 < winter_share < 0.8 * summer_share


def test_every_class_that_stands_in_the_town_is_seen(scene: Scene, loop_poses: list[Pose]) -> None:
    camera = Camera(160, 120)
    seen = {int(value) for pose in loop_poses for value in np.unique(label_image(camera, scene, pose))}
    assert seen >= STANDING
    assert seen <= {int(label) for label in Label} - {Label.PERSON}, "nobody walks before the scene has a time"


def test_ground_classes_follow_the_layout_of_the_street(town: Town, scene: Scene) -> None:
    """From the middle of a street across it: road to the kerb, then pavement."""
    camera = Camera()
    street = town.plan.streets[0]
    position, direction = street.at(street.length_m / 2)
    left = np.array([-direction[1], direction[0]])
    for across_m, expected in ((0.0, Label.ROAD), (4.8, Label.ROAD), (5.9, Label.SIDEWALK), (7.0, Label.SIDEWALK)):
        spot = np.array([*(position + left * across_m), 0.0])
        # Looking down from above the spot, so that nothing hides it.
        above = Pose((float(spot[0]), float(spot[1]), 0.5), (0.0, 0.0, 0.0, 1.0))
        labels = label_image(camera, scene, above, pitch_rad=np.pi / 2 + camera.tilt_rad)
        view = View.of(above, camera.position_base_m, np.pi / 2 + camera.tilt_rad)
        assert view.origin_m[2] > 1.5
        away = spot - view.origin_m
        ray = camera.rays_base @ view.turn.T
        pixel = int((ray @ (away / np.linalg.norm(away))).argmax())
        assert labels.ravel()[pixel] == expected, across_m
