"""Colour of what a ray met: reflectance and own light of every material, drawn from coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.ground import PAVEMENT_M, GroundSample
from vpr_core.synthetic.streets import ROAD_HALF_WIDTH_M
from vpr_core.synthetic.texture import bar, blotches, dot, grain, hashed, mixed, row

SNOW = (0.80, 0.82, 0.86)
_ASPHALT = (0.105, 0.105, 0.11)
_PAINT = (0.62, 0.62, 0.60)
_SLAB = (0.33, 0.31, 0.29)
_KERB = (0.42, 0.41, 0.39)
_GRASS = (0.085, 0.125, 0.04)
_PAVING = (0.27, 0.25, 0.23)


@dataclass(frozen=True)
class Spots:
    """N points on surfaces as one camera sees them; arrays are float32 unless said."""

    points_m: np.ndarray
    """[N, 3]."""
    directions: np.ndarray
    """[N, 3] unit, from the camera to the point."""
    normals: np.ndarray
    """[N, 3] unit, towards the camera except on leaves."""
    pixel_m: np.ndarray
    """[N] width of a pixel at the point, across the ray."""
    face: np.ndarray
    """[N] int32."""

    def __getitem__(self, chosen: np.ndarray) -> Spots:
        return Spots(
            self.points_m[chosen],
            self.directions[chosen],
            self.normals[chosen],
            self.pixel_m[chosen],
            self.face[chosen],
        )

    def pixel_along_m(self, axis: np.ndarray) -> np.ndarray:
        """[N] width of a pixel laid on the surface, measured along a unit axis of the surface, [3] or [N, 3].

        A ray that leans towards the axis smears its pixel along it: the vector that a turn of the ray moves the point
        by has the component axis - n (d . axis) / (d . n).
        """
        lean = dot(self.directions, np.broadcast_to(axis, self.directions.shape)) / self.facing
        return self.pixel_m * np.sqrt(1 + lean * lean)

    @cached_property
    def facing(self) -> np.ndarray:
        """[N] cosine between ray and normal, negative, never quite zero."""
        return np.minimum(dot(self.directions, self.normals), np.float32(-0.02))


def ground_colour(spots: Spots, ground: GroundSample) -> np.ndarray:
    """Reflectance [N, 3] of road, markings, kerb, pavement and yards."""
    x, y = spots.points_m[:, 0], spots.points_m[:, 1]
    zero = np.zeros_like(ground.heading_rad)
    sin, cos = np.sin(ground.heading_rad), np.cos(ground.heading_rad)
    along_px = spots.pixel_along_m(np.stack([cos, sin, zero], axis=1))
    across_px = spots.pixel_along_m(np.stack([-sin, cos, zero], axis=1))
    coarse = np.maximum(along_px, across_px)
    rough = grain(x, y, 0.04) * (0.35 / (1 + (coarse / 0.06) ** 2)) + blotches(x, y, 3.0) * 0.14
    road = row(_ASPHALT) * (1 + rough)[:, None]
    road = mixed(road, _PAINT, _markings(ground, along_px, across_px) * (0.85 + 0.15 * grain(x, y, 0.06)))
    side = _beside_road(ground, x, y, along_px, across_px)
    return mixed(road, side, bar(ground.beyond_kerb_m, 0.0, 1e3, across_px))


def _markings(ground: GroundSample, along_px: np.ndarray, across_px: np.ndarray) -> np.ndarray:
    """Share of road paint, [N]."""
    across, off_middle = ground.across_m, np.abs(ground.across_m)
    open_road = bar(ground.to_crossing_m, 12.0, 1e3, along_px)
    dashes = bar(ground.along_m % 6.0, 1.5, 4.5, along_px) * bar(across, -0.07, 0.07, across_px)
    parking = bar(off_middle, ROAD_HALF_WIDTH_M - 2.1, ROAD_HALF_WIDTH_M - 2.0, across_px)
    stripes = bar(across % 1.0, 0.25, 0.75, across_px) * bar(ground.to_crossing_m, 7.6, 10.4, along_px)
    zebra = stripes * (ground.paved > 0.5) * (off_middle < ROAD_HALF_WIDTH_M - 0.4)
    stop = bar(ground.to_crossing_m, 11.0, 11.4, along_px) * (off_middle < ROAD_HALF_WIDTH_M - 2.1)
    return np.clip((dashes + parking) * open_road + zebra + stop * (off_middle > 0.1), 0, 1)


def _beside_road(
    ground: GroundSample, x: np.ndarray, y: np.ndarray, along_px: np.ndarray, across_px: np.ndarray
) -> np.ndarray:
    """Reflectance [N, 3] of kerb, pavement and yard."""
    beyond = ground.beyond_kerb_m
    joints = 1 - bar(ground.along_m % 0.6, 0.02, 0.58, along_px) * bar(beyond % 0.6, 0.02, 0.58, across_px)
    tone = 1 + 0.08 * grain(ground.along_m, beyond, 0.6) + 0.1 * blotches(x, y, 2.5) - 0.3 * np.clip(joints, 0, 1)
    pavement = row(_SLAB) * tone[:, None]
    pavement = mixed(pavement, _KERB, bar(beyond, 0.0, 0.18, across_px))
    tufts = 1 + 0.3 * grain(x, y, 0.08) / (1 + (across_px / 0.08) ** 2) + 0.3 * blotches(x, y, 4.0)
    yard = mixed(np.broadcast_to(row(_GRASS), (len(x), 3)), _PAVING, ground.paved) * tufts[:, None]
    return mixed(pavement, yard, bar(beyond, PAVEMENT_M, 1e3, across_px))


def roof_colour(spots: Spots, colour: np.ndarray) -> np.ndarray:
    """Reflectance [N, 3] of rows of tiles."""
    points, normals = spots.points_m, spots.normals
    level = np.hypot(normals[:, 0], normals[:, 1]) + np.float32(1e-3)
    across = (normals[:, 0] * points[:, 1] - normals[:, 1] * points[:, 0]) / level
    up = points[:, 2] / level
    fade = 1 / (1 + (spots.pixel_m / -spots.facing / 0.25) ** 2)
    rows = bar(up % 0.35, 0.0, 0.09, spots.pixel_m / -spots.facing)
    tone = 1 + (0.16 * grain(across, up, 0.35) - 0.35 * rows) * fade + 0.15 * blotches(across, up, 3.0)
    return colour * tone[:, None]


def leaf_colour(spots: Spots, colour: np.ndarray) -> np.ndarray:
    """Reflectance [N, 3] of leaves."""
    x, y, z = spots.points_m.T
    tone = 1 + 0.3 * grain(x + 0.7 * y, z + 0.4 * y, 0.13) / (1 + (spots.pixel_m / 0.12) ** 2)
    return colour * tone[:, None]


def mirrored_sky(spots: Spots, condition: Condition) -> np.ndarray:
    """[N, 3] light of the sky in the direction that a flat mirror shows, by Schlick's share of reflection."""
    facing = -spots.facing
    upwards = spots.directions[:, 2] + 2 * facing * spots.normals[:, 2]
    height = np.clip(upwards, 0, 1)[:, None]
    low, high = row(condition.sky_horizon), row(condition.sky_zenith)
    sky = np.where(upwards[:, None] > -0.05, low + (high - low) * height, low * np.float32(0.25))
    return sky * (0.05 + 0.95 * (1 - facing) ** 5)[:, None]


def window_lamps(condition: Condition, seed: int, *cell: np.ndarray) -> np.ndarray:
    """[N] brightness of the lamp behind each window; other windows are lit on every drive."""
    return (hashed(seed, *cell) < condition.lit_windows) * (0.4 + 0.6 * hashed(seed + 1, *cell)) * condition.window_glow
