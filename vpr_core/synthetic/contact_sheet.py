"""One picture of a town: a row for every place, a column for every condition, and one for what each pixel shows."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vpr_core.synthetic.camera import Camera, photograph
from vpr_core.synthetic.conditions import CONDITIONS, condition_named
from vpr_core.synthetic.labels import label_image
from vpr_core.synthetic.lines import heading
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose

_TITLE_PX = 22
_GAP_PX = 3
_BETWEEN_S = 5.0
# The colours in which Cityscapes shows its classes, by training id; 255 is black.
_COLOURS = np.zeros((256, 3), np.uint8)
_COLOURS[:19] = [
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
    (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
]  # fmt: skip


def contact_sheet(
    town: Town,
    poses: int | Sequence[Pose] = 4,
    conditions: Sequence[str] = tuple(CONDITIONS),
    *,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> np.ndarray:
    """RGB uint8 [H, W, 3] of all places under all conditions, whose names stand above their columns; labels come last.

    poses: where the vehicle stands, or how many places to spread over the town's loop. size: (width, height) of each
    picture. seed: of the parked cars and the noise. Raises VprError on an unknown condition.
    """
    chosen = [condition_named(name) for name in conditions]
    camera, standing = Camera(*size), town.scene(seed)
    names = [*(condition.name for condition in chosen), "labels"]
    rows = [np.concatenate([_framed(_title(name, size[0])) for name in names], axis=1)]
    for number, pose in enumerate(spread(town, poses) if isinstance(poses, int) else poses):
        scene = standing.at(_BETWEEN_S * number)
        rng = np.random.default_rng([seed, number])
        pictures = [photograph(camera, scene, pose, each, town.sun_azimuth_rad, rng=rng) for each in chosen]
        labels = _COLOURS[label_image(camera, scene, pose)]
        rows.append(np.concatenate([_framed(picture) for picture in (*pictures, labels)], axis=1))
    return np.concatenate(rows)


def spread(town: Town, count: int) -> list[Pose]:
    """Poses on the right lane of the loop, evenly spread, along the street."""
    line_m = town.route("loop")
    yaw_rad = heading(line_m)
    chosen = ((np.arange(count) + 0.5) / count * len(line_m)).astype(int)
    return [Pose.from_xy_yaw(float(line_m[i, 0]), float(line_m[i, 1]), float(yaw_rad[i])) for i in chosen]


def _framed(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=255)


def _title(name: str, width: int) -> np.ndarray:
    title = np.full((_TITLE_PX, width, 3), 255, np.uint8)
    cv2.putText(title, name.replace("_", " "), (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    return title
