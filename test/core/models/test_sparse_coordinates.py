"""Packing of coordinates, its range, and quantisation of clouds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vpr_core.errors import InputError, RecipeError
from vpr_core.models.sparse import SparseTensor, batch_clouds, voxelize
from vpr_core.models.sparse.coordinates import MAX_CLOUDS, MAX_COORDINATE, check_range, coarsen, pack, unpack

LAST = MAX_COORDINATE - 1


def test_keys_keep_coordinates_and_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    xyz = torch.randint(-LAST, LAST + 1, (500, 3), generator=generator)
    coordinates = torch.cat([torch.randint(0, MAX_CLOUDS, (500, 1), generator=generator), xyz], dim=1).int()
    corners = torch.cartesian_prod(torch.tensor([0, MAX_CLOUDS - 1]), *[torch.tensor([-LAST, 0, LAST])] * 3).int()
    rows = torch.cat([coordinates, corners])
    assert torch.equal(unpack(pack(rows)), rows)
    ordered = sorted(map(tuple, rows.tolist()))
    assert list(map(tuple, rows[torch.argsort(pack(rows))].tolist())) == ordered


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((0, MAX_COORDINATE, 0, 0), "outside"),
        ((0, 0, -MAX_COORDINATE, 0), "outside"),
        ((0, 0, 0, 200_000), "outside"),
        ((MAX_CLOUDS, 0, 0, 0), "cloud index"),
        ((-1, 0, 0, 0), "cloud index"),
    ],
)
def test_coordinates_that_do_not_fit_are_refused(row: tuple[int, ...], said: str) -> None:
    coordinates = torch.tensor([(0, 0, 0, 0), row])
    with pytest.raises(InputError, match=said):
        SparseTensor.from_coordinates(coordinates, torch.ones(2, 1))
    with pytest.raises(InputError, match=said):
        check_range(coordinates)


def test_neighbours_at_the_edge_of_the_range_do_not_wrap() -> None:
    coordinates = torch.tensor([(0, 0, 0, LAST), (0, 0, 1, -LAST), (0, 0, LAST, 0), (0, 1, -LAST, 0), (1, -LAST, 0, 0)])
    x = SparseTensor.from_coordinates(coordinates, torch.ones(5, 2, dtype=torch.float64))
    kernel = torch.ones(125, 2, 1, dtype=torch.float64)
    assert torch.equal(x.manager.convolve(x.features, kernel, 5, 1, 1), torch.full((5, 1), 2.0, dtype=torch.float64))


def test_sites_of_a_coarser_stride_round_down() -> None:
    keys, parents = coarsen(torch.tensor([(0, -1, -2, -3), (0, 3, 2, -4), (0, 2, 3, -3), (0, -LAST, 0, 0)]), 2)
    assert unpack(keys).tolist() == [[0, -MAX_COORDINATE, 0, 0], [0, -2, -2, -4], [0, 2, 2, -4]]
    assert parents.tolist() == [1, 2, 2, 0]


def test_voxels_are_rounded_down_once_each_without_points_that_are_not_finite() -> None:
    points = np.array(
        [(0.3, -0.1, 0.0), (0.4, -0.2, 0.2), (np.nan, 0, 0), (0, np.inf, 0), (0, 0, -np.inf), (-0.26, 1.0, 5.1)],
        dtype=np.float32,
    )
    points.setflags(write=False)
    expected = [[-2, 4, 20], [1, -1, 0]]
    assert voxelize(points, 0.25).tolist() == expected
    assert voxelize(torch.tensor(points.tolist()), 0.25).tolist() == expected
    assert voxelize(points.astype(">f4"), 0.25).tolist() == expected
    with_intensity = np.concatenate([points, np.full((len(points), 1), np.nan, np.float32)], axis=1)
    assert voxelize(with_intensity, 0.25).tolist() == expected


def test_clouds_that_cannot_be_quantised_are_refused() -> None:
    for empty in (np.zeros((0, 3)), np.full((4, 3), np.nan)):
        with pytest.raises(InputError, match="no finite point"):
            voxelize(empty, 0.25)
    with pytest.raises(InputError, match="larger voxels"):
        voxelize(np.array([(700.0, 0.0, 0.0)]), 0.01)
    with pytest.raises(InputError, match="larger voxels"):
        voxelize(np.array([(3e38, 0.0, 0.0)], dtype=np.float32), 0.01)
    with pytest.raises(InputError, match="shape"):
        voxelize(np.zeros((5, 2)), 0.25)
    with pytest.raises(RecipeError, match="above 0"):
        voxelize(np.zeros((5, 3)), 0.0)


def test_batches_that_make_no_sense_are_refused() -> None:
    cloud = torch.tensor([(0, 0, 0)])
    with pytest.raises(InputError, match="at least one cloud"):
        batch_clouds([])
    with pytest.raises(InputError, match=r"clouds \[1\]"):
        batch_clouds([cloud, cloud[:0]])
    with pytest.raises(InputError, match="at least one site"):
        SparseTensor.from_coordinates(torch.zeros(0, 4), torch.zeros(0, 1))
    with pytest.raises(InputError, match="more than once"):
        SparseTensor.from_coordinates(torch.zeros(2, 4), torch.zeros(2, 1))
    with pytest.raises(InputError, match="without a gap"):
        SparseTensor.from_coordinates(torch.tensor([(0, 0, 0, 0), (2, 0, 0, 0)]), torch.zeros(2, 1))
    with pytest.raises(InputError, match="as many rows"):
        SparseTensor.from_coordinates(torch.tensor([(0, 0, 0, 0)]), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="unknown engine"):
        SparseTensor.from_coordinates(torch.tensor([(0, 0, 0, 0)]), torch.zeros(1, 1), engine="abacus")


def test_features_follow_their_sites_into_key_order() -> None:
    coordinates = torch.tensor([(1, 0, 0, 0), (0, 5, 0, 0), (0, -5, 0, 0)])
    x = SparseTensor.from_coordinates(coordinates, torch.tensor([[1.0], [2.0], [3.0]]))
    assert x.coordinates.tolist() == [[0, -5, 0, 0], [0, 5, 0, 0], [1, 0, 0, 0]]
    assert x.features.tolist() == [[3.0], [2.0], [1.0]]
    assert x.num_clouds == 2
