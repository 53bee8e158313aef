"""The occupancy grid of a cloud against a loop over its points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.errors import InputError, RecipeError
from vpr_core.models.voxel_grid import CloudGrid

SUBMAP = CloudGrid((-0.8, -0.4, -0.2), (0.8, 0.4, 0.4))


def naive(grid: CloudGrid, cloud: np.ndarray) -> np.ndarray:
    cells = np.zeros(grid.cells, np.float32)
    for x, y, z in cloud[:, :3].astype(np.float64).tolist():
        if not all(math.isfinite(value) for value in (x, y, z)):
            continue
        point = (-y, -x, z) if grid.axes == "adafusion" else (x, y, z)
        index = []
        for value, low, high, count in zip(point, grid.lower_m, grid.upper_m, grid.cells, strict=True):
            index.append(round((value - low) * count / (high - low)))
        if all(0 <= i < count for i, count in zip(index, grid.cells, strict=True)):
            cells[tuple(index)] = 1
    return cells


def random_cloud(seed: int, spread: float, count: int = 3000) -> np.ndarray:
    """Some outside the grid, some not finite, with intensities that are no coordinates."""
    rng = np.random.default_rng(seed)
    cloud = rng.uniform(-spread, spread, (count, 4)).astype(np.float32)
    cloud[rng.random(count) < 0.05, rng.integers(0, 3)] = np.nan
    cloud[:3, 0] = np.inf, -np.inf, 3e38
    cloud[5, 3] = np.nan
    return cloud


@pytest.mark.parametrize(
    ("grid", "spread"),
    [
        (SUBMAP, 1.0),
        (CloudGrid(SUBMAP.lower_m, SUBMAP.upper_m, axes="adafusion"), 1.0),
        (CloudGrid(), 60.0),
        (CloudGrid((-10.0, 3.0, -2.0), (5.0, 40.0, 1.0), (8, 20, 9)), 30.0),
    ],
)
def test_cells_are_those_of_the_naive_loop(grid: CloudGrid, spread: float) -> None:
    cloud = random_cloud(0, spread)
    found = grid.occupancy(cloud)
    assert found.dtype == np.float32 and found.shape == grid.cells
    assert 10 < found.sum() < len(cloud)
    np.testing.assert_array_equal(found, naive(grid, cloud))


def test_a_cell_lies_around_its_corner_as_published() -> None:
    """Edges of 1 m: the first cell is [-0.5, 0.5] m from the lower corner, halves go to the even one."""
    grid = CloudGrid((0.0, 0.0, 0.0), (8.0, 8.0, 8.0), (8, 8, 8))
    rows = {-0.6: None, -0.5: 0, 0.5: 0, 0.51: 1, 1.5: 2, 7.49: 7, 7.5: None, 8.0: None}
    for x, cell in rows.items():
        cloud = np.array([(x, 3.0, 3.0), (3.0, 3.0, 3.0)])
        where = np.argwhere(grid.occupancy(cloud)).tolist()
        assert where == sorted([[3, 3, 3], *([[cell, 3, 3]] if cell is not None else [])]), x


def test_adafusion_turns_the_axes() -> None:
    bounds = ((-8.0, -8.0, -8.0), (8.0, 8.0, 8.0), (16, 16, 16))
    cloud = np.array([(1.0, 5.0, -3.0)])
    assert np.argwhere(CloudGrid(*bounds).occupancy(cloud)).tolist() == [[9, 13, 5]]
    assert np.argwhere(CloudGrid(*bounds, axes="adafusion").occupancy(cloud)).tolist() == [[3, 7, 5]]


def test_clouds_of_different_sizes_make_a_batch() -> None:
    clouds = [random_cloud(seed, 40.0, count) for seed, count in ((1, 10), (2, 4000), (3, 300))]
    batch = CloudGrid().batch(clouds)
    assert batch.shape == (3, 1, 72, 72, 48) and batch.flags.c_contiguous
    for row, cloud in zip(batch, clouds, strict=True):
        np.testing.assert_array_equal(row[0], naive(CloudGrid(), cloud))


def test_clouds_without_a_point_in_the_grid_are_refused() -> None:
    for cloud in (np.zeros((0, 3)), np.full((4, 4), np.nan), np.full((4, 3), 100.0)):
        with pytest.raises(InputError, match="none of the cloud's .* choose the bounds") as caught:
            CloudGrid().occupancy(cloud)
        assert caught.value.kind == "range"
    with pytest.raises(InputError, match="shape"):
        CloudGrid().occupancy(np.zeros((5, 2)))
    with pytest.raises(InputError, match="at least one cloud"):
        CloudGrid().batch([])


def test_grids_that_cannot_be_are_refused() -> None:
    with pytest.raises(RecipeError, match="must be below"):
        CloudGrid((0.0, 0.0, 5.0), (1.0, 1.0, 5.0))
    with pytest.raises(RecipeError, match="must be below"):
        CloudGrid(upper_m=(math.nan, 36.0, 20.0))
    for cells in ((72, 72), (72, 72, 7)):
        with pytest.raises(RecipeError, match="8 or more of each"):
            CloudGrid(cells=cells)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="axes is 'camera'"):
        CloudGrid(axes="camera")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="grid has no cellz"):
        CloudGrid.from_json({"cellz": [8, 8, 8]})


def test_a_grid_is_what_json_makes_of_it() -> None:
    assert CloudGrid.from_json(SUBMAP.as_json()) == SUBMAP
    assert SUBMAP.as_json()["cells"] == [72, 72, 48]
