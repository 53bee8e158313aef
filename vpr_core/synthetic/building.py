"""The walls of a house and what is built on to them, as triangles and façades."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vpr_core.synthetic.facades import Facade
from vpr_core.synthetic.houses import House, shaded
from vpr_core.synthetic.roofs import add_roof
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder


def add_house(builder: SurfaceBuilder, facades: list[Facade], house: House, at: Placement) -> None:
    """The walls, the roof and what is built on; appends to `facades` one row for every wall."""
    rng = np.random.default_rng(house.seed)
    width_m, depth_m = house.width_m, house.depth_m
    corners = [(0.0, 0.0), (width_m, 0.0), (width_m, depth_m), (0.0, depth_m)]
    owners = []
    for side in range(4):
        start, end = corners[side], corners[(side + 1) % 4]
        owners.append(_add_wall(builder, facades, _facade(house, at, start, end, side, rng), at, start, end, house))
    add_roof(builder, at, house.roof, (width_m, depth_m, house.height_m), house.roof_colour, owners, house.detached)
    _add_extras(builder, facades, facades[owners[0]], house, at, rng)


def _facade(
    house: House,
    at: Placement,
    start: tuple[float, float],
    end: tuple[float, float],
    side: int,
    rng: np.random.Generator,
) -> Facade:
    design = house.design
    length_m = math.dist(start, end)
    front = side == 0
    columns = max(round(length_m / design.pitch_m), 1) if side in (0, 2) else int(rng.integers(0, 3))
    corner, beyond = at.to_map(np.array([start, end]))
    axis = (beyond - corner) / length_m
    return Facade(
        corner_m=(float(corner[0]), float(corner[1])),
        axis=(float(axis[0]), float(axis[1])),
        foot_m=0.0,
        width_m=length_m,
        wall=house.wall,
        trim=house.trim,
        accent=house.accent,
        ground_floor_m=house.ground_floor_m,
        storey_m=design.storey_m,
        storeys=house.storeys,
        columns=columns,
        window_m=design.window_m,
        sill_m=design.sill_m,
        seed=house.seed + side,
        brick=design.brick,
        shutters=design.shutters if front else 0.0,
        panes=design.panes,
        plinth_m=design.plinth_m,
        course=design.course,
        door_column=int(rng.integers(columns)) if front else -1,
        shop=float(house.shop and front),
        blind_share=0.0 if front else 0.3,
    )


def _add_wall(
    builder: SurfaceBuilder,
    facades: list[Facade],
    facade: Facade,
    at: Placement,
    start: tuple[float, float],
    end: tuple[float, float],
    house: House,
) -> int:
    """One upright wall from the foot of its façade to the eaves; returns its row in the table."""
    facades.append(facade)
    low_m, high_m = facade.foot_m, house.height_m
    quad = [(*start, low_m), (*end, low_m), (*end, high_m), (*start, high_m)]
    builder.polygon(at, quad, Material.WALL, facade.wall, owner=len(facades) - 1)
    return len(facades) - 1


def _add_extras(
    builder: SurfaceBuilder,
    facades: list[Facade],
    front: Facade,
    house: House,
    at: Placement,
    rng: np.random.Generator,
) -> None:
    if house.roof in ("gable", "front", "hip") and rng.random() < 0.8:
        _add_chimney(builder, house, at, rng)
    if house.roof == "gable" and rng.random() < 0.4:
        _add_dormer(builder, facades, front, house, at, rng)
    build = house.design.build
    if build.porch:
        _add_porch(builder, front, house, at, rng)
        return
    if build.cornice:
        cornice = (0.0, -0.3, house.height_m - 0.35), (house.width_m, 0.0, house.height_m)
        builder.box(at, *cornice, Material.PLAIN, house.trim)
    if house.shop and rng.random() < 0.5:
        _add_awning(builder, house, at)
    elif rng.random() < build.balconies:
        _add_balconies(builder, house, at, rng)


def _add_chimney(builder: SurfaceBuilder, house: House, at: Placement, rng: np.random.Generator) -> None:
    x_m = float(rng.uniform(0.15, 0.85)) * house.width_m
    y_m = house.depth_m * float(rng.uniform(0.4, 0.6))
    top_m = house.height_m + 0.5 * house.depth_m * 0.8 + 0.6
    low, high = (x_m - 0.4, y_m - 0.3, house.height_m), (x_m + 0.4, y_m + 0.3, top_m)
    builder.box(at, low, high, Material.PLAIN, (0.30, 0.17, 0.13))


def _add_dormer(
    builder: SurfaceBuilder,
    facades: list[Facade],
    front: Facade,
    house: House,
    at: Placement,
    rng: np.random.Generator,
) -> None:
    """A small window house on the front slope; its front is a façade of one window."""
    x_m = float(rng.uniform(0.25, 0.6)) * house.width_m
    foot_m, top_m, size_m = house.height_m + 0.3, house.height_m + 2.0, 1.7
    corner = at.to_map(np.array([(x_m, 0.9)]))[0]
    window = replace(
        front,
        corner_m=(float(corner[0]), float(corner[1])),
        foot_m=foot_m,
        width_m=size_m,
        storeys=1,
        columns=1,
        window_m=(1.0, 1.1),
        sill_m=0.35,
        ground_floor_m=2.0,
        door_column=-1,
        plinth_m=0.0,
        seed=house.seed + 7,
    )
    facades.append(window)
    quad = [(x, 0.9, z) for x, z in ((x_m, foot_m), (x_m + size_m, foot_m), (x_m + size_m, top_m), (x_m, top_m))]
    builder.polygon(at, quad, Material.WALL, house.wall, owner=len(facades) - 1)
    builder.box(at, (x_m, 0.92, foot_m), (x_m + size_m, 4.0, top_m), Material.PLAIN, house.wall)
    builder.box(at, (x_m - 0.2, 0.7, top_m), (x_m + size_m + 0.2, 4.2, top_m + 0.15), Material.ROOF, house.roof_colour)


def _add_porch(builder: SurfaceBuilder, front: Facade, house: House, at: Placement, rng: np.random.Generator) -> None:
    pitch_m = house.width_m / front.columns
    x_m = (front.door_column + 0.5) * pitch_m
    builder.box(at, (x_m - 0.8, -0.5, 0.0), (x_m + 0.8, 0.0, 0.15), Material.PLAIN, (0.40, 0.39, 0.37))
    if rng.random() < 0.45:
        roof = (0.3, 0.3, 0.3, 0.0) if rng.random() < 0.5 else (0.0, 0.0, 0.0, 0.0)
        builder.box(at, (x_m - 1, -0.95, 2.5), (x_m + 1, 0, 2.75), Material.PLAIN, house.trim, taper=roof)
    if house.detached and rng.random() < 0.45:
        _add_bay(builder, house, at, x_m)


def _add_bay(builder: SurfaceBuilder, house: House, at: Placement, door_m: float) -> None:
    """A glazed bay on the half of the front without the door."""
    x_m = house.width_m * 0.75 if door_m < house.width_m / 2 else house.width_m * 0.25
    low, high = x_m - 1.3, x_m + 1.3
    builder.box(at, (low, -0.8, 0.0), (high, 0.0, 0.8), Material.PLAIN, house.wall)
    builder.box(at, (low + 0.05, -0.75, 0.8), (high - 0.05, 0.0, 2.3), Material.GLASS, (0.06, 0.07, 0.08))
    for post in np.linspace(low, high - 0.12, 4):
        builder.box(at, (post, -0.8, 0.8), (post + 0.12, -0.7, 2.3), Material.PLAIN, house.trim)
    taper = (0.5, 0.5, 0.5, 0.0)
    builder.box(at, (low - 0.1, -0.95, 2.3), (high + 0.1, 0, 2.8), Material.ROOF, house.roof_colour, taper=taper)


def _add_awning(builder: SurfaceBuilder, house: House, at: Placement) -> None:
    low, high, z_m = 0.6, house.width_m - 0.6, 2.9
    slope = [(low, 0.0, z_m + 0.4), (low, -1.5, z_m - 0.35), (high, -1.5, z_m - 0.35), (high, 0.0, z_m + 0.4)]
    builder.polygon(at, slope, Material.PLAIN, house.accent)
    rim = [(low, -1.5, z_m - 0.35), (low, -1.5, z_m - 0.6), (high, -1.5, z_m - 0.6), (high, -1.5, z_m - 0.35)]
    builder.polygon(at, rim, Material.PLAIN, shaded(house.accent, 2.2))


def _add_balconies(builder: SurfaceBuilder, house: House, at: Placement, rng: np.random.Generator) -> None:
    columns = max(round(house.width_m / house.design.pitch_m), 1)
    pitch_m = house.width_m / columns
    column = int(rng.integers(columns))
    low, high = column * pitch_m + 0.15, min((column + 2) * pitch_m, house.width_m) - 0.15
    for storey in range(1, house.storeys):
        z_m = house.ground_floor_m + (storey - 1) * house.design.storey_m
        builder.box(at, (low, -1.1, z_m - 0.12), (high, 0.0, z_m + 0.02), Material.PLAIN, (0.5, 0.5, 0.48))
        builder.box(at, (low, -1.1, z_m + 0.95), (high, -1.05, z_m + 1.02), Material.PLAIN, (0.1, 0.1, 0.11))
        for x_m in np.arange(low, high, 0.42):
            builder.box(at, (x_m, -1.1, z_m), (x_m + 0.05, -1.06, z_m + 0.95), Material.PLAIN, (0.1, 0.1, 0.11))
