"""What stands along the streets beside houses: lamps, signs, hedges and parked cars."""

from __future__ import annotations

import math

import numpy as np

from vpr_core.synthetic.facades import Colour
from vpr_core.synthetic.surface import Label, Material, Placement, SurfaceBuilder

_STEEL = (0.20, 0.21, 0.22)
_PAINTS: list[Colour] = [
    (0.55, 0.56, 0.57),
    (0.70, 0.70, 0.69),
    (0.05, 0.05, 0.06),
    (0.15, 0.16, 0.18),
    (0.30, 0.05, 0.04),
    (0.06, 0.12, 0.28),
    (0.10, 0.18, 0.14),
    (0.32, 0.29, 0.22),
]
_SIGNS: list[tuple[Colour, str]] = [
    ((0.05, 0.15, 0.45), "square"),
    ((0.60, 0.05, 0.05), "round"),
    ((0.70, 0.50, 0.05), "diamond"),
    ((0.65, 0.65, 0.63), "round"),
]

_FENCES: list[Colour] = [(0.55, 0.54, 0.50), (0.24, 0.15, 0.09), (0.10, 0.13, 0.12)]

_LENSES: list[Colour] = [(0.85, 0.06, 0.03), (0.85, 0.5, 0.03), (0.05, 0.75, 0.3)]


def add_lamp(builder: SurfaceBuilder, at: Placement, kind: str) -> np.ndarray:
    """A street lamp: "arm" reaches along x over the road, "post" is a shade on a pole. Returns the place [2] in the
    frame of the lamp that it lights most."""
    with builder.labelled(Label.POLE):
        if kind == "post":
            builder.post(at, (0.07, 0.05), (0.0, 4.6), Material.PLAIN, (0.05, 0.05, 0.055))
            builder.post(at, (0.12, 0.3), (4.6, 4.78), Material.LAMP, (0.6, 0.6, 0.58), sides=8)
            builder.post(at, (0.42, 0.36), (4.78, 4.86), Material.PLAIN, (0.05, 0.05, 0.055), sides=10)
            return np.array([0.0, 0.0])
        builder.post(at, (0.09, 0.06), (0.0, 6.2), Material.PLAIN, _STEEL)
        builder.box(at, (0.0, -0.04, 6.1), (1.4, 0.04, 6.18), Material.PLAIN, _STEEL)
        builder.box(at, (1.0, -0.13, 5.98), (1.7, 0.13, 6.1), Material.LAMP, (0.6, 0.6, 0.58))
    return np.array([1.35, 0.0])


def add_traffic_light(builder: SurfaceBuilder, at: Placement, lit: int) -> None:
    """Three lenses on a pole, facing -x; `lit` is the one that shines, from the top."""
    with builder.labelled(Label.POLE):
        builder.post(at, (0.055, 0.055), (0.0, 3.4), Material.PLAIN, (0.08, 0.09, 0.09))
    with builder.labelled(Label.TRAFFIC_LIGHT):
        builder.box(at, (-0.2, -0.17, 2.4), (-0.04, 0.17, 3.4), Material.PLAIN, (0.03, 0.03, 0.03))
        for lens, colour in enumerate(_LENSES):
            z_m, tone = 3.22 - 0.32 * lens, np.array(colour) * (1.0 if lens == lit else 0.12)
            angles = np.arange(8) * math.pi / 4
            disc = [(-0.22, 0.12 * math.cos(a), z_m + 0.12 * math.sin(a)) for a in angles]
            builder.polygon(at, disc, Material.SIGN if lens == lit else Material.PLAIN, tone)


def add_sign(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    """A traffic sign on a pole, facing -x."""
    colour, shape = _SIGNS[int(rng.integers(len(_SIGNS)))]
    with builder.labelled(Label.POLE):
        builder.post(at, (0.035, 0.035), (0.0, 2.7), Material.PLAIN, (0.4, 0.4, 0.4), sides=5)
    sides, turn = {"square": (4, math.pi / 4), "diamond": (4, 0.0), "round": (10, 0.0)}[shape]
    for radius_m, x_m, tone in ((0.36, -0.05, colour), (0.24, -0.07, (0.75, 0.75, 0.73))):
        angles = turn + np.arange(sides) * 2 * math.pi / sides
        disc = [(x_m, radius_m * math.cos(angle), 2.4 + radius_m * math.sin(angle)) for angle in angles]
        with builder.labelled(Label.TRAFFIC_SIGN):
            builder.polygon(at, disc, Material.SIGN, tone)


def add_hedge(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement, length_m: float) -> None:
    """What closes a garden towards the street, along x: a hedge, a fence or a low wall."""
    kind = rng.random()
    if kind < 0.6:
        height_m, shade = rng.uniform(0.7, 1.5), rng.uniform(0.7, 1.2)
        size = (length_m, 0.6, height_m)
        taper = (0.0, 0.0, 0.08, 0.08)
        with builder.labelled(Label.VEGETATION):
            builder.box(at, (0, 0, 0), size, Material.EVERGREEN, np.array([0.07, 0.12, 0.04]) * shade, taper=taper)
        return
    height_m = rng.uniform(0.5, 1.0)
    if kind < 0.8:
        _add_fence(builder, at, length_m, height_m + 0.2, _FENCES[int(kind * 100) % len(_FENCES)])
        return
    with builder.labelled(Label.WALL):
        builder.box(at, (0, 0.1, 0), (length_m, 0.35, height_m), Material.PLAIN, (0.38, 0.33, 0.28))


def _add_fence(builder: SurfaceBuilder, at: Placement, length_m: float, height_m: float, colour: Colour) -> None:
    """Pickets on two rails."""
    with builder.labelled(Label.FENCE):
        for z_m in (0.22, height_m - 0.22):
            builder.box(at, (0, 0.2, z_m), (length_m, 0.24, z_m + 0.07), Material.PLAIN, colour)
        for x_m in np.arange(0.0, length_m - 0.08, 0.17):
            corners = [(x_m, 0.19, 0.06), (x_m + 0.1, 0.19, 0.06), (x_m + 0.1, 0.19, height_m), (x_m, 0.19, height_m)]
            builder.polygon(at, corners, Material.PLAIN, colour)


def add_car(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement, *, lights_on: bool = False) -> np.ndarray:
    """A car, its middle at the placement, nose towards x. Returns its outline [4, 2] in its own frame."""
    lamps = Material.LAMP if lights_on else Material.REFLECTOR
    paint = _PAINTS[int(rng.choice(len(_PAINTS), p=[0.2, 0.18, 0.16, 0.16, 0.09, 0.1, 0.05, 0.06]))]
    kind = rng.random()
    if kind < 0.12:
        return _add_van(builder, rng, at, paint, lamps)
    length_m, width_m = rng.uniform(3.7, 4.7), rng.uniform(1.66, 1.84)
    x, y = length_m / 2, width_m / 2
    belt_m, roof_m = rng.uniform(0.82, 0.95), rng.uniform(1.4, 1.65)
    estate = 0.45 if kind < 0.55 else 1.0
    builder.box(at, (-x, -y, 0.22), (x, y, 0.55), Material.PAINT, paint, taper=(-0.02, -0.02, -0.02, -0.02))
    builder.box(at, (-x, -y, 0.55), (x, y, belt_m), Material.PAINT, paint, taper=(0.08, 0.15, 0.05, 0.05))
    cabin = ((-x + 0.12, -y + 0.06, belt_m), (x - 1.1, y - 0.06, roof_m))
    taper = (estate, 0.75, 0.16, 0.16)
    builder.box(at, *cabin, Material.GLASS, (0.03, 0.035, 0.04), taper=taper)
    _add_roof_panel(builder, at, cabin, taper, paint)
    _add_wheels(builder, at, x * 0.62, y)
    _add_lights(builder, at, x, y, 0.62, lamps)
    return _outline(x, y)


def _add_van(
    builder: SurfaceBuilder, rng: np.random.Generator, at: Placement, paint: Colour, lamps: Material
) -> np.ndarray:
    length_m, width_m, height_m = rng.uniform(4.8, 5.6), 1.95, rng.uniform(1.95, 2.5)
    x, y = length_m / 2, width_m / 2
    builder.box(at, (-x, -y, 0.3), (x - 0.7, y, height_m), Material.PAINT, paint, taper=(0.05, 0.5, 0.08, 0.08))
    builder.box(at, (x - 1.4, -y, 0.3), (x, y, 1.05), Material.PAINT, paint, taper=(0.0, 0.15, 0.05, 0.05))
    glass = ((x - 1.3, -y + 0.02, 1.05), (x - 0.45, y - 0.02, 1.75))
    builder.box(at, *glass, Material.GLASS, (0.03, 0.035, 0.04), taper=(0.0, 0.35, 0.03, 0.03))
    _add_wheels(builder, at, x * 0.62, y)
    _add_lights(builder, at, x, y, 0.75, lamps)
    return _outline(x, y)


def _outline(x_m: float, y_m: float) -> np.ndarray:
    return np.array([(-x_m, -y_m), (x_m, -y_m), (x_m, y_m), (-x_m, y_m)])


def _add_roof_panel(
    builder: SurfaceBuilder,
    at: Placement,
    cabin: tuple[tuple[float, float, float], tuple[float, float, float]],
    taper: tuple[float, float, float, float],
    paint: Colour,
) -> None:
    (x0, y0, _), (x1, y1, top) = cabin
    back, front, right, left = taper
    low = (x0 + back - 0.05, y0 + right - 0.03, top - 0.01)
    builder.box(at, low, (x1 - front + 0.05, y1 - left + 0.03, top + 0.05), Material.PAINT, paint)


def _add_wheels(builder: SurfaceBuilder, at: Placement, x_m: float, y_m: float) -> None:
    angles = np.arange(10) * 2 * math.pi / 10
    for x in (-x_m, x_m):
        for side in (-1, 1):
            for radius, out, colour in ((0.31, 0.015, (0.02, 0.02, 0.02)), (0.17, 0.03, (0.16, 0.16, 0.17))):
                disc = [(x + radius * math.cos(a), side * (y_m + out), 0.31 + radius * math.sin(a)) for a in angles]
                builder.polygon(at, disc, Material.PLAIN, colour)


def _add_lights(builder: SurfaceBuilder, at: Placement, x_m: float, y_m: float, z_m: float, lamps: Material) -> None:
    for side in (-1, 1):
        low, high = sorted((side * (y_m - 0.05), side * (y_m - 0.4)))
        front, back = x_m + 0.03, -x_m - 0.03
        for x, colour, kind in (
            (front, (0.75, 0.75, 0.72), lamps),
            (back, (0.40, 0.02, 0.02), Material.REFLECTOR),
        ):
            corners = [(x, low, z_m), (x, high, z_m), (x, high, z_m + 0.16), (x, low, z_m + 0.16)]
            builder.polygon(at, corners, kind, colour)
