"""Augmentation of training clouds, in the order of MinkLoc++ and in metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_core.errors import RecipeError

_BLOCK_AREA = (0.02, 0.33)
_BLOCK_ASPECT = (0.3, 3.3)


@dataclass(frozen=True)
class CloudAugmentation:
    """How much clouds are changed. 0 leaves a step out.

    Args:
        jitter_m: standard deviation of each point's noise, on each axis [m].
        jitter_clip_m: largest noise [m].
        removed: up to this share of the points is left out.
        translation_m: standard deviation of a shift of the whole cloud, on each axis [m].
        block: probability that an upright box is cut out, of 0.02 to 0.33 of the cloud's area.
        rotation_deg: largest turn about z, one for the whole batch.
        flip_x: probability that the whole batch is mirrored, x to -x; a mirrored street is another street.
        flip_y: as flip_x, for y; never both.
    """

    jitter_m: float = 0.02
    jitter_clip_m: float = 0.04
    removed: float = 0.1
    translation_m: float = 0.2
    block: float = 0.4
    rotation_deg: float = 5.0
    flip_x: float = 0.0
    flip_y: float = 0.0

    def __post_init__(self) -> None:
        if min(self.jitter_m, self.jitter_clip_m, self.translation_m, self.rotation_deg, self.flip_x, self.flip_y) < 0:
            raise RecipeError("cloud_augmentation: no amount may be below 0")
        if not (0 <= self.removed < 1 and 0 <= self.block <= 1 and self.flip_x + self.flip_y <= 1):
            raise RecipeError("cloud_augmentation: removed lies in [0, 1), block and flip_x + flip_y in [0, 1]")


def augment_clouds(
    clouds: Sequence[np.ndarray], amount: CloudAugmentation, rng: np.random.Generator
) -> list[np.ndarray]:
    """Clouds [N_i, 3+] (x, y, z [m] first) changed each by itself, then turned and mirrored together.

    Removed points are dropped; upstream moves them to the origin, which adds a voxel there to every cloud. A cloud of
    which nothing would be left keeps its block.
    """
    changed = [_one_cloud(cloud, amount, rng) for cloud in clouds]
    turn = _turn(amount, rng)
    for cloud in changed:
        cloud[:, :2] = cloud[:, :2] @ turn
    return changed


def _one_cloud(cloud: np.ndarray, amount: CloudAugmentation, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, amount.jitter_m, (len(cloud), 3))
    points = cloud.copy()
    points[:, :3] += noise.clip(-amount.jitter_clip_m, amount.jitter_clip_m)
    points = points[rng.random(len(points)) >= rng.uniform(0, amount.removed)]
    points[:, :3] += rng.normal(0, amount.translation_m, 3)
    if rng.random() < amount.block:
        points = _without_block(points, rng)
    return points if len(points) else cloud.copy()


def _without_block(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    area, aspect = rng.uniform(*_BLOCK_AREA), rng.uniform(*_BLOCK_ASPECT)
    corner = rng.random(2)
    if not len(points):
        return points
    low = points[:, :2].min(axis=0)
    span = points[:, :2].max(axis=0) - low
    area_m2 = area * span[0] * span[1]
    size = np.array([math.sqrt(area_m2 / aspect), math.sqrt(area_m2 * aspect)])
    offset = points[:, :2] - (low + corner * (span - size))
    kept = points[~((offset > 0) & (offset < size)).all(axis=1)]
    return kept if len(kept) else points


def _turn(amount: CloudAugmentation, rng: np.random.Generator) -> np.ndarray:
    """[2, 2] float32, for points as rows."""
    angle = math.radians(rng.uniform(-amount.rotation_deg, amount.rotation_deg))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=np.float32)
    chance = rng.random()
    if chance < amount.flip_x:
        turn[:, 0] *= -1
    elif chance < amount.flip_x + amount.flip_y:
        turn[:, 1] *= -1
    return turn
