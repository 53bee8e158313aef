"""People on foot: legs, arms, torso and head, about 1.7 m tall, facing x."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import trimesh

from vpr_core.synthetic.facades import Colour
from vpr_core.synthetic.surface import Label, Material, Placement, Surface, SurfaceBuilder

_HIP_M, _SHOULDER_M = 0.86, 1.38
_ARM_M = 0.23
"""Distance of the arms from the middle; nothing else of a person is so far out."""
_SKIN: list[Colour] = [(0.52, 0.36, 0.27), (0.42, 0.27, 0.19), (0.23, 0.14, 0.10), (0.12, 0.07, 0.05)]
_HAIR: list[Colour] = [(0.03, 0.025, 0.02), (0.12, 0.07, 0.04), (0.30, 0.22, 0.12), (0.35, 0.34, 0.33)]
_TROUSERS: list[Colour] = [(0.05, 0.07, 0.13), (0.03, 0.03, 0.035), (0.20, 0.17, 0.12), (0.12, 0.13, 0.14)]
_COATS: list[Colour] = [
    (0.40, 0.06, 0.05),
    (0.06, 0.12, 0.30),
    (0.55, 0.53, 0.48),
    (0.04, 0.04, 0.05),
    (0.10, 0.20, 0.12),
    (0.55, 0.40, 0.08),
    (0.25, 0.18, 0.12),
    (0.30, 0.32, 0.35),
]


def person(rng: np.random.Generator) -> Surface:
    """Someone who stands upright, feet at the origin; legs and arms are what `swing_m` moves."""
    builder = SurfaceBuilder()
    coat, trousers, skin = (_one(rng, colours) for colours in (_COATS, _TROUSERS, _SKIN))
    long_coat = rng.random() < 0.3
    with builder.labelled(Label.PERSON):
        for side in (-1, 1):
            _add_limb(builder, side * 0.09, (0.06, 0.095), (0.05, _HIP_M), trousers)
            shoe = Placement(0.0, side * 0.09)
            builder.box(shoe, (-0.09, -0.05, 0.0), (0.17, 0.05, 0.08), Material.PLAIN, (0.03, 0.025, 0.02))
            _add_limb(builder, side * (_ARM_M + 0.03), (0.045, 0.06), (0.78, _SHOULDER_M), coat)
        low_m = 0.55 if long_coat else _HIP_M - 0.06
        torso = ((-0.13, -0.185, low_m), (0.13, 0.185, _SHOULDER_M + 0.06))
        builder.box(Placement(0.0, 0.0), *torso, Material.PLAIN, coat, taper=(0.02, 0.02, 0.03, 0.03))
        _add_head(builder, skin, _one(rng, _HAIR))
    tall = float(rng.uniform(0.93, 1.07))
    model = builder.build()
    return replace(model, vertices_m=model.vertices_m * np.float32(tall))


def swing_m(vertices_m: np.ndarray) -> np.ndarray:
    """How far forwards each vertex [V, 3] of a person goes at the widest of a stride, [V] m: legs about the hip, arms
    about the shoulder against them."""
    side, height_m = np.sign(vertices_m[:, 1]), vertices_m[:, 2]
    is_arm = np.abs(vertices_m[:, 1]) > _ARM_M * 0.88
    leg = side * np.maximum(_HIP_M - 0.08 - height_m, 0.0) * 0.42
    arm = -side * np.maximum(_SHOULDER_M - 0.08 - height_m, 0.0) * 0.38
    return np.where(is_arm, arm, leg)


def _one(rng: np.random.Generator, colours: list[Colour]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _add_limb(
    builder: SurfaceBuilder, y_m: float, radii_m: tuple[float, float], heights_m: tuple[float, float], colour: Colour
) -> None:
    builder.post(Placement(0.0, y_m), radii_m, heights_m, Material.PLAIN, colour, sides=4)


def _add_head(builder: SurfaceBuilder, skin: Colour, hair: Colour) -> None:
    ball = trimesh.creation.icosphere(subdivisions=0)
    vertices = ball.vertices * (0.115, 0.095, 0.15) + (0.01, 0.0, 1.575)
    x, _, z = ball.triangles_center.T
    is_hair = (z > 0.35) | ((x < -0.2) & (z > -0.5))
    builder.add(vertices, ball.faces, Material.PLAIN, np.where(is_hair[:, None], hair, skin))
