"""What lies on the flat ground, sampled on a grid: distance to the kerb, place on the street, lamp light, walls.

The grid is coarse; a picture interpolates it and draws kerbs, markings and slabs from the distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import cv2
import numpy as np

from vpr_core.synthetic.lines import directions
from vpr_core.synthetic.streets import ROAD_HALF_WIDTH_M, StreetKind, StreetPlan
from vpr_core.synthetic.surface import Placement
from vpr_core.synthetic.texture import as_picture

CELL_M = 0.5
SHADE_CELL_M = 0.125
MARGIN_M = 90.0
PAVEMENT_M = 2.3
"""Width of the pavement beside the road."""
_FAR_M = 200.0
_YARD_M = 24.0


@dataclass(frozen=True)
class GroundSample:
    """The ground under N points; every field is [N] float32."""

    beyond_kerb_m: np.ndarray
    """Distance to the kerb, negative on the road."""
    across_m: np.ndarray
    """Distance from the middle of the nearest road, left of its direction positive."""
    along_m: np.ndarray
    """Distance from the start of the nearest street."""
    to_crossing_m: np.ndarray
    heading_rad: np.ndarray
    """Direction of the nearest street."""
    paved: np.ndarray
    """1 where the yards of the nearest street are paved, 0 where grass grows."""
    lamp_light: np.ndarray
    openness: np.ndarray
    """How much of the sky the ground sees: near 0.5 at the foot of a wall, 1 in the open."""

    def __getitem__(self, chosen: np.ndarray) -> GroundSample:
        return GroundSample(*(getattr(self, field.name)[chosen] for field in fields(self)))


class Ground:
    """The grid of one town. `free` marks cells on which nothing stands yet."""

    def __init__(self, plan: StreetPlan) -> None:
        crossings = np.array(list(plan.crossings_m.values()))
        self._origin_m = crossings.min(axis=0) - MARGIN_M
        size = np.ceil((crossings.max(axis=0) + MARGIN_M - self._origin_m) / CELL_M).astype(int)
        self._shape = (int(size[1]), int(size[0]))
        self._lay_streets(plan, crossings)
        self.free = self._beyond_kerb_m > PAVEMENT_M
        self._built = np.zeros(self._shape, np.uint8)
        self._lamps_m: list[tuple[float, float]] = []

    def _centres_m(self) -> np.ndarray:
        rows, columns = np.indices(self._shape, np.float32)
        return np.stack([columns, rows], axis=-1) * CELL_M + self._origin_m.astype(np.float32)

    def _cells(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns, rows = np.rint((points_m - self._origin_m) / CELL_M).astype(int).T
        return np.clip(rows, 0, self._shape[0] - 1), np.clip(columns, 0, self._shape[1] - 1)

    def _lay_streets(self, plan: StreetPlan, crossings_m: np.ndarray) -> None:
        points, directions, along, paved = (np.concatenate(column) for column in zip(*_samples(plan), strict=True))
        index = self._nearest(points)
        centres = self._centres_m()
        offset = centres - points[index].astype(np.float32)
        direction = directions[index].astype(np.float32)
        self._across_m = direction[..., 0] * offset[..., 1] - direction[..., 1] * offset[..., 0]
        self._along_m = along[index].astype(np.float32) + (direction * offset).sum(axis=-1)
        self._heading_rad = np.arctan2(direction[..., 1], direction[..., 0])
        beyond = np.hypot(offset[..., 0], offset[..., 1]) - ROAD_HALF_WIDTH_M
        self._paved = paved[index].astype(np.float32) * (beyond < _YARD_M)
        self._beyond_kerb_m = cv2.GaussianBlur(np.minimum(beyond, _FAR_M), (0, 0), 1.5)
        nearest = crossings_m[self._nearest(crossings_m)].astype(np.float32)
        self._to_crossing_m = np.hypot(*np.moveaxis(centres - nearest, -1, 0))

    def _nearest(self, points_m: np.ndarray) -> np.ndarray:
        """Index of the point nearest to every cell, [rows, columns]."""
        seeds = np.ones(self._shape, np.uint8)
        cells = self._cells(points_m)
        seeds[cells] = 0
        _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        index_of_label = np.zeros(labels.max() + 1, np.int64)
        index_of_label[labels[cells]] = np.arange(len(points_m))
        return index_of_label[labels]

    def beyond_kerb_m(self, points_m: np.ndarray) -> np.ndarray:
        """Distance of points [N, 2] to the nearest kerb, negative on the road, [N]."""
        return self._beyond_kerb_m[self._cells(points_m)]

    def claim(self, at: Placement, low_m: tuple[float, float], high_m: tuple[float, float], *, wall: bool) -> bool:
        """Takes the rectangle between two corners in the frame of the piece if it is free; a wall shades the ground."""
        steps = [np.arange(low, high + 0.3, 0.4) for low, high in zip(low_m, high_m, strict=True)]
        points = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
        cells = self._cells(at.to_map(points))
        if not self.free[cells].all():
            return False
        self.free[cells] = False
        if wall:
            self._built[cells] = 1
        return True

    def pave(self, outline_m: np.ndarray) -> None:
        """A square for people on foot within an outline [N, 2]: paved, and nobody can claim it."""
        inside = np.zeros(self._shape, np.uint8)
        cv2.fillPoly(inside, [np.rint((outline_m - self._origin_m) / CELL_M).astype(np.int32)], 1)
        self._paved[inside > 0], self.free[inside > 0] = 1.0, False

    def add_lamp(self, x_m: float, y_m: float) -> None:
        self._lamps_m.append((x_m, y_m))

    @cached_property
    def _layers(self) -> tuple[np.ndarray, np.ndarray]:
        """The grid as two pictures of four channels, which is what cv2.remap takes at once."""
        first = [self._beyond_kerb_m, self._across_m, self._along_m, self._to_crossing_m]
        second = [self._heading_rad, self._paved, self._lamp_light(), self._openness()]
        return np.stack(first, axis=-1), np.stack(second, axis=-1)

    def _lamp_light(self) -> np.ndarray:
        light = np.zeros(self._shape, np.float32)
        reach = round(24.0 / CELL_M)
        grid = np.arange(-reach, reach + 1, dtype=np.float32) * CELL_M
        squared = grid[:, None] ** 2 + grid[None, :] ** 2
        pool = np.clip(30.0 / (30.0 + squared) - 30.0 / (30.0 + 24.0**2), 0, None)
        for row, column in zip(*self._cells(np.array(self._lamps_m).reshape(-1, 2)), strict=True):
            low_row, low_column = max(row - reach, 0), max(column - reach, 0)
            part = light[low_row : row + reach + 1, low_column : column + reach + 1]
            at_row, at_column = low_row - row + reach, low_column - column + reach
            part += pool[at_row : at_row + part.shape[0], at_column : at_column + part.shape[1]]
        return light

    def _openness(self) -> np.ndarray:
        distance_m = cv2.distanceTransform(1 - self._built, cv2.DIST_L2, 5) * CELL_M
        return (1.0 - 0.45 * np.exp(-distance_m / 2.5)).astype(np.float32)

    def shaded_by(self, outlines_m: list[np.ndarray]) -> np.ndarray:
        """Share of the sky, a picture of SHADE_CELL_M cells, that the ground sees beneath and beside things whose
        outlines [N, 2] are given."""
        scale = round(CELL_M / SHADE_CELL_M)
        shade = np.full((self._shape[0] * scale, self._shape[1] * scale), 255, np.uint8)
        polygons = [np.rint((outline - self._origin_m) / SHADE_CELL_M).astype(np.int32) for outline in outlines_m]
        cv2.fillPoly(shade, polygons, 25)
        return cv2.GaussianBlur(shade, (0, 0), 0.3 / SHADE_CELL_M)

    def look_up(self, picture: np.ndarray, points_m: np.ndarray) -> np.ndarray:
        """Interpolated values [N] in [0, 1] of a `shaded_by` picture at points [N, 2 or more]."""
        columns, rows = ((points_m[:, :2] - self._origin_m.astype(np.float32)) / np.float32(SHADE_CELL_M)).T
        return _remap(picture, columns, rows) * np.float32(1 / 255)

    def sample(self, x_m: np.ndarray, y_m: np.ndarray) -> GroundSample:
        """What lies at points given by float32 [N] coordinates; beyond the grid its edge continues."""
        columns = (x_m - np.float32(self._origin_m[0])) / np.float32(CELL_M)
        rows = (y_m - np.float32(self._origin_m[1])) / np.float32(CELL_M)
        samples = [_remap(layer, columns, rows) for layer in self._layers]
        return GroundSample(*(sample[:, i] for sample in samples for i in range(4)))


def _samples(plan: StreetPlan) -> Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Points, unit directions, distance from the start and paving of every street."""
    samples = []
    for street in plan.streets:
        direction = directions(street.points_m)
        paved = np.full(len(direction), float(street.kind == StreetKind.CENTRE))
        samples.append((street.points_m, direction, street.along_m, paved))
    return samples


def _remap(layer: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Bilinear samples [N] or [N, channels] of a picture at N points; beyond it its edge continues."""
    found = cv2.remap(layer, as_picture(columns), as_picture(rows), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found).reshape(-1, *layer.shape[2:])[: len(columns)]
