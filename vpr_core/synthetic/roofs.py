"""The roofs of houses, in the frame of the house: x along the street, y away from it."""

from __future__ import annotations

from vpr_core.synthetic.facades import Colour
from vpr_core.synthetic.surface import Material, Placement, SurfaceBuilder

_STEEPNESS = 0.8
_EAVES_M = 0.4


def add_roof(
    builder: SurfaceBuilder,
    at: Placement,
    shape: str,
    size_m: tuple[float, float, float],
    colour: Colour,
    owners: list[int],
    detached: bool,
) -> None:
    """A roof on walls of size (width, depth, height of the eaves).

    shape: "gable" (ridge along the street), "front" (gable to the street), "hip", "mansard" or "flat". owners: façade
    rows of the front, right, back and left wall, whose gables they reach up into. Only detached houses have eaves at
    their sides.
    """
    if shape == "gable":
        _along(builder, at, size_m, colour, (owners[1], owners[3]), _EAVES_M if detached else 0.0)
    elif shape == "front":
        _across(builder, at, size_m, colour, (owners[0], owners[2]))
    elif shape == "hip":
        _hip(builder, at, size_m, colour)
    elif shape == "mansard":
        width, depth, height = size_m
        box = ((0.0, 0.0, height), (width, depth, height + 2.6))
        builder.box(at, *box, Material.ROOF, colour, taper=(0.0, 0.0, 1.1, 1.1))
    else:
        width, depth, height = size_m
        low, high = height - 0.5, height - 0.45
        builder.box(at, (0.02, 0.02, low), (width - 0.02, depth - 0.02, high), Material.PLAIN, (0.25, 0.25, 0.25))


def _along(
    builder: SurfaceBuilder,
    at: Placement,
    size_m: tuple[float, float, float],
    colour: Colour,
    owners: tuple[int, int],
    side_m: float,
) -> None:
    width, depth, height = size_m
    ridge, eaves = height + _STEEPNESS * depth / 2, height - _STEEPNESS * _EAVES_M
    for foot in (-_EAVES_M, depth + _EAVES_M):
        low = [(-side_m, foot, eaves), (width + side_m, foot, eaves)]
        builder.polygon(
            at, [*low, (width + side_m, depth / 2, ridge), (-side_m, depth / 2, ridge)], Material.ROOF, colour
        )
    for x, owner in zip((width, 0.0), owners, strict=True):
        gable = [(x, 0.0, height), (x, depth, height), (x, depth / 2, ridge)]
        builder.polygon(at, gable, Material.WALL, (0.5, 0.5, 0.5), owner=owner)


def _across(
    builder: SurfaceBuilder,
    at: Placement,
    size_m: tuple[float, float, float],
    colour: Colour,
    owners: tuple[int, int],
) -> None:
    width, depth, height = size_m
    ridge, eaves = height + _STEEPNESS * width / 2, height - _STEEPNESS * _EAVES_M
    front, back = -_EAVES_M, depth + _EAVES_M
    for foot in (-_EAVES_M, width + _EAVES_M):
        corners = [(foot, front, eaves), (foot, back, eaves), (width / 2, back, ridge), (width / 2, front, ridge)]
        builder.polygon(at, corners, Material.ROOF, colour)
    for y, owner in zip((0.0, depth), owners, strict=True):
        gable = [(0.0, y, height), (width, y, height), (width / 2, y, ridge)]
        builder.polygon(at, gable, Material.WALL, (0.5, 0.5, 0.5), owner=owner)


def _hip(builder: SurfaceBuilder, at: Placement, size_m: tuple[float, float, float], colour: Colour) -> None:
    width, depth, height = size_m
    inset = 0.45 * min(width, depth)
    o, eaves, ridge = _EAVES_M, height - _STEEPNESS * _EAVES_M, height + _STEEPNESS * inset
    a, b, c, d = (-o, -o, eaves), (width + o, -o, eaves), (width + o, depth + o, eaves), (-o, depth + o, eaves)
    if width >= depth:
        e, f = (inset, depth / 2, ridge), (width - inset, depth / 2, ridge)
        faces = [[a, b, f, e], [b, c, f], [c, d, e, f], [d, a, e]]
    else:
        e, f = (width / 2, inset, ridge), (width / 2, depth - inset, ridge)
        faces = [[a, b, e], [b, c, f, e], [c, d, f], [d, a, e, f]]
    for corners in faces:
        builder.polygon(at, corners, Material.ROOF, colour)
