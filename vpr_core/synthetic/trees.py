"""Trees: a trunk, branches, a dark inner crown and a shell of loose leaves that lets light and LiDAR beams through.

A town grows a few models of every shape and plants them turned, scaled and tinted.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import trimesh

from vpr_core.synthetic.surface import Material, Placement, Surface, SurfaceBuilder

_BARK = (0.13, 0.10, 0.08)
_HERE = Placement(0.0, 0.0)


class TreeShape(enum.IntEnum):
    ROUND = 0
    TALL = 1
    CONIFER = 2


@dataclass(frozen=True)
class Forest:
    """Models of trees with their foot at the origin: near ones with many small leaves, far ones with few large."""

    near: dict[TreeShape, list[Surface]]
    far: dict[TreeShape, list[Surface]]

    @classmethod
    def grow(cls, rng: np.random.Generator) -> Forest:
        near = {shape: [_model(rng, shape, 0.15, 950) for _ in range(4)] for shape in TreeShape}
        far = {shape: [_model(rng, shape, 0.28, 200) for _ in range(3)] for shape in TreeShape}
        return cls(near, far)

    def plant(
        self,
        builder: SurfaceBuilder,
        rng: np.random.Generator,
        at: Placement,
        shape: TreeShape,
        *,
        owner: int,
        far: bool = False,
    ) -> None:
        """One tree with its foot at the placement."""
        models = (self.far if far else self.near)[shape]
        model = models[int(rng.integers(len(models)))]
        turned = Placement(at.x_m, at.y_m, rng.uniform(0, 2 * math.pi))
        vertices = turned.to_map(model.vertices_m * rng.uniform(0.75, 1.2))
        normals = Placement(0.0, 0.0, turned.yaw_rad).to_map(model.normals)
        tint = rng.uniform(0.8, 1.2) * (1 + rng.normal(0, 0.06, 3))
        builder.add(vertices, model.faces, model.material, model.colour * tint, owner=owner, normals=normals)


def _model(rng: np.random.Generator, shape: TreeShape, leaf_m: float, leaves: int) -> Surface:
    builder = SurfaceBuilder()
    if shape == TreeShape.CONIFER:
        _add_conifer(builder, rng, leaf_m, leaves)
    else:
        _add_broadleaf(builder, rng, shape, leaf_m, leaves)
    return builder.build()


def _add_broadleaf(
    builder: SurfaceBuilder, rng: np.random.Generator, shape: TreeShape, leaf_m: float, leaves: int
) -> None:
    height_m = rng.uniform(6.0, 7.5) if shape == TreeShape.ROUND else rng.uniform(9.0, 11.0)
    clear_m = rng.uniform(2.1, 2.7)
    wide = rng.uniform(0.4, 0.5) if shape == TreeShape.ROUND else rng.uniform(0.2, 0.26)
    half_m, radius_m = (height_m - clear_m) / 2, (height_m - clear_m) * wide
    builder.post(_HERE, (0.16, 0.1), (0.0, clear_m + 1.0), Material.PLAIN, _BARK)
    _add_branches(builder, clear_m, height_m, radius_m, fine=leaves > 500)
    middle = np.array([0.0, 0.0, clear_m + half_m])
    colour = np.array([0.095, 0.145, 0.045]) * (1 + rng.normal(0, 0.08, 3))
    lobes = 5 if shape == TreeShape.ROUND else 4
    for lobe in range(lobes):
        angle, lift = rng.uniform(0, 2 * math.pi), (lobe + 0.5) / lobes * 2 - 1
        reach = radius_m * 0.42 * (1 - abs(lift) * 0.5)
        centre = middle + [reach * math.cos(angle), reach * math.sin(angle), lift * half_m * 0.5]
        radii = np.array([radius_m * 0.66, radius_m * 0.66, half_m * 0.52])
        ball = trimesh.creation.icosphere(subdivisions=1)
        core = centre + ball.vertices * rng.uniform(0.7, 0.92, (len(ball.vertices), 1)) * radii
        normals = _outward(core[ball.faces], middle)
        builder.add(core, ball.faces, Material.LEAVES, colour * 0.7, normals=normals)
        direction = rng.normal(size=(leaves // lobes, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        spots = centre + direction * radii * rng.uniform(0.75, 1.12, (len(direction), 1))
        _add_leaves(builder, rng, spots, leaf_m, middle, colour)


def _add_branches(builder: SurfaceBuilder, clear_m: float, height_m: float, radius_m: float, *, fine: bool) -> None:
    """A leader with limbs into the crown, each forking into ever thinner branches; drawn in any order of seeds."""
    rng = np.random.default_rng([3, round(1000 * height_m)])
    top = np.array([0.0, 0.0, height_m * 0.97])
    begin, end, radius = np.array([[0.0, 0.0, clear_m]]), top[None], np.array([0.11])
    _add_twigs(builder, begin, end, radius)
    middle, half_m = (clear_m + height_m) / 2, (height_m - clear_m) / 2
    count = 13 if fine else 8
    level = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * 2.4 + rng.normal(0, 0.3, count)
    foot_m = clear_m - 0.3 + level * half_m * 1.5
    tip_m = foot_m + (height_m - foot_m) * rng.uniform(0.3, 0.6, count)
    reach = radius_m * np.sqrt(np.maximum(1 - ((tip_m - middle) / half_m) ** 2, 0.1)) * rng.uniform(0.65, 0.85, count)
    begin = np.column_stack([np.zeros((count, 2)), foot_m])
    end = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), tip_m])
    radius = 0.055 * (1.2 - 0.6 * level)
    _add_twigs(builder, begin, end, radius)
    for forks in (4, 3) if fine else (4,):
        begin, end, radius = _forked(rng, begin, end, radius, forks)
        away = (end - [0.0, 0.0, middle]) / (0.86 * np.array([radius_m, radius_m, half_m]))
        out = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1.0)
        end = (end - [0.0, 0.0, middle]) / out + [0.0, 0.0, middle]
        _add_twigs(builder, begin, end, radius)


def _forked(
    rng: np.random.Generator, begin_m: np.ndarray, end_m: np.ndarray, radius_m: np.ndarray, forks: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thinner branches along branches from begin to end [N, 3]: their begins, ends and radii, N * forks of each."""
    share = rng.uniform(0.3, 0.95, (len(begin_m), forks, 1))
    along = (end_m - begin_m)[:, None]
    length_m = np.linalg.norm(along, axis=2, keepdims=True)
    aside = rng.normal(0, 0.5, (len(begin_m), forks, 3)) + [0.0, 0.0, 0.25]
    begin = begin_m[:, None] + along * share
    end = begin + (along / length_m + aside) * length_m * rng.uniform(0.3, 0.5, share.shape)
    radius = np.repeat(radius_m[:, None] * 0.5, forks, axis=1)
    return begin.reshape(-1, 3), end.reshape(-1, 3), radius.ravel()


def _add_twigs(builder: SurfaceBuilder, begin_m: np.ndarray, end_m: np.ndarray, radius_m: np.ndarray) -> None:
    """Cones of three sides from begin to end [N, 3]."""
    along = end_m - begin_m
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, np.where(np.abs(along[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along, side)
    angles = np.arange(3) * 2 * math.pi / 3
    ring = side[:, None] * np.cos(angles)[:, None] + other[:, None] * np.sin(angles)[:, None]
    corners = np.concatenate([begin_m[:, None] + ring * radius_m[:, None, None], end_m[:, None]], axis=1)
    faces = np.array([[0, 1, 3], [1, 2, 3], [2, 0, 3]]) + 4 * np.arange(len(begin_m))[:, None, None]
    builder.add(corners.reshape(-1, 3), faces.reshape(-1, 3), Material.PLAIN, _BARK)


def _add_conifer(builder: SurfaceBuilder, rng: np.random.Generator, leaf_m: float, leaves: int) -> None:
    height_m = rng.uniform(7.5, 10.0)
    colour = np.array([0.05, 0.085, 0.045]) * (1 + rng.normal(0, 0.06, 3))
    builder.post(_HERE, (0.16, 0.1), (0.0, 1.2), Material.PLAIN, _BARK)
    middle = np.array([0.0, 0.0, height_m * 0.3])
    angles = np.arange(9) * 2 * math.pi / 9
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * height_m * 0.16
    cone = np.concatenate([np.column_stack([ring, np.full(9, 0.9)]), [[0.0, 0.0, height_m]]])
    faces = np.array([[i, (i + 1) % 9, 9] for i in range(9)])
    builder.add(cone, faces, Material.EVERGREEN, colour * 0.6, normals=_outward(cone[faces], middle))
    level = rng.uniform(0, 1, leaves) ** 1.5
    angle, reach = rng.uniform(0, 2 * math.pi, leaves), height_m * 0.19 * (1 - level) * rng.uniform(0.75, 1.2, leaves)
    # Branches in whorls: the reach swells and shrinks up the trunk.
    reach *= 0.85 + 0.15 * np.sin(level * height_m * 6)
    spots = np.stack([reach * np.cos(angle), reach * np.sin(angle), 0.8 + level * (height_m - 0.8)], axis=1)
    _add_leaves(builder, rng, spots, leaf_m, middle, colour, Material.EVERGREEN)


def _add_leaves(
    builder: SurfaceBuilder,
    rng: np.random.Generator,
    spots_m: np.ndarray,
    leaf_m: float,
    middle_m: np.ndarray,
    colour: np.ndarray,
    material: Material = Material.LEAVES,
) -> None:
    corners = spots_m[:, None] + rng.normal(0, leaf_m, (len(spots_m), 3, 3))
    shades = colour * rng.uniform(0.7, 1.35, (len(spots_m), 1))
    faces = np.arange(3 * len(spots_m)).reshape(-1, 3)
    builder.add(corners.reshape(-1, 3), faces, material, shades, normals=_outward(corners, middle_m))


def _outward(corners_m: np.ndarray, middle_m: np.ndarray) -> np.ndarray:
    """Directions [F, 3] from the middle of a crown through its leaves [F, 3, 3]."""
    away = corners_m.mean(axis=1) - middle_m
    return away / np.linalg.norm(away, axis=1, keepdims=True)
