"""What light arrives along rays: sky, sun, street lamps, headlights and fog over the colours of the town."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.ground import GroundSample
from vpr_core.synthetic.materials import Spots, ground_colour, leaf_colour, mirrored_sky, roof_colour
from vpr_core.synthetic.scene import Hits, Scene
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.texture import clouds, dot, row
from vpr_core.synthetic.walls import wall_colour

_LAMP_COLOUR = row((1.0, 0.74, 0.42))
_HEADLIGHT_COLOUR = row((1.0, 0.95, 0.85))
_LAMP_GLARE = 6.0


@dataclass(frozen=True)
class Light:
    """A condition at one place and on one drive."""

    condition: Condition
    sun_azimuth_rad: float
    headlight_m: np.ndarray
    """[3] between the headlights of the vehicle, map frame."""
    forward: np.ndarray
    """[3] unit heading of the vehicle."""
    cloud_shift: float = 0.0

    @property
    def sun_direction(self) -> np.ndarray:
        """[3] unit, towards the sun."""
        level = math.cos(self.condition.sun_elevation_rad)
        azimuth = self.sun_azimuth_rad
        return row((level * math.cos(azimuth), level * math.sin(azimuth), math.sin(self.condition.sun_elevation_rad)))


def radiance(
    scene: Scene, light: Light, origin_m: np.ndarray, directions: np.ndarray, hits: Hits, pixel_rad: float
) -> np.ndarray:
    """Linear RGB [N, 3] float32 that arrives at origin [3] along rays [N, 3] which met `hits`."""
    condition = light.condition
    out = np.empty_like(directions)
    missed = np.nonzero(hits.face < 0)[0]
    out[missed] = _sky(light, directions[missed])
    met = np.nonzero(hits.face >= 0)[0]
    face, distance = hits.face[met], hits.distance_m[met]
    rays = directions[met]
    points = row(origin_m) + rays * distance[:, None]
    material = scene.material[face]
    normals = _towards_camera(scene.normals[face], rays, material)
    spots = Spots(points, rays, normals, distance * np.float32(pixel_rad), face)
    ground = scene.ground.sample(points[:, 0], points[:, 1])
    colour, glow = _surface_colours(scene, light, spots, material, ground)
    seen = colour * _arriving(scene, light, spots, material, ground) + glow
    clear = np.exp(-np.float32(condition.fog_per_m) * distance)[:, None]
    out[met] = seen * clear + _haze(light, rays) * (1 - clear)
    return out


def _is_leaf(material: np.ndarray) -> np.ndarray:
    return (material == Material.LEAVES) | (material == Material.EVERGREEN)


def _towards_camera(normals: np.ndarray, rays: np.ndarray, material: np.ndarray) -> np.ndarray:
    away = (dot(normals, rays) > 0) & ~_is_leaf(material)
    return normals * np.where(away, np.float32(-1), np.float32(1))[:, None]


def _sky(light: Light, directions: np.ndarray) -> np.ndarray:
    condition = light.condition
    height = np.maximum(directions[:, 2], 0)
    low, high = row(condition.sky_horizon), row(condition.sky_zenith)
    sky = low + (high - low) * (height**0.55)[:, None]
    if condition.clouds and len(directions):
        veil = _cloud_share(light, directions)[:, None]
        sky += veil * (low * np.float32(1.1) - sky * np.float32(0.8))
    towards_sun = np.maximum(directions @ light.sun_direction, 0)
    return sky + (towards_sun**6)[:, None] * row(condition.glow)


def _cloud_share(light: Light, directions: np.ndarray) -> np.ndarray:
    """Clouds on a plane far above, [N] in [0, 1]."""
    reach = 40.0 / np.maximum(directions[:, 2], 0.03)
    u = (directions[:, 0] * reach + light.cloud_shift).astype(np.float32)
    v = (directions[:, 1] * reach).astype(np.float32)
    cover = clouds(u, v)
    near_horizon = np.clip(directions[:, 2] * 6, 0, 1)
    return np.clip(cover * 1.2 + light.condition.clouds * 2 - 0.7, 0, 0.9) * near_horizon


def _haze(light: Light, rays: np.ndarray) -> np.ndarray:
    """Light that fog scatters into the ray, [N, 3]."""
    towards_sun = np.maximum(rays @ light.sun_direction, 0)
    return row(light.condition.sky_horizon) + (towards_sun**4)[:, None] * row(light.condition.glow) * 0.5


def _surface_colours(
    scene: Scene, light: Light, spots: Spots, material: np.ndarray, ground: GroundSample
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance and own light of all spots, both [N, 3]."""
    condition = light.condition
    colour = scene.colour[spots.face]
    glow = np.zeros_like(colour)

    def at(*kinds: Material) -> np.ndarray:
        return np.nonzero(np.isin(material, kinds))[0]

    if len(chosen := at(Material.GROUND)):
        colour[chosen] = ground_colour(spots[chosen], ground[chosen])
    if len(chosen := at(Material.WALL)):
        rows = scene.owner[spots.face[chosen]]
        colour[chosen], glow[chosen] = wall_colour(spots[chosen], scene.facades, rows, condition, scene.seed)
    if len(chosen := at(Material.ROOF)):
        colour[chosen] = roof_colour(spots[chosen], colour[chosen])
    if len(chosen := at(Material.LEAVES, Material.EVERGREEN)):
        colour[chosen] = leaf_colour(spots[chosen], colour[chosen])
    if len(chosen := at(Material.PAINT, Material.GLASS)):
        glow[chosen] = mirrored_sky(spots[chosen], condition) * 0.9
    if condition.lamps and len(chosen := at(Material.LAMP)):
        glow[chosen] = _LAMP_COLOUR * _LAMP_GLARE
    return colour, glow


def _arriving(scene: Scene, light: Light, spots: Spots, material: np.ndarray, ground: GroundSample) -> np.ndarray:
    """Light that falls on all spots, [N, 3]."""
    condition = light.condition
    upwards = spots.normals[:, 2]
    height = spots.points_m[:, 2]
    openness = ground.openness + (1 - ground.openness) * np.clip(height / 8, 0, 1)
    openness = np.where(material == Material.GROUND, openness * scene.open_beside_cars(spots.points_m), openness)
    arriving = row(condition.ambient) * ((0.62 + 0.38 * upwards) * openness)[:, None]
    if any(condition.glow) and not any(condition.sun):
        level = np.maximum(spots.normals @ light.sun_direction, 0) * openness
        arriving += level[:, None] * row(condition.glow) * np.float32(0.3)
    if any(condition.sun):
        arriving += _sunlight(scene, light, spots, material)[:, None] * row(condition.sun)
    if condition.lamps:
        lamps = ground.lamp_light * np.clip(1 - height / 9, 0.05, 1) * condition.lamps
        arriving += lamps[:, None] * _LAMP_COLOUR
    if condition.headlights:
        arriving += _headlights(light, spots, material)[:, None] * _HEADLIGHT_COLOUR
    return arriving


def _sunlight(scene: Scene, light: Light, spots: Spots, material: np.ndarray) -> np.ndarray:
    """Share of the sun's light that each spot takes in, [N]."""
    leaves = _is_leaf(material)
    cosine = spots.normals @ light.sun_direction
    cosine = np.where(leaves, np.clip(0.45 + 0.55 * cosine, 0, 1) ** 1.5, np.maximum(cosine, 0))
    lit = np.nonzero(cosine > 0.001)[0]
    blocked = scene.blocked(spots.points_m[lit], spots.normals[lit], light.sun_direction)
    cosine[lit] *= 1 - blocked * np.where(leaves[lit], np.float32(0.55), np.float32(1.0))
    return cosine


def _headlights(light: Light, spots: Spots, material: np.ndarray) -> np.ndarray:
    """Light of the vehicle's own low beams, [N]; signs and reflectors throw it straight back."""
    away = spots.points_m - row(light.headlight_m)
    ahead = np.maximum(away @ row(light.forward), 0.3)
    side = (away[:, 0] * -light.forward[1] + away[:, 1] * light.forward[0]) / ahead
    lift = away[:, 2] / ahead
    beam = np.exp(-((side / 0.42) ** 2)) * (0.07 + 0.93 / (1 + np.exp(np.clip((lift + 0.005) * 60, -30, 30))))
    squared = dot(away, away)
    facing = -dot(spots.normals, away) / np.sqrt(squared)
    facing = np.where(_is_leaf(material), np.float32(0.5), np.maximum(facing, 0.02))
    retroreflects = (material == Material.SIGN) | (material == Material.REFLECTOR)
    thrown_back = np.where(retroreflects, np.float32(12), np.float32(1))
    return light.condition.headlights * 9 * beam * facing * thrown_back / (squared + 9)
