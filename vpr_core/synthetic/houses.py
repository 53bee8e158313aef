"""Houses: a few designs that the whole town shares, varied in width, colour, storeys and roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vpr_core.synthetic.facades import Colour
from vpr_core.synthetic.streets import StreetKind

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


T = TypeVar("T")


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
    low_m, high_m = {
        StreetKind.TERRACES: (5.6, 7.6),
        StreetKind.VILLAS: (8.5, 12.5),
        StreetKind.CENTRE: (10.0, 17.0),
    }[design.kind]
    shop = design.kind == StreetKind.CENTRE and rng.random() < 0.65
    return House(
        design=design,
        width_m=float(rng.uniform(low_m, high_m)),
        depth_m=float(rng.uniform(8.5, 10.5)),
        storeys=int(_pick(rng, design.storeys)),
        ground_floor_m=3.8 if shop else design.storey_m + 0.15,
        wall=shaded(_pick(rng, design.walls), 1 + rng.normal(0, 0.06)),
        trim=_pick(rng, design.trims),
        accent=_pick(rng, design.accents),
        roof=_pick(rng, design.roofs),
        roof_colour=_pick(rng, design.roof_colours),
        shop=shop,
        detached=design.kind == StreetKind.VILLAS,
        seed=int(rng.integers(2**31)),
    )
