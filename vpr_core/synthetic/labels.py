"""What each pixel of a picture shows, by the training ids of Cityscapes."""

from __future__ import annotations

import numpy as np

from vpr_core.synthetic.camera import Camera, pixel_passage
from vpr_core.synthetic.conditions import CONDITIONS, Condition
from vpr_core.synthetic.ground import PAVEMENT_M, Ground
from vpr_core.synthetic.leaves import Passage
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Label, Material
from vpr_core.synthetic.view import View
from vpr_core.types import Pose


def label_image(
    camera: Camera,
    scene: Scene,
    pose: Pose,
    condition: Condition = CONDITIONS["noon"],
    *,
    pitch_rad: float = 0.0,
    passage: Passage | None = None,
) -> np.ndarray:
    """Values of Label, uint8 [height, width]: what the ray through the middle of each pixel meets first.

    The rays are those of `photograph` with the same arguments. Windows and doors belong to their building, the trunk
    of a tree to vegetation. Of the condition it matters only whether trees are bare. passage: the `pixel_passage` of
    these arguments, where it is known already.
    """
    view = View.of(pose, camera.position_base_m, pitch_rad)
    rays = view.rays(camera.rays_base)
    hits = (passage or pixel_passage(camera, scene, pose, condition, pitch_rad)).hits
    labels = np.full(len(rays), Label.SKY, np.uint8)
    met = np.nonzero(hits.face >= 0)[0]
    face = hits.face[met]
    labels[met] = scene.label[face]
    flat = met[scene.material[face] == Material.GROUND]
    points = view.origin_m + rays[flat] * hits.distance_m[flat, None]
    labels[flat] = _ground_labels(scene.ground, points.astype(np.float32))
    return labels.reshape(camera.height, camera.width)


def _ground_labels(ground: Ground, points_m: np.ndarray) -> np.ndarray:
    """Labels [N] of points [N, 3] on the ground; paved yards are for people on foot."""
    sample = ground.sample(points_m[:, 0], points_m[:, 1])
    paved = (sample.beyond_kerb_m < PAVEMENT_M) | (sample.paved > 0.5)
    return np.where(sample.beyond_kerb_m < 0, Label.ROAD, np.where(paved, Label.SIDEWALK, Label.TERRAIN))
