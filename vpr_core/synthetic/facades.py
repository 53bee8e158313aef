"""Façades: one row per wall that says how its windows, doors and bricks are laid out. They are drawn, not modelled."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Facade:
    """One wall. u runs along it from the corner at its left as seen from outside, v upwards from its foot [m]."""

    corner_m: tuple[float, float]
    axis: tuple[float, float]
    """Unit direction of u in the map frame."""
    foot_m: float
    width_m: float
    wall: Colour
    trim: Colour
    accent: Colour
    ground_floor_m: float
    storey_m: float
    storeys: int
    """Rows of windows, the ground floor included."""
    columns: int
    """Windows beside each other; 0 on a blind wall."""
    window_m: tuple[float, float]
    """Width and height of a window."""
    sill_m: float
    """Height of the sill above the floor."""
    seed: int
    brick: float = 0.0
    shutters: float = 0.0
    panes: float = 2.0
    """Panes beside each other in a window."""
    plinth_m: float = 0.4
    course: float = 0.0
    """1 where a band of trim runs between storeys."""
    door_column: int = -1
    shop: float = 0.0
    """1 where the ground floor is shop windows under a sign."""
    blind_share: float = 0.0
    """Share of windows that are walled up."""


class FacadeTable:
    """Façades as one array per field, [W] or [W, k] float32 (seed: [W] uint32)."""

    def __init__(self, facades: list[Facade]) -> None:
        self._columns = {
            field.name: np.array(
                [getattr(facade, field.name) for facade in facades], np.uint32 if field.name == "seed" else np.float32
            )
            for field in fields(Facade)
        }

    def __len__(self) -> int:
        return len(self._columns["seed"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]
