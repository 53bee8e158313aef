"""A forward-looking pinhole camera and the pictures that it takes of a scene."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.leaves import Passage, cast
from vpr_core.synthetic.lens import precipitation
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.shading import Light, glare, radiance, veil
from vpr_core.synthetic.view import View
from vpr_core.types import Pose

_HEADLIGHT_BASE_M = (2.0, 0.0, 0.65)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera; the image is [height, width]. Optical frame: x right, y down, z forward."""

    width: int = 320
    height: int = 240
    field_of_view_rad: float = math.radians(80)
    """From the left to the right edge of the image."""
    position_base_m: tuple[float, float, float] = (1.0, 0.0, 1.6)
    tilt_rad: float = math.radians(5)
    """Upwards, so that façades fill more of the picture than the road does."""

    @property
    def focal_px(self) -> float:
        return self.width / 2 / math.tan(self.field_of_view_rad / 2)

    @property
    def matrix(self) -> np.ndarray:
        """K, [3, 3] float64; pixel centres have whole coordinates."""
        cx, cy = (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[self.focal_px, 0.0, cx], [0.0, self.focal_px, cy], [0.0, 0.0, 1.0]])

    @property
    def T_base_camera(self) -> np.ndarray:
        """[4, 4] float64: coordinates in the optical frame to coordinates in base_link."""
        cos, sin = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        transform = np.eye(4)
        transform[:3, :3] = np.array([[0.0, sin, cos], [-1.0, 0.0, 0.0], [0.0, -cos, sin]])
        transform[:3, 3] = self.position_base_m
        return transform

    @cached_property
    def rays_base(self) -> np.ndarray:
        """[height * width, 3] unit directions in base_link, row by row."""
        return self.directions_base(*np.meshgrid(np.arange(self.width), np.arange(self.height)))

    def directions_base(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Unit directions [N, 3] in base_link of pixel coordinates, which need not be whole."""
        cx, cy = self.matrix[0, 2], self.matrix[1, 2]
        right, down = (columns.ravel() - cx) / self.focal_px, (rows.ravel() - cy) / self.focal_px
        rays = np.stack([right, down, np.ones_like(right)], axis=1)
        return (rays / np.linalg.norm(rays, axis=1, keepdims=True)) @ self.T_base_camera[:3, :3].T


def pixel_passage(camera: Camera, scene: Scene, pose: Pose, condition: Condition, pitch_rad: float = 0.0) -> Passage:
    """What the rays through the middles of all pixels meet, row by row."""
    view = View.of(pose, camera.position_base_m, pitch_rad)
    return cast(scene, view.origin_m, view.rays(camera.rays_base), condition)


def photograph(
    camera: Camera,
    scene: Scene,
    pose: Pose,
    condition: Condition,
    sun_azimuth_rad: float,
    *,
    pitch_rad: float = 0.0,
    rng: np.random.Generator | None = None,
    passage: Passage | None = None,
) -> np.ndarray:
    """RGB uint8 [height, width, 3].

    `rng` brings exposure drift, sensor noise and what falls or sticks to the lens; without it there are none.
    passage: the `pixel_passage` of these arguments, where it is known already.
    """
    view = View.of(pose, camera.position_base_m, pitch_rad)
    head = View.of(pose, _HEADLIGHT_BASE_M)
    light = Light(condition, sun_azimuth_rad, head.origin_m, head.turn[:, 0], cloud_shift=scene.seed % 251)
    pixel_rad = 1.0 / camera.focal_px
    dazzled = glare(scene, light, view.origin_m) * max(float(light.sun_direction @ view.turn[:, 0]), 0.0)

    def look(directions_base: np.ndarray, met: Passage | None = None) -> np.ndarray:
        rays = view.rays(directions_base)
        met = met or cast(scene, view.origin_m, rays, condition)
        seen = radiance(scene, light, view.origin_m, rays, met, pixel_rad)
        if dazzled:
            seen = (seen + veil(light, rays, dazzled)) * np.float32(1 / (1 + 0.5 * dazzled))
        return _developed(seen, condition)

    image = look(camera.rays_base, passage).reshape(camera.height, camera.width, 3)
    _smooth_edges(camera, image, look)
    return _sensed(image, condition, rng)


def _developed(linear: np.ndarray, condition: Condition) -> np.ndarray:
    """Display values in [0, 1] from linear light: exposure, soft highlights, gamma."""
    exposed = 1 - np.exp(-linear * np.float32(condition.exposure))
    return np.sqrt(np.maximum(exposed, 0))


def _smooth_edges(camera: Camera, image: np.ndarray, look: Callable[[np.ndarray], np.ndarray]) -> None:
    """Averages pixels with strong contrast to a neighbour over further rays, in place."""
    grey = image.mean(axis=2)
    contrast = np.zeros_like(grey)
    step = np.abs(np.diff(grey, axis=1))
    contrast[:, 1:], contrast[:, :-1] = step, np.maximum(contrast[:, :-1], step)
    step = np.abs(np.diff(grey, axis=0))
    contrast[1:] = np.maximum(contrast[1:], step)
    contrast[:-1] = np.maximum(contrast[:-1], step)
    rows, columns = np.nonzero(contrast > 0.09)
    if not len(rows):
        return
    shifts = ((-0.35, -0.2), (0.3, -0.25), (0.05, 0.35))
    directions = [camera.directions_base(columns + dx, rows + dy) for dx, dy in shifts]
    found = look(np.concatenate(directions)).reshape(len(shifts), -1, 3)
    image[rows, columns] = (image[rows, columns] + found.sum(axis=0)) / (len(shifts) + 1)


def _sensed(image: np.ndarray, condition: Condition, rng: np.random.Generator | None) -> np.ndarray:
    if rng is not None:
        image = precipitation(image, condition, rng)
        image = image * np.float32(1 + rng.normal(0, 0.03))
        grain = rng.standard_normal(image.shape, np.float32)
        image = image + grain * (np.float32(condition.noise) * (1.5 - 0.5 * image))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """RGB uint8 [H, W, 3] as the bytes of a JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
