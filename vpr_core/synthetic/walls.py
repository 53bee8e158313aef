"""Walls: plaster or brick, windows, doors, shops, drawn from the façade table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.facades import FacadeTable
from vpr_core.synthetic.materials import SNOW, Spots, mirrored_sky, window_lamps
from vpr_core.synthetic.texture import bar, blotches, dot, grain, hashed, mixed, row

_WARM = (1.0, 0.72, 0.38)
_CURTAIN = (1.0, 0.97, 0.92)
_GOODS = (1.0, 0.9, 0.8)
_UP = np.array([0.0, 0.0, 1.0], np.float32)


@dataclass(frozen=True)
class _Cell:
    """Where on its façade each of N points lies: in which window's cell, and where in it [m]."""

    u: np.ndarray
    v: np.ndarray
    """From the foot of the wall."""
    u_px: np.ndarray
    v_px: np.ndarray
    """Width of a pixel along u and v."""
    column: np.ndarray
    level: np.ndarray
    """Storey, 0 on the ground floor; int32."""
    across: np.ndarray
    """From the middle of the cell."""
    above_floor: np.ndarray
    pitch: np.ndarray


class _Rows:
    """The façade table at the rows of N points."""

    def __init__(self, table: FacadeTable, rows: np.ndarray) -> None:
        self._table, self._rows = table, rows
        self._taken: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._taken:
            self._taken[name] = self._table[name][self._rows]
        return self._taken[name]


def wall_colour(
    spots: Spots, table: FacadeTable, rows: np.ndarray, condition: Condition, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance and own light, both [N, 3], of points on the façades `rows` [N]; `seed` chooses the lit windows."""
    facade = _Rows(table, rows)
    cell = _cell(spots, facade)
    colour = _masonry(cell, facade)
    light = np.zeros_like(colour)
    mirrored = mirrored_sky(spots, condition)
    colour, light = _windows(cell, facade, colour, light, mirrored, condition, seed)
    colour = _doors(cell, facade, colour)
    return _shops(cell, facade, colour, light, mirrored, condition, seed)


def _cell(spots: Spots, facade: _Rows) -> _Cell:
    corner, axis = facade["corner_m"], facade["axis"]
    u = dot(spots.points_m[:, :2] - corner, axis)
    v = spots.points_m[:, 2] - facade["foot_m"]
    ground_floor, storey = facade["ground_floor_m"], facade["storey_m"]
    above = (v - ground_floor) / storey
    level = np.where(v < ground_floor, 0, np.floor(above) + 1)
    pitch = facade["width_m"] / np.maximum(facade["columns"], 1)
    column = np.clip(np.floor(u / pitch), 0, np.maximum(facade["columns"] - 1, 0))
    return _Cell(
        u=u,
        v=v,
        u_px=spots.pixel_along_m(np.column_stack([axis, np.zeros(len(axis), np.float32)])),
        v_px=spots.pixel_along_m(_UP),
        column=column.astype(np.int32),
        level=level.astype(np.int32),
        across=u - (column + np.float32(0.5)) * pitch,
        above_floor=np.where(level == 0, v, v - ground_floor - (level - 1) * storey),
        pitch=pitch,
    )


def _masonry(cell: _Cell, facade: _Rows) -> np.ndarray:
    """Plaster or brick with plinth and bands, [N, 3]."""
    seed = facade["seed"].astype(np.float32) % 997
    fade = 1 / (1 + (np.maximum(cell.u_px, cell.v_px) / 0.07) ** 2)
    course = np.floor(cell.v / np.float32(0.075))
    bricks = grain(cell.u + np.float32(0.11) * (course % 2), course * np.float32(0.22), 0.22)
    mortar = np.maximum(1 - bar(cell.v % 0.075, 0.012, 0.075, cell.v_px), 0)
    stains = blotches(cell.u + seed, cell.v * np.float32(0.5), 2.5)
    drips = blotches(cell.u * 3 + seed, cell.v * np.float32(0.25), 2.5) * np.clip(1 - cell.v / 9, 0.2, 1)
    tone = 1 + 0.07 * stains + 0.06 * drips + facade["brick"] * (0.22 * bricks + 0.25 * mortar) * fade
    tone *= 0.82 + 0.18 * np.clip(cell.v / 1.2, 0, 1)
    colour = facade["wall"] * tone[:, None]
    plinth = bar(cell.v, -1.0, facade["plinth_m"], cell.v_px)
    colour = mixed(colour, colour * 0.35 + np.float32(0.09), plinth)
    band = bar(cell.above_floor, -0.09, 0.09, cell.v_px) * facade["course"] * (cell.level > 0)
    return mixed(colour, facade["trim"], band)


def _windows(
    cell: _Cell,
    facade: _Rows,
    colour: np.ndarray,
    light: np.ndarray,
    mirrored: np.ndarray,
    condition: Condition,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    house = facade["seed"]
    there = (cell.level < facade["storeys"]) & (facade["columns"] > 0) & ~_is_shop(cell, facade)
    there &= ~_is_door(cell, facade) & (hashed(house, cell.column, cell.level, 3) >= facade["blind_share"])
    size = facade["window_m"]
    half = np.minimum(size[:, 0], cell.pitch - np.float32(0.4)) / 2
    sill, top = facade["sill_m"], facade["sill_m"] + size[:, 1]

    def box(margin: float) -> np.ndarray:
        beside = bar(cell.across, -half - margin, half + margin, cell.u_px)
        return beside * bar(cell.above_floor, sill - margin, top + margin, cell.v_px) * there

    colour = _shutters(cell, facade, colour, half, there)
    ledge = bar(cell.across, -half - 0.12, half + 0.12, cell.u_px) * bar(cell.above_floor, sill - 0.14, sill, cell.v_px)
    colour = mixed(colour, facade["trim"], np.maximum(box(0.07), ledge * there))
    glass = box(-0.03) * (1 - _window_bars(cell, facade, half, sill, size[:, 1]))
    inside = _curtains(cell, facade, half, sill, top)
    recess = 1 - 0.5 * bar(cell.above_floor, top - 0.16, top + 0.1, cell.v_px)
    colour = mixed(colour, (inside * recess)[:, None] * row(_CURTAIN), glass)
    lamp = window_lamps(condition, seed, house, cell.column, cell.level) * (0.35 + inside)
    shown = mirrored * 1.6 + lamp[:, None] * row(_WARM)
    if condition.snow:
        on_sill = _snow_on_sill(cell, half, sill) * there * np.float32(condition.snow)
        return mixed(colour, SNOW, on_sill), light + shown * (glass * (1 - on_sill))[:, None]
    return colour, light + shown * glass[:, None]


def _snow_on_sill(cell: _Cell, half: np.ndarray, sill: np.ndarray) -> np.ndarray:
    rim = bar(cell.across, -half - 0.12, half + 0.12, cell.u_px)
    return rim * bar(cell.above_floor, sill - 0.03, sill + 0.07, cell.v_px)


def _shutters(cell: _Cell, facade: _Rows, colour: np.ndarray, half: np.ndarray, there: np.ndarray) -> np.ndarray:
    fits = facade["shutters"] * (half + 0.55 < cell.pitch / 2) * there
    beside = bar(np.abs(cell.across), half + 0.08, half + 0.5, cell.u_px)
    upright = bar(cell.above_floor, facade["sill_m"], facade["sill_m"] + facade["window_m"][:, 1], cell.v_px)
    return mixed(colour, facade["accent"], beside * upright * fits)


def _window_bars(cell: _Cell, facade: _Rows, half: np.ndarray, sill: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Share of glazing bars, [N]."""
    pane = 2 * half / facade["panes"]
    from_bar = (cell.across + half + pane / 2) % pane - pane / 2
    upright = bar(from_bar, -0.03, 0.03, cell.u_px)
    cross = bar(cell.above_floor - sill, 0.66 * height - 0.03, 0.66 * height + 0.03, cell.v_px)
    return np.maximum(upright, cross * (facade["panes"] > 1))


def _curtains(cell: _Cell, facade: _Rows, half: np.ndarray, sill: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Brightness of what is behind the glass, [N]: mostly dark, with curtains and blinds in some windows."""
    kind = hashed(facade["seed"], cell.column, cell.level, 1)
    drawn = hashed(facade["seed"], cell.column, cell.level, 2)
    sides = np.abs(cell.across) > half * (1 - 0.5 * drawn)
    blind = cell.above_floor > top - (top - sill) * drawn
    covered = np.where(kind < 0.45, sides, np.where(kind < 0.7, blind, False))
    return np.where(covered, np.float32(0.34), np.float32(0.025))


def _is_door(cell: _Cell, facade: _Rows) -> np.ndarray:
    return (cell.level == 0) & (cell.column == facade["door_column"])


def _is_shop(cell: _Cell, facade: _Rows) -> np.ndarray:
    return (cell.level == 0) & (facade["shop"] > 0)


def _doors(cell: _Cell, facade: _Rows, colour: np.ndarray) -> np.ndarray:
    there = _is_door(cell, facade)

    def box(half: float, top: float) -> np.ndarray:
        return bar(cell.across, -half, half, cell.u_px) * bar(cell.above_floor, -1.0, top, cell.v_px) * there

    colour = mixed(colour, facade["trim"], box(0.66, 2.55))
    colour = mixed(colour, facade["accent"], box(0.52, 2.1))
    pane = bar(cell.across, -0.45, 0.45, cell.u_px) * bar(cell.above_floor, 2.17, 2.45, cell.v_px) * there
    return mixed(colour, (0.04, 0.05, 0.06), pane)


def _shops(
    cell: _Cell,
    facade: _Rows,
    colour: np.ndarray,
    light: np.ndarray,
    mirrored: np.ndarray,
    condition: Condition,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    shop = _is_shop(cell, facade).astype(np.float32)
    upright = bar(cell.across, 0.12 - cell.pitch / 2, cell.pitch / 2 - 0.12, cell.u_px)
    door = _is_door(cell, facade)
    sill = np.where(door, np.float32(0.05), np.float32(0.55))
    glass = shop * upright * bar(cell.v, sill, 2.65, cell.v_px)
    goods = 0.05 + 0.22 * hashed(facade["seed"], np.floor(cell.u / 0.7).astype(np.int32), 5) * (cell.v < 1.5)
    colour = mixed(colour, facade["accent"], shop * bar(cell.v, -1.0, 3.5, cell.v_px))
    colour = mixed(colour, goods[:, None] * row(_GOODS), glass)
    colour = mixed(colour, facade["trim"], shop * _lettering(cell, facade))
    lamp = window_lamps(condition, seed, facade["seed"]) * (0.5 + 2 * goods)
    shown = mirrored * 1.3 + lamp[:, None] * row(_WARM)
    return colour, light + shown * glass[:, None]


def _lettering(cell: _Cell, facade: _Rows) -> np.ndarray:
    """Something that reads like a name on the sign of a shop, [N]."""
    middle = np.abs(cell.u - facade["width_m"] / 2) < facade["width_m"] * 0.28
    letter = np.floor(cell.u / np.float32(0.3))
    stroke = np.floor(cell.u / np.float32(0.075)).astype(np.int32)
    row = np.floor(cell.v / np.float32(0.09)).astype(np.int32)
    inked = hashed(facade["seed"], stroke, row, 9) < 0.62
    gap = (cell.u - letter * np.float32(0.3)) < 0.07
    word = hashed(facade["seed"], letter.astype(np.int32), 11) > 0.12
    near = 1 / (1 + (cell.u_px / 0.08) ** 2)
    share = np.where(inked, np.float32(1), np.float32(0)) * near + 0.55 * (1 - near)
    return share * (middle & word & ~gap) * bar(cell.v, 2.88, 3.32, cell.v_px)
