"""What light arrives along rays: sky, sun, street lamps, headlights and fog over the colours of the town."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.ground import GroundSample
from vpr_core.synthetic.leaves import Passage, cast, shaded
from vpr_core.synthetic.materials import Spots, ground_colour, leaf_colour, mirrored_sky, roof_colour
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.texture import clouds, dot, grain, row
from vpr_core.synthetic.walls import wall_colour
from vpr_core.synthetic.weathering import mirror_share, weathered

_LAMP_COLOUR = row((1.0, 0.74, 0.42))
_HEADLIGHT_COLOUR = row((1.0, 0.95, 0.85))
_LAMP_GLARE = 6.0
_TWIGS = row((0.10, 0.085, 0.075))
# Beyond this, and where it would mirror less, wet ground is drawn without a reflection.
_MIRRORS_WITHIN_M = 60.0
_LEAST_MIRROR = 0.04
_AROUND_THE_SUN = ((0.0, 0.0), (0.012, 0.0), (-0.012, 0.0), (0.0, 0.012), (0.0, -0.012))


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
    scene: Scene,
    light: Light,
    origins_m: np.ndarray,
    directions: np.ndarray,
    passage: Passage,
    pixel_rad: float,
    *,
    mirrors: bool = True,
) -> np.ndarray:
    """Linear RGB [N, 3] float32 that arrives at origins [3] or [N, 3] along rays [N, 3] with this passage.

    mirrors: wet ground shows what it reflects; what is seen in it does not again.
    """
    condition, hits = light.condition, passage.hits
    out = np.empty_like(directions)
    missed = np.nonzero(hits.face < 0)[0]
    if len(missed):
        out[missed] = _sky(light, directions[missed])
    met = np.nonzero(hits.face >= 0)[0]
    if not len(met):
        return _behind_twigs(light, out, directions, passage)
    face, distance = hits.face[met], hits.distance_m[met]
    rays = directions[met]
    points = np.broadcast_to(row(origins_m), directions.shape)[met] + rays * distance[:, None]
    material = scene.material[face]
    normals = _towards_camera(scene.normals[face], rays, material)
    spots = Spots(points, rays, normals, distance * np.float32(pixel_rad), face)
    ground = scene.ground.sample(points[:, 0], points[:, 1])
    colour, glow = _surface_colours(scene, light, spots, material, ground)
    colour = weathered(colour, spots, material, ground, condition)
    seen = colour * _arriving(scene, light, spots, material, ground) + glow
    if mirrors and condition.wetness:
        wet = np.nonzero((material == Material.GROUND) & (distance < _MIRRORS_WITHIN_M))[0]
        _add_mirrored(scene, light, spots[wet], ground[wet], seen, wet, pixel_rad)
    clear = np.exp(-np.float32(condition.fog_per_m) * distance)[:, None]
    out[met] = seen * clear + _haze(light, rays) * (1 - clear)
    return _behind_twigs(light, out, directions, passage)


def _add_mirrored(
    scene: Scene,
    light: Light,
    spots: Spots,
    ground: GroundSample,
    seen: np.ndarray,
    rows: np.ndarray,
    pixel_rad: float,
) -> None:
    """Adds to `seen`, at these rows, what the film of water on the ground reflects."""
    # Less by the least share, so that no edge shows where reflections end.
    share = (mirror_share(spots, ground, light.condition) - _LEAST_MIRROR) / np.float32(1 - _LEAST_MIRROR)
    strong = np.nonzero(share > 0)[0]
    if not len(strong):
        return
    spots, share = spots[strong], share[strong][:, None]
    x, y = spots.points_m[:, 0], spots.points_m[:, 1]
    rays = spots.directions * row((1, 1, -1))
    # Stones that stand out of the film tilt it: images of far things are drawn out towards the camera.
    tilt = grain(x, y, 0.03) + grain(y, x, 0.11)
    rays[:, 2] = np.abs(rays[:, 2] * (1 + 0.22 * tilt)) + np.float32(0.004)
    rays /= np.sqrt(dot(rays, rays))[:, None]
    origins = spots.points_m + row((0, 0, 0.02))
    passage = cast(scene, origins, rays, light.condition, most_faces=4)
    # Whether the sun shines on what is mirrored hardly shows in an image so broken: no rays are spent on it.
    light = replace(light, condition=replace(light.condition, sun=(0.0, 0.0, 0.0)))
    found = radiance(scene, light, origins, rays, passage, pixel_rad * 2, mirrors=False)
    chosen = rows[strong]
    seen[chosen] = seen[chosen] * (1 - share) + np.minimum(found, 4.0) * share


def _behind_twigs(light: Light, seen: np.ndarray, directions: np.ndarray, passage: Passage) -> np.ndarray:
    """What rays brought, through the twigs of bare trees on their way."""
    rows = np.nonzero(passage.fallen)[0]
    if len(rows):
        clear = np.exp(-np.float32(light.condition.fog_per_m) * passage.twigs_m[rows])[:, None]
        lit = _TWIGS * (row(light.condition.ambient) * np.float32(0.8) + row(light.condition.sun) * np.float32(0.3))
        twigs = lit * clear + _haze(light, directions[rows]) * (1 - clear)
        seen[rows] += (twigs - seen[rows]) * passage.twig_share[rows][:, None]
    return seen


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
    sky += (towards_sun**6)[:, None] * row(condition.glow)
    if condition.glare and any(condition.sun):
        disc = 14 * np.clip((towards_sun - np.float32(0.99985)) / np.float32(0.00006), 0, 1) + 1.1 * towards_sun**180
        sky += (condition.glare * disc)[:, None] * row(condition.sun) * np.float32(0.5)
    return sky


def glare(scene: Scene, light: Light, origin_m: np.ndarray) -> float:
    """How much of the sun a lens at a point [3] sees past what stands before it, 0 to 1 times the condition's glare."""
    if not light.condition.glare or not any(light.condition.sun):
        return 0.0
    sun = light.sun_direction
    side = row((-sun[1], sun[0], 0))
    rays = np.stack([sun + side * dx + row((0, 0, dz)) for dx, dz in _AROUND_THE_SUN]).astype(np.float32)
    rays /= np.sqrt(dot(rays, rays))[:, None]
    passage = cast(scene, origin_m, rays, light.condition)
    return light.condition.glare * float(np.mean(passage.hits.face < 0))


def veil(light: Light, directions: np.ndarray, strength: float) -> np.ndarray:
    """[N, 3] light of a sun seen with this strength that the lens spreads over its picture."""
    towards_sun = np.maximum(directions @ light.sun_direction, 0)
    return (strength * (0.035 + 0.22 * towards_sun**14))[:, None] * row(light.condition.sun)


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
    blocked = shaded(scene, spots.points_m[lit], spots.normals[lit], light.sun_direction, light.condition)
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
