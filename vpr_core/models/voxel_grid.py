"""Dense occupancy grids of clouds: what AdaFusion's voxel branch takes.

Wang et al., "AdaFusion: Visual-LiDAR Fusion with Adaptive Weights for Place Recognition", RA-L 2022. No torch here:
recipes name a grid, and the command line reads recipes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from vpr_core.errors import InputError, RecipeError

__all__ = ["CloudGrid"]

MIN_CELLS = 8
"""Along each axis: the voxel branch halves its input three times."""


@dataclass(frozen=True)
class CloudGrid:
    """Where a cloud is looked at, and how finely.

    Both AdaFusion and DistilVPR have lower_m [-0.8, -0.4, -0.2], upper_m [0.8, 0.4, 0.4] and 72 x 72 x 48 cells for
    the submaps of Oxford RobotCar, whose coordinates lie in [-1, 1]. No bounds in metres are published.

    Args:
        lower_m: corner of the grid, x, y, z in the LiDAR's frame [m].
        upper_m: the opposite corner [m].
        cells: how many along x, y, z.
        axes: sensor takes points as they are, as DistilVPR does; adafusion turns (x, y, z) into (-y, -x, z) first.
    """

    lower_m: tuple[float, float, float] = (-36.0, -36.0, -4.0)
    upper_m: tuple[float, float, float] = (36.0, 36.0, 20.0)
    cells: tuple[int, int, int] = (72, 72, 48)
    axes: Literal["sensor", "adafusion"] = "sensor"

    def __post_init__(self) -> None:
        if not len(self.lower_m) == len(self.upper_m) == len(self.cells) == 3 or min(self.cells) < MIN_CELLS:
            raise RecipeError(
                f"grid: lower_m, upper_m and cells need x, y and z, and cells {MIN_CELLS} or more of each"
            )
        if not all(low < high < math.inf for low, high in zip(self.lower_m, self.upper_m, strict=True)):
            raise RecipeError(f"grid: lower_m {self.lower_m} must be below upper_m {self.upper_m} on every axis")
        if self.axes not in ("sensor", "adafusion"):
            raise RecipeError(f"grid: axes is {self.axes!r}, expected sensor or adafusion")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> CloudGrid:
        """From what `as_json` gives, or YAML; raises RecipeError for a key that no grid has."""
        if unknown := sorted(set(values) - {known.name for known in fields(cls)}):
            raise RecipeError(f"grid has no {', '.join(unknown)}")
        bounds: dict[str, Any] = {name: tuple(value) for name, value in values.items() if name != "axes"}
        return cls(**bounds, axes=values.get("axes", "sensor"))

    def as_json(self) -> dict[str, Any]:
        """The grid as what JSON gives back: lists for tuples."""
        values = {known.name: getattr(self, known.name) for known in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def occupancy(self, cloud: np.ndarray) -> np.ndarray:
        """float32 [X, Y, Z]: 1 where a cell has a point of the cloud [N, 3+] (x, y, z [m] first), else 0.

        A point p lies in the cell round((p - lower) * cells / (upper - lower)), as published: the first cell reaches
        half a cell below `lower_m`, the last ends half a cell below `upper_m`. Points that are not finite or lie in no
        cell are left out. Raises InputError where none is left.
        """
        index = self._index(cloud)
        if not len(index):
            raise InputError(
                f"none of the cloud's {len(cloud)} points lies in the grid from {self.lower_m} to {self.upper_m} m: "
                "choose the bounds of `grid` for these clouds",
                kind="range",
            )
        cells = np.zeros(self.cells, np.float32)
        cells[tuple(index.T)] = 1.0
        return cells

    def batch(self, clouds: Sequence[np.ndarray]) -> np.ndarray:
        """float32 [B, 1, X, Y, Z] of B clouds; raises InputError as `occupancy` does."""
        if not clouds:
            raise InputError("a batch needs at least one cloud, got none")
        return np.stack([self.occupancy(cloud) for cloud in clouds])[:, None]

    def _index(self, cloud: np.ndarray) -> np.ndarray:
        """int64 [M, 3]: the cell of every point that lies in one."""
        if cloud.ndim != 2 or cloud.shape[1] < 3:
            raise InputError(f"points need the shape [N, 3] or wider, got {tuple(cloud.shape)}")
        points = cloud[np.isfinite(cloud[:, :3]).all(axis=1), :3].astype(np.float64)
        if self.axes == "adafusion":
            points = points[:, [1, 0, 2]] * (-1.0, -1.0, 1.0)
        lower, upper, cells = (np.array(values, np.float64) for values in (self.lower_m, self.upper_m, self.cells))
        index = np.round((points - lower) * cells / (upper - lower))
        inside = ((index >= 0) & (index < cells)).all(axis=1)
        return index[inside].astype(np.int64)
