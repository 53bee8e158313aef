"""Houses: a few designs that the whole town shares, varied in width, colour, storeys and what is built on to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vpr_core.synthetic.facades import Colour, Facade
from vpr_core.synthetic.roofs import add_roof
from vpr_core.synthetic.streets import StreetKind
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder

_PLASTER: list[Colour] = [
    (0.66, 0.60, 0.48),
    (0.62, 0.52, 0.36),
    (0.70, 0.67, 0.60),
    (0.58, 0.44, 0.34),
    (0.50, 0.52, 0.50),
    (0.60, 0.55, 0.50),
]
_BRICK: list[Colour] = [(0.36, 0.17, 0.12), (0.30, 0.18, 0.13), (0.42, 0.26, 0.17), (0.40, 0.33, 0.25)]
_TRIM: list[Colour] = [(0.75, 0.74, 0.70), (0.70, 0.66, 0.56), (0.22, 0.15, 0.10), (0.13, 0.15, 0.17)]
_ACCENT: list[Colour] = [
    (0.07, 0.16, 0.10),
    (0.08, 0.12, 0.24),
    (0.32, 0.06, 0.05),
    (0.22, 0.13, 0.07),
    (0.12, 0.13, 0.14),
    (0.45, 0.30, 0.07),
]
_ROOFS: list[Colour] = [(0.38, 0.16, 0.10), (0.29, 0.14, 0.10), (0.16, 0.16, 0.18), (0.24, 0.19, 0.16)]


@dataclass(frozen=True)
class Design:
    """What all houses of one builder have in common."""

    kind: StreetKind
    walls: tuple[Colour, ...]
    brick: float
    trims: tuple[Colour, ...]
    accents: tuple[Colour, ...]
    roofs: tuple[str, ...]
    roof_colours: tuple[Colour, ...]
    storeys: tuple[int, ...]
    storey_m: float
    pitch_m: float
    """Wanted distance from window to window."""
    window_m: tuple[float, float]
    sill_m: float
    shutters: float
    panes: float
    course: float
    plinth_m: float


@dataclass(frozen=True)
class House:
    """One house in its frame: x along the street, y away from it, the front at y = 0 from x = 0 to width_m."""

    design: Design
    width_m: float
    depth_m: float
    storeys: int
    ground_floor_m: float
    wall: Colour
    trim: Colour
    accent: Colour
    roof: str
    roof_colour: Colour
    shop: bool
    detached: bool
    seed: int

    @property
    def height_m(self) -> float:
        """Of the eaves."""
        return self.ground_floor_m + (self.storeys - 1) * self.design.storey_m + 0.3


def designs(rng: np.random.Generator) -> dict[StreetKind, list[Design]]:
    """The designs of one town, three for each kind of street."""
    return {kind: [_design(rng, kind) for _ in range(3)] for kind in StreetKind}


def _design(rng: np.random.Generator, kind: StreetKind) -> Design:
    brick = bool(rng.random() < {StreetKind.TERRACES: 0.6, StreetKind.VILLAS: 0.25, StreetKind.CENTRE: 0.35}[kind])
    roofs = {
        StreetKind.TERRACES: ("gable",),
        StreetKind.VILLAS: ("gable", "front", "hip"),
        StreetKind.CENTRE: ("flat", "mansard", "gable"),
    }[kind]
    storeys = {StreetKind.TERRACES: (2, 2, 3), StreetKind.VILLAS: (1, 2, 2), StreetKind.CENTRE: (3, 4, 4, 5)}[kind]
    return Design(
        kind=kind,
        walls=_some(rng, _BRICK if brick else _PLASTER, 2 if kind == StreetKind.TERRACES else 3),
        brick=float(brick),
        trims=_some(rng, _TRIM, 2),
        accents=_some(rng, _ACCENT, 3),
        roofs=_some(rng, roofs, 2),
        roof_colours=_some(rng, _ROOFS, 2),
        storeys=storeys,
        storey_m=float(rng.uniform(2.75, 3.15)),
        pitch_m=float(rng.uniform(1.9, 2.6)),
        window_m=(float(rng.uniform(0.9, 1.35)), float(rng.uniform(1.3, 1.75))),
        sill_m=float(rng.uniform(0.75, 0.95)),
        shutters=float(not brick and rng.random() < 0.4),
        panes=float(rng.integers(1, 4)),
        course=float(rng.random() < 0.4),
        plinth_m=float(rng.uniform(0.25, 0.7)),
    )


def _some(rng: np.random.Generator, choices: list | tuple, count: int) -> tuple:
    return tuple(choices[int(i)] for i in rng.permutation(len(choices))[:count])


def _pick(rng: np.random.Generator, choices: tuple):  # type: ignore[no-untyped-def]
    return choices[int(rng.integers(len(choices)))]


def draw_house(rng: np.random.Generator, design: Design) -> House:
    """One house of a design."""
    low_m, high_m = {
        StreetKind.TERRACES: (5.6, 7.6),
        StreetKind.VILLAS: (8.5, 12.5),
        StreetKind.CENTRE: (10.0, 17.0),
    }[design.kind]
    shop = design.kind == StreetKind.CENTRE and rng.random() < 0.65
    tint = 1 + rng.normal(0, 0.05)
    return House(
        design=design,
        width_m=float(rng.uniform(low_m, high_m)),
        depth_m=float(rng.uniform(8.5, 10.5)),
        storeys=int(_pick(rng, design.storeys)),
        ground_floor_m=3.8 if shop else design.storey_m + 0.15,
        wall=tuple(min(float(c * tint + rng.normal(0, 0.012)), 0.85) for c in _pick(rng, design.walls)),
        trim=_pick(rng, design.trims),
        accent=_pick(rng, design.accents),
        roof=_pick(rng, design.roofs),
        roof_colour=_pick(rng, design.roof_colours),
        shop=shop,
        detached=design.kind == StreetKind.VILLAS,
        seed=int(rng.integers(2**31)),
    )


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
    _add_extras(builder, facades, house, at, rng)


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
    builder: SurfaceBuilder, facades: list[Facade], house: House, at: Placement, rng: np.random.Generator
) -> None:
    kind = house.design.kind
    if house.roof in ("gable", "front", "hip") and rng.random() < 0.8:
        _add_chimney(builder, house, at, rng)
    if house.roof == "gable" and rng.random() < 0.4:
        _add_dormer(builder, facades, house, at, rng)
    if kind != StreetKind.CENTRE:
        _add_porch(builder, facades[-1] if not facades else _front(facades, house), house, at, rng)
        return
    builder.box(at, (0.0, -0.3, house.height_m - 0.35), (house.width_m, 0.0, house.height_m), Material.PLAIN, house.trim)
    if house.shop and rng.random() < 0.5:
        _add_awning(builder, house, at)
    elif rng.random() < 0.6:
        _add_balconies(builder, house, at, rng)


def _front(facades: list[Facade], house: House) -> Facade:
    return next(facade for facade in reversed(facades) if facade.seed == house.seed)


def _add_chimney(builder: SurfaceBuilder, house: House, at: Placement, rng: np.random.Generator) -> None:
    x_m = float(rng.uniform(0.15, 0.85)) * house.width_m
    y_m = house.depth_m * float(rng.uniform(0.4, 0.6))
    top_m = house.height_m + 0.5 * house.depth_m * 0.8 + 0.6
    low, high = (x_m - 0.4, y_m - 0.3, house.height_m), (x_m + 0.4, y_m + 0.3, top_m)
    builder.box(at, low, high, Material.PLAIN, (0.30, 0.17, 0.13))


def _add_dormer(
    builder: SurfaceBuilder, facades: list[Facade], house: House, at: Placement, rng: np.random.Generator
) -> None:
    """A small window house on the front slope; its front is a façade of one window."""
    x_m = float(rng.uniform(0.25, 0.6)) * house.width_m
    foot_m, top_m, size_m = house.height_m + 0.3, house.height_m + 2.0, 1.7
    corner = at.to_map(np.array([(x_m, 0.9)]))[0]
    front = replace(
        _front(facades, house),
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
    facades.append(front)
    quad = [(x, 0.9, z) for x, z in ((x_m, foot_m), (x_m + size_m, foot_m), (x_m + size_m, top_m), (x_m, top_m))]
    builder.polygon(at, quad, Material.WALL, house.wall, owner=len(facades) - 1)
    builder.box(at, (x_m, 0.92, foot_m), (x_m + size_m, 4.0, top_m), Material.PLAIN, house.wall)
    builder.box(at, (x_m - 0.2, 0.7, top_m), (x_m + size_m + 0.2, 4.2, top_m + 0.15), Material.ROOF, house.roof_colour)


def _add_porch(
    builder: SurfaceBuilder, front: Facade, house: House, at: Placement, rng: np.random.Generator
) -> None:
    pitch_m = house.width_m / front.columns
    x_m = (front.door_column + 0.5) * pitch_m
    builder.box(at, (x_m - 0.8, -0.5, 0.0), (x_m + 0.8, 0.0, 0.15), Material.PLAIN, (0.40, 0.39, 0.37))
    if rng.random() < 0.45:
        roof = (0.3, 0.3, 0.3, 0.0) if rng.random() < 0.5 else (0.0, 0.0, 0.0, 0.0)
        builder.box(at, (x_m - 1, -0.95, 2.5), (x_m + 1, 0, 2.75), Material.PLAIN, house.trim, taper=roof)
    if house.detached and rng.random() < 0.45:
        _add_bay(builder, front, house, at, x_m)


def _add_bay(builder: SurfaceBuilder, front: Facade, house: House, at: Placement, door_m: float) -> None:
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
    builder.polygon(at, rim, Material.PLAIN, tuple(min(c * 2.2, 0.8) for c in house.accent))


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
