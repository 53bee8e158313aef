"""What rain and snow do to the colours of a dry summer's town."""

from __future__ import annotations

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.ground import PAVEMENT_M, GroundSample
from vpr_core.synthetic.materials import SNOW, Spots
from vpr_core.synthetic.streets import LANE_OFFSET_M
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.texture import bar, blotches, mixed, row

_SLUSH = (0.36, 0.35, 0.345)
_HALF_TRACK_M = 0.75
# A slope steeper than this sheds its snow: the upward part of the normal.
_SHEDS = {Material.GLASS: 0.8, Material.EVERGREEN: 0.1, Material.LEAVES: 0.4}


def weathered(
    colour: np.ndarray, spots: Spots, material: np.ndarray, ground: GroundSample, condition: Condition
) -> np.ndarray:
    """Reflectance [N, 3] of dry surfaces as rain and snow leave it."""
    if condition.wetness:
        colour = _wet(colour, spots, material, condition)
    if condition.snow:
        on_ground = material == Material.GROUND
        snow = np.where(on_ground, np.float32(0), _snow_on_things(spots, material)) * np.float32(condition.snow)
        colour = mixed(colour, SNOW, snow)
        chosen = np.nonzero(on_ground)[0]
        colour[chosen] = _snow_on_ground(colour[chosen], spots[chosen], ground[chosen], condition.snow)
    return colour


def _wet(colour: np.ndarray, spots: Spots, material: np.ndarray, condition: Condition) -> np.ndarray:
    """Water in the pores lets less light out; walls soak from above and below, in streaks."""
    x, y, z = spots.points_m.T
    soaked = np.full(len(colour), 0.1, np.float32)
    soaked[material == Material.GROUND] = 0.42
    soaked[material == Material.ROOF] = 0.3
    wall = material == Material.WALL
    streaks = blotches((x + y)[wall] * 2, z[wall] * np.float32(0.2), 2.0)
    soaked[wall] = 0.3 + 0.14 * streaks + 0.15 * np.exp(-z[wall] / np.float32(0.6))
    return colour * (1 - soaked * np.float32(condition.wetness))[:, None]


def _snow_on_things(spots: Spots, material: np.ndarray) -> np.ndarray:
    """Share [N] under snow, by how much a surface faces the sky."""
    x, y, z = spots.points_m.T
    sheds = np.array([_SHEDS.get(kind, 0.5) for kind in Material], np.float32)[material]
    upwards = spots.normals[:, 2] + 0.12 * blotches(x + z, y + z, 1.6)
    return np.clip((upwards - sheds) / 0.16, 0, 1)


def _snow_on_ground(colour: np.ndarray, spots: Spots, ground: GroundSample, snow: float) -> np.ndarray:
    """Deep on yards, trodden on pavements, ploughed to slush with bare tyre tracks on the road."""
    x, y = spots.points_m[:, 0], spots.points_m[:, 1]
    pixel = spots.pixel_along_m(np.array([1, 0, 0], np.float32)) + spots.pixel_along_m(np.array([0, 1, 0], np.float32))
    pixel, beyond = pixel / 2, ground.beyond_kerb_m
    rough = blotches(x, y, 1.1)
    white = row(SNOW) * (1 + 0.05 * blotches(x, y, 5.0) + 0.03 * rough)[:, None]
    trodden = bar(beyond, 0.5, PAVEMENT_M - 0.3, pixel + 0.35) * np.clip(0.35 + 0.3 * rough, 0, 1)
    side = mixed(white, _SLUSH, trodden)
    off_lane = np.abs(np.abs(ground.across_m) - np.float32(LANE_OFFSET_M)) + 0.05 * rough
    tracks = bar(off_lane, _HALF_TRACK_M - 0.24, _HALF_TRACK_M + 0.24, pixel + 0.18)
    # Where streets meet the tracks cross and wear the whole surface bare.
    open_road = np.clip((ground.to_crossing_m - 7) / 5, 0, 1)
    tracks = np.maximum(tracks * open_road, (1 - open_road) * np.clip(0.6 + 0.35 * rough, 0, 1))
    slush = mixed(np.broadcast_to(row(_SLUSH), white.shape), white, np.clip(0.12 + 0.45 * rough, 0, 1))
    ridge = np.clip((beyond + 0.9 + 0.15 * rough) / 0.6, 0, 1)
    slush = mixed(slush, white, ridge * open_road)
    road = mixed(slush, colour, tracks * (1 - ridge * open_road))
    covered = mixed(road, side, np.clip((beyond + 0.05 * rough) / (pixel + 0.12) + 0.5, 0, 1))
    return mixed(colour, covered, np.full(len(colour), snow, np.float32))


def mirror_share(spots: Spots, ground: GroundSample, condition: Condition) -> np.ndarray:
    """Share of light [N] that wet ground mirrors: Schlick's for water, where a film stands on the stones."""
    x, y = spots.points_m[:, 0], spots.points_m[:, 1]
    puddles = np.clip(0.72 + 0.5 * blotches(x, y, 5.0), 0.3, 1)
    film = np.where(ground.beyond_kerb_m < 0, puddles, puddles * np.float32(0.55))
    film = np.where((ground.beyond_kerb_m > PAVEMENT_M) & (ground.paved < 0.5), np.float32(0.03), film)
    if condition.snow:
        film = np.where(ground.beyond_kerb_m < -0.9, film, np.float32(0))
    return film * np.float32(condition.wetness) * (0.02 + 0.98 * (1 + spots.facing) ** 5)
