"""Houses: a few designs that the whole town shares, varied in width, colour, storeys and roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from vpr_core.synthetic.facades import Colour
from vpr_core.synthetic.streets import StreetKind

_PLASTER: tuple[Colour, ...] = (
    (0.66, 0.60, 0.48),
    (0.62, 0.52, 0.36),
    (0.70, 0.67, 0.60),
    (0.58, 0.44, 0.34),
    (0.50, 0.52, 0.50),
    (0.60, 0.55, 0.50),
)
_BRICK: tuple[Colour, ...] = ((0.36, 0.17, 0.12), (0.30, 0.18, 0.13), (0.42, 0.26, 0.17), (0.40, 0.33, 0.25))
_TRIM: tuple[Colour, ...] = ((0.75, 0.74, 0.70), (0.70, 0.66, 0.56), (0.22, 0.15, 0.10), (0.13, 0.15, 0.17))
_ACCENT: tuple[Colour, ...] = (
    (0.07, 0.16, 0.10),
    (0.08, 0.12, 0.24),
    (0.32, 0.06, 0.05),
    (0.22, 0.13, 0.07),
    (0.12, 0.13, 0.14),
    (0.45, 0.30, 0.07),
)
_ROOFS: tuple[Colour, ...] = ((0.38, 0.16, 0.10), (0.29, 0.14, 0.10), (0.16, 0.16, 0.18), (0.24, 0.19, 0.16))
_CONCRETE: tuple[Colour, ...] = (
    (0.72, 0.72, 0.70),
    (0.52, 0.53, 0.54),
    (0.62, 0.58, 0.52),
    (0.34, 0.36, 0.38),
    (0.55, 0.30, 0.20),
)
_CLADDING: tuple[Colour, ...] = ((0.16, 0.18, 0.20), (0.40, 0.43, 0.45), (0.66, 0.67, 0.67), (0.14, 0.20, 0.24))
_METAL: tuple[Colour, ...] = ((0.10, 0.11, 0.12), (0.55, 0.56, 0.57), (0.70, 0.70, 0.70))

T = TypeVar("T")


@dataclass(frozen=True)
class Build:
    """What builders of one time put along one kind of street; pairs are the least and the largest value."""

    width_m: tuple[float, float]
    storeys: tuple[int, ...]
    roofs: tuple[str, ...]
    brick: float
    """Share of designs in brick; the others are plastered."""
    setback_m: float
    """Distance of the fronts from the pavement."""
    plaster: tuple[Colour, ...] = _PLASTER
    trims: tuple[Colour, ...] = _TRIM
    walls: int = 3
    """Colours of walls that a design has."""
    depth_m: tuple[float, float] = (8.5, 10.5)
    storey_m: tuple[float, float] = (2.75, 3.15)
    pitch_m: tuple[float, float] = (1.9, 2.6)
    window_width_m: tuple[float, float] = (0.9, 1.35)
    window_height_m: tuple[float, float] = (1.3, 1.75)
    sill_m: tuple[float, float] = (0.75, 0.95)
    shutters: float = 0.4
    shops: float = 0.0
    porch: bool = True
    cornice: bool = False
    balconies: float = 0.0
    detached: bool = False
    varied_setback: bool = True


OLD_BUILDS = {
    StreetKind.TERRACES: Build((5.6, 7.6), (2, 2, 3), ("gable",), 0.6, 1.2, walls=2),
    StreetKind.VILLAS: Build((8.5, 12.5), (1, 2, 2), ("gable", "front", "hip"), 0.25, 4.0, detached=True),
    StreetKind.CENTRE: Build(
        (10.0, 17.0),
        (3, 4, 4, 5),
        ("flat", "mansard", "gable"),
        0.35,
        0.0,
        shops=0.65,
        porch=False,
        cornice=True,
        balconies=0.6,
        varied_setback=False,
    ),
}
_FLATS = Build(
    (17.0, 27.0),
    (4, 5, 6, 7),
    ("flat",),
    0.2,
    3.0,
    plaster=_CONCRETE,
    trims=_METAL,
    depth_m=(10.5, 12.5),
    pitch_m=(2.9, 3.6),
    window_width_m=(1.7, 2.3),
    window_height_m=(1.4, 1.9),
    sill_m=(0.3, 0.7),
    shutters=0.0,
    porch=False,
    balconies=0.85,
)
MODERN_BUILDS = {
    StreetKind.TERRACES: _FLATS,
    StreetKind.VILLAS: replace(
        _FLATS, width_m=(9.0, 13.0), storeys=(2, 2, 3), setback_m=4.5, porch=True, balconies=0.0, detached=True
    ),
    StreetKind.CENTRE: replace(
        _FLATS,
        width_m=(20.0, 32.0),
        storeys=(5, 6, 8, 10),
        setback_m=0.5,
        brick=0.0,
        plaster=_CLADDING,
        storey_m=(3.3, 3.7),
        pitch_m=(1.5, 2.4),
        window_width_m=(2.2, 2.6),
        window_height_m=(2.4, 2.9),
        sill_m=(0.15, 0.4),
        shops=0.7,
        balconies=0.0,
        varied_setback=False,
    ),
}


@dataclass(frozen=True)
class Design:
    """What all houses of one builder have in common."""

    build: Build
    walls: tuple[Colour, ...]
    brick: float
    trims: tuple[Colour, ...]
    accents: tuple[Colour, ...]
    roofs: tuple[str, ...]
    roof_colours: tuple[Colour, ...]
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


def designs(rng: np.random.Generator, builds: dict[StreetKind, Build]) -> dict[StreetKind, list[Design]]:
    """The designs of one town, three for each kind of street."""
    return {kind: [_design(rng, builds[kind]) for _ in range(3)] for kind in StreetKind}


def _design(rng: np.random.Generator, build: Build) -> Design:
    brick = bool(rng.random() < build.brick)
    return Design(
        build=build,
        walls=_some(rng, _BRICK if brick else build.plaster, build.walls),
        brick=float(brick),
        trims=_some(rng, build.trims, 2),
        accents=_some(rng, _ACCENT, 3),
        roofs=_some(rng, build.roofs, 2),
        roof_colours=_some(rng, _ROOFS, 2),
        storey_m=float(rng.uniform(*build.storey_m)),
        pitch_m=float(rng.uniform(*build.pitch_m)),
        window_m=(float(rng.uniform(*build.window_width_m)), float(rng.uniform(*build.window_height_m))),
        sill_m=float(rng.uniform(*build.sill_m)),
        shutters=float(not brick and rng.random() < build.shutters),
        panes=float(rng.integers(1, 4)),
        course=float(rng.random() < 0.4),
        plinth_m=float(rng.uniform(0.25, 0.7)),
    )


def _some(rng: np.random.Generator, choices: Sequence[T], count: int) -> tuple[T, ...]:
    return tuple(choices[int(i)] for i in rng.permutation(len(choices))[:count])


def _pick(rng: np.random.Generator, choices: tuple[T, ...]) -> T:
    return choices[int(rng.integers(len(choices)))]


def shaded(colour: Colour, factor: float) -> Colour:
    """A lighter or darker colour."""
    red, green, blue = (min(float(channel * factor), 0.85) for channel in colour)
    return red, green, blue


def draw_house(rng: np.random.Generator, design: Design) -> House:
    """One house of a design."""
    build = design.build
    shop = build.shops > 0 and rng.random() < build.shops
    return House(
        design=design,
        width_m=float(rng.uniform(*build.width_m)),
        depth_m=float(rng.uniform(*build.depth_m)),
        storeys=int(_pick(rng, build.storeys)),
        ground_floor_m=3.8 if shop else design.storey_m + 0.15,
        wall=shaded(_pick(rng, design.walls), 1 + rng.normal(0, 0.06)),
        trim=_pick(rng, design.trims),
        accent=_pick(rng, design.accents),
        roof=_pick(rng, design.roofs),
        roof_colour=_pick(rng, design.roof_colours),
        shop=shop,
        detached=build.detached,
        seed=int(rng.integers(2**31)),
    )
