"""Random sparse tensors for the tests of the engine and the networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vpr_core.models.sparse import SparseTensor

Make = Callable[..., SparseTensor]


@pytest.fixture
def random_sites() -> Callable[..., Tensor]:
    """sites(count, size, low, clouds, seed): distinct coordinates [N, 4], x, y and z in [low, low + size)."""

    def make(count: int = 60, size: int = 7, low: int = -5, clouds: int = 2, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        rows = []
        for cloud in range(clouds):
            cells = torch.randperm(size**3, generator=generator)[:count]
            xyz = torch.stack([cells // size**2, cells // size % size, cells % size], dim=1) + low
            rows.append(torch.cat([torch.full((len(xyz), 1), cloud), xyz], dim=1))
        return torch.cat(rows).int()

    return make


@pytest.fixture
def random_tensor(random_sites: Callable[..., Tensor]) -> Make:
    """tensor(channels, engine, **sites): float64 features on random sites."""

    def make(channels: int = 3, engine: str = "torch", **sites: int) -> SparseTensor:
        coordinates = random_sites(**sites)
        generator = torch.Generator().manual_seed(1)
        features = torch.randn(len(coordinates), channels, generator=generator, dtype=torch.float64)
        return SparseTensor.from_coordinates(coordinates, features, engine)

    return make
