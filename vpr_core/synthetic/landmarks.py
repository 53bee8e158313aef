"""What makes a place unlike all others: what stands in the middle of squares and around it, and churches."""

from __future__ import annotations

import math

import numpy as np

from vpr_core.synthetic.facades import Colour
from vpr_core.synthetic.surface import Label, Material, Placement, SurfaceBuilder

_STONE: Colour = (0.46, 0.43, 0.38)
_DARK_STONE: Colour = (0.24, 0.23, 0.22)
_BRONZE: Colour = (0.10, 0.16, 0.12)
_WOOD: Colour = (0.26, 0.16, 0.09)
_WATER: Colour = (0.05, 0.09, 0.10)
_SLATE: Colour = (0.13, 0.14, 0.16)
_CANVAS: list[Colour] = [
    (0.55, 0.08, 0.06),
    (0.10, 0.25, 0.45),
    (0.62, 0.58, 0.48),
    (0.12, 0.32, 0.14),
    (0.65, 0.45, 0.06),
]

_SCALES = {"clock tower": (1.2, 1.4), "market": (1.0, 1.0)}
"""Other pieces are half as large again to twice as large as they are written down."""


def add_centrepiece(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement, name: str) -> None:
    """One of the things that styles of towns name for the middle of a square."""
    pieces = {
        "fountain": _add_fountain,
        "monument": _add_monument,
        "clock tower": _add_clock_tower,
        "market": _add_market,
        "sculpture": _add_sculpture,
        "basin": _add_basin,
        "arches": _add_arches,
    }
    scale, own = float(rng.uniform(*_SCALES.get(name, (1.5, 2.0)))), SurfaceBuilder()
    pieces[name](own, rng, Placement(0.0, 0.0))
    piece = own.build()
    with builder.labelled(Label.BUILDING if name == "clock tower" else Label.NONE):
        builder.add(at.to_map(piece.vertices_m * scale), piece.faces, piece.material, piece.colour)


def add_bench(builder: SurfaceBuilder, at: Placement) -> None:
    """A bench along x that faces y."""
    with builder.labelled(Label.NONE):
        builder.box(at, (-0.9, -0.2, 0.40), (0.9, 0.25, 0.46), Material.PLAIN, _WOOD)
        builder.box(at, (-0.9, -0.28, 0.55), (0.9, -0.22, 0.90), Material.PLAIN, _WOOD)
        for x_m in (-0.75, 0.67):
            builder.box(at, (x_m, -0.28, 0.0), (x_m + 0.08, 0.2, 0.42), Material.PLAIN, _DARK_STONE)


def _add_fountain(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    wide_m = float(rng.uniform(3.2, 4.4))
    _add_pool(builder, at, wide_m, 0.6)
    builder.post(at, (0.45, 0.3), (0.3, 1.7), Material.PLAIN, _STONE, sides=8)
    builder.post(at, (0.35, 1.5), (1.6, 2.0), Material.PLAIN, _STONE, sides=12)
    builder.post(at, (0.25, 0.16), (2.0, 3.1), Material.PLAIN, _STONE, sides=8)
    builder.post(at, (0.16, 0.75), (3.0, 3.25), Material.PLAIN, _STONE, sides=10)
    builder.post(at, (0.2, 0.02), (3.25, 4.0), Material.PLAIN, _BRONZE, sides=8)


def _add_pool(builder: SurfaceBuilder, at: Placement, radius_m: float, rim_m: float) -> None:
    builder.post(at, (radius_m + 0.7, radius_m + 0.7), (0.0, 0.16), Material.PLAIN, _DARK_STONE, sides=16)
    builder.post(at, (radius_m, radius_m), (0.1, rim_m), Material.PLAIN, _STONE, sides=16)
    builder.post(at, (radius_m - 0.4, radius_m - 0.4), (rim_m, rim_m + 0.01), Material.GLASS, _WATER, sides=16)


def _add_monument(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    for half_m, low_m in ((2.6, 0.0), (2.1, 0.25), (1.6, 0.5)):
        builder.box(at, (-half_m, -half_m, low_m), (half_m, half_m, low_m + 0.25), Material.PLAIN, _DARK_STONE)
    builder.box(at, (-1.0, -1.0, 0.75), (1.0, 1.0, 2.9), Material.PLAIN, _STONE, taper=(0.1, 0.1, 0.1, 0.1))
    builder.box(at, (-1.1, -1.1, 2.9), (1.1, 1.1, 3.1), Material.PLAIN, _STONE)
    top_m = float(rng.uniform(6.0, 9.0))
    builder.post(at, (0.5, 0.4), (3.1, top_m), Material.PLAIN, _STONE, sides=12)
    builder.box(at, (-0.6, -0.6, top_m), (0.6, 0.6, top_m + 0.3), Material.PLAIN, _STONE)
    _add_figure(builder, Placement(at.x_m, at.y_m, at.yaw_rad, top_m + 0.3))


def _add_figure(builder: SurfaceBuilder, at: Placement) -> None:
    builder.post(at, (0.42, 0.28), (0.0, 1.3), Material.PLAIN, _BRONZE, sides=8)
    builder.box(at, (-0.22, -0.42, 1.2), (0.22, 0.42, 2.0), Material.PLAIN, _BRONZE, taper=(0.05, 0.05, 0.1, 0.1))
    builder.box(at, (0.1, 0.3, 1.75), (1.0, 0.48, 1.95), Material.PLAIN, _BRONZE)
    builder.post(at, (0.14, 0.17), (2.0, 2.4), Material.PLAIN, _BRONZE, sides=7)


def _add_clock_tower(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    height_m = float(rng.uniform(11.0, 15.0))
    _add_tower(builder, at, 1.9, height_m, 4.5)
    for yaw_rad in np.arange(4) * math.pi / 2:
        side = Placement(at.x_m, at.y_m, at.yaw_rad + float(yaw_rad))
        _add_clock(builder, side, 1.94, height_m - 1.9)
        door = [(1.93, -0.6, 0.0), (1.93, 0.6, 0.0), (1.93, 0.6, 2.4), (1.93, -0.6, 2.4)]
        builder.polygon(side, door, Material.PLAIN, _WOOD)


def _add_clock(builder: SurfaceBuilder, at: Placement, x_m: float, z_m: float) -> None:
    angles = np.arange(14) * 2 * math.pi / 14
    for radius_m, out_m, colour in ((1.15, 0.0, _DARK_STONE), (1.0, 0.02, (0.72, 0.70, 0.62))):
        disc = [(x_m + out_m, radius_m * math.cos(a), z_m + radius_m * math.sin(a)) for a in angles]
        builder.polygon(at, disc, Material.PLAIN, colour)
    for width_m, length_m in ((0.1, 0.55), (0.06, 0.85)):
        hand = [(x_m + 0.04, -width_m, z_m), (x_m + 0.04, width_m, z_m), (x_m + 0.04, width_m * 3, z_m + length_m)]
        builder.polygon(at, hand, Material.PLAIN, (0.02, 0.02, 0.02))


def _add_tower(builder: SurfaceBuilder, at: Placement, half_m: float, height_m: float, spire_m: float) -> None:
    builder.box(at, (-half_m, -half_m, 0.0), (half_m, half_m, height_m), Material.PLAIN, _STONE)
    for low_m in (1.0, height_m * 0.55, height_m - 0.25):
        out_m = half_m + 0.15
        builder.box(at, (-out_m, -out_m, low_m), (out_m, out_m, low_m + 0.3), Material.PLAIN, _DARK_STONE)
    o = half_m + 0.3
    taper = (o - 0.02,) * 4
    builder.box(at, (-o, -o, height_m), (o, o, height_m + spire_m), Material.ROOF, _SLATE, taper=taper)


def _add_market(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    """Rows of stalls under canvas about a small pump."""
    builder.post(at, (0.7, 0.6), (0.0, 0.7), Material.PLAIN, _STONE, sides=8)
    builder.post(at, (0.22, 0.16), (0.7, 2.6), Material.PLAIN, _BRONZE, sides=8)
    for y_m in (-12.0, -8.0, -4.0, 4.0, 8.0, 12.0):
        for x_m in np.arange(-13.5, 14.0, 4.5):
            if rng.random() < 0.8:
                x, y = at.to_map(np.array([(x_m, y_m)]))[0]
                stall = Placement(float(x), float(y), at.yaw_rad + (math.pi if y_m > 0 else 0.0))
                _add_stall(builder, rng, stall)


def _add_stall(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    canvas = _CANVAS[int(rng.integers(len(_CANVAS)))]
    for x_m in (-1.35, 1.3):
        for y_m in (-1.0, 0.95):
            builder.box(at, (x_m, y_m, 0.0), (x_m + 0.06, y_m + 0.06, 2.2), Material.PLAIN, _DARK_STONE)
    builder.box(at, (-1.3, -0.9, 0.0), (1.3, 0.1, 0.9), Material.PLAIN, _WOOD)
    for x_m in np.arange(-1.2, 1.1, 0.48):
        goods = rng.uniform(0.05, 0.5, 3)
        builder.box(at, (x_m, -0.8, 0.9), (x_m + 0.42, 0.0, 1.08), Material.PLAIN, goods)
    taper = (0.25, 0.25, 0.9, 0.9)
    builder.box(at, (-1.6, -1.25, 2.15), (1.6, 1.25, 2.85), Material.PLAIN, canvas, taper=taper)


def _add_sculpture(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    """Slabs turned on top of each other."""
    builder.box(at, (-2.5, -2.5, 0.0), (2.5, 2.5, 0.4), Material.PLAIN, (0.5, 0.5, 0.5))
    red = (0.55, 0.07, 0.04)
    for level in range(7):
        turned = Placement(at.x_m, at.y_m, at.yaw_rad + level * 0.32, 0.4 + level * 0.95)
        half_m = 1.9 - level * 0.16
        builder.box(turned, (-half_m, -0.5, 0.0), (half_m, 0.5, 0.95), Material.PAINT, red)


def _add_basin(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    """A long sheet of water with a row of steel masts."""
    builder.box(at, (-9.0, -2.6, 0.0), (9.0, 2.6, 0.35), Material.PLAIN, (0.42, 0.42, 0.42))
    builder.box(at, (-8.7, -2.3, 0.35), (8.7, 2.3, 0.37), Material.GLASS, _WATER)
    for x_m in np.linspace(-7.5, 7.5, 6):
        x, y = at.to_map(np.array([(x_m, 0.0)]))[0]
        mast = Placement(float(x), float(y), at.yaw_rad)
        builder.post(mast, (0.14, 0.05), (0.3, float(rng.uniform(5.0, 10.0))), Material.PAINT, (0.6, 0.61, 0.62))


def _add_arches(builder: SurfaceBuilder, rng: np.random.Generator, at: Placement) -> None:
    """A walk of square frames that grow."""
    colour = (0.70, 0.42, 0.03)
    for step in range(5):
        half_m, x_m, high_m = 1.6 + 0.4 * step, -6.0 + 3.0 * step, 3.0 + 0.8 * step
        for y_m in (-half_m, half_m - 0.35):
            builder.box(at, (x_m, y_m, 0.0), (x_m + 0.35, y_m + 0.35, high_m), Material.PAINT, colour)
        builder.box(at, (x_m, -half_m, high_m), (x_m + 0.35, half_m, high_m + 0.35), Material.PAINT, colour)


CHURCH_M = (24.0, 11.0)
"""Length along the street and depth of a church."""


def add_church(builder: SurfaceBuilder, at: Placement) -> None:
    """A nave along x with a tower at its beginning, its long side at y = 0."""
    length_m, depth_m = CHURCH_M
    wall_m, ridge_m, begin_m = 7.0, 12.5, 5.5
    builder.box(at, (begin_m, 0.0, 0.0), (length_m, depth_m, wall_m), Material.PLAIN, _STONE)
    for foot in (-0.4, depth_m + 0.4):
        low = [(begin_m, foot, wall_m - 0.2), (length_m + 0.3, foot, wall_m - 0.2)]
        top = [(length_m + 0.3, depth_m / 2, ridge_m), (begin_m, depth_m / 2, ridge_m)]
        builder.polygon(at, [*low, *top], Material.ROOF, _SLATE)
    gable = [(length_m, 0.0, wall_m), (length_m, depth_m, wall_m), (length_m, depth_m / 2, ridge_m)]
    builder.polygon(at, gable, Material.PLAIN, _STONE)
    for x_m in np.arange(begin_m + 2.2, length_m - 1.0, 3.6):
        _add_lancet(builder, at, float(x_m))
        builder.box(at, (x_m + 1.5, -0.6, 0.0), (x_m + 2.1, 0.0, 5.6), Material.PLAIN, _DARK_STONE)
    x, y = at.to_map(np.array([(2.9, depth_m / 2)]))[0]
    tower = Placement(float(x), float(y), at.yaw_rad)
    _add_tower(builder, tower, 2.9, 14.0, 6.0)
    for yaw_rad in np.arange(4) * math.pi / 2:
        _add_clock(builder, Placement(tower.x_m, tower.y_m, at.yaw_rad + float(yaw_rad)), 2.94, 12.2)


def _add_lancet(builder: SurfaceBuilder, at: Placement, x_m: float) -> None:
    """A pointed window in the wall at y = 0."""
    for half_m, out_m, colour in ((0.7, -0.03, _DARK_STONE), (0.52, -0.05, (0.05, 0.06, 0.10))):
        outline = [(-half_m, 2.0), (half_m, 2.0), (half_m, 4.6), (0.0, 4.6 + 2 * half_m), (-half_m, 4.6)]
        builder.polygon(at, [(x_m + x, out_m, z) for x, z in outline], Material.GLASS, colour)
