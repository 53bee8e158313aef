"""Styles of towns: the parameters in which they differ, all built by the same code."""

from __future__ import annotations

from dataclasses import dataclass, field

from vpr_core.errors import VprError
from vpr_core.synthetic.houses import MODERN_BUILDS, OLD_BUILDS, Build
from vpr_core.synthetic.streets import Grid, StreetKind
from vpr_core.synthetic.trees import TreeShape


@dataclass(frozen=True)
class Style:
    """What the towns of one style have in common; the values given here are those of an old town."""

    name: str
    grid: Grid = field(default_factory=Grid)
    builds: dict[StreetKind, Build] = field(default_factory=lambda: OLD_BUILDS)
    corner_m: float = 6.0
    """How near to the middle of a crossing the first house may begin."""
    repeated: bool = False
    """Whether every house is the same one."""
    gaps: float = 0.06
    """Share of houses that do not join the next one."""
    lamp: str = "arm"
    """"arm" or "post"."""
    lamp_starts_m: tuple[float, float] = (12.0, 25.0)
    """Where the first lamp on the left and on the right of a street stands."""
    lamp_pitch_m: float = 27.0
    signs: float = 0.55
    traffic_lights: bool = True
    tree_lined: float = 0.5
    """Share of the sides of streets with trees."""
    street_trees: tuple[TreeShape, ...] = (TreeShape.ROUND, TreeShape.TALL)
    yard_trees: int = 1300
    parked: tuple[float, float] = (0.2, 0.8)
    """Least and largest share of the places along one side of a street where a car is parked."""
    squares: tuple[str, ...] = ("fountain", "monument", "clock tower", "market")
    """What may stand in the middle of a square; each square of a town has another one."""
    square_count: int = 2
    church: bool = False
    """Whether a church stands beside one street of the loop, in place of houses."""


_ROW = Build((12.0, 12.0), (3,), ("gable",), 0.0, 1.2, walls=2, varied_setback=False, depth_m=(9.0, 9.0))

STYLES = {
    style.name: style
    for style in (
        Style("old_town"),
        Style(
            "modern",
            grid=Grid((84.0, 112.0), 122.0, scatter_m=5.0, sway_m=16.0, bend_m=11.0, kinds=(0.45, 0.2, 0.35)),
            builds=MODERN_BUILDS,
            gaps=0.5,
            lamp="post",
            lamp_pitch_m=21.0,
            street_trees=(TreeShape.TALL, TreeShape.CONIFER),
            tree_lined=0.65,
            squares=("sculpture", "basin", "arches"),
        ),
        Style(
            "identical",
            grid=Grid((87.9, 87.9), 92.0, scatter_m=0.0, bend_m=0.0, missing=0.0, kinds=(1.0, 0.0, 0.0)),
            builds={kind: _ROW for kind in StreetKind},
            corner_m=20.0,
            repeated=True,
            gaps=0.0,
            lamp_starts_m=(26.0, 26.0),
            lamp_pitch_m=12.0,
            signs=0.0,
            traffic_lights=False,
            tree_lined=0.0,
            yard_trees=0,
            parked=(0.0, 0.0),
            square_count=0,
            church=True,
        ),
    )
}


def style_named(name: str) -> Style:
    """Raises VprError on a name that is not one of STYLES."""
    if name not in STYLES:
        raise VprError(f"unknown style {name!r}; the styles of a town are {', '.join(STYLES)}")
    return STYLES[name]
