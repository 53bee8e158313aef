"""The engine in plain torch against MinkowskiEngine, where that is installed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vpr_core.models.minkloc import lidar_student, minkloc3d
from vpr_core.models.sparse import SparseConv, SparseConvTranspose, SparseTensor, batch_clouds

pytest.importorskip("MinkowskiEngine")
Make = Callable[..., SparseTensor]


def by_site(x: SparseTensor) -> Tensor:
    """Features in the order of the sites; MinkowskiEngine has an order of its own at coarser strides."""
    coordinates = x.coordinates.tolist()
    return x.features[sorted(range(len(coordinates)), key=coordinates.__getitem__)]


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (5, 1), (2, 2), (3, 2), (4, 2)])
def test_convolutions_agree(random_tensor: Make, kernel_size: int, stride: int) -> None:
    conv = SparseConv(3, 4, kernel_size, stride).double()
    ours, theirs = (conv(random_tensor(channels=3, engine=engine)) for engine in ("torch", "minkowski"))
    assert ours.stride == theirs.stride
    assert sorted(ours.coordinates.tolist()) == sorted(theirs.coordinates.tolist())
    torch.testing.assert_close(by_site(ours), by_site(theirs), rtol=0, atol=1e-12)


def test_transposed_convolutions_agree(random_tensor: Make) -> None:
    layers = torch.nn.Sequential(SparseConv(3, 4, 2, stride=2), SparseConvTranspose(4, 5, 2, stride=2)).double()
    ours, theirs = (layers(random_tensor(channels=3, engine=engine)) for engine in ("torch", "minkowski"))
    torch.testing.assert_close(by_site(ours), by_site(theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("build", [minkloc3d, lidar_student])
def test_networks_and_their_gradients_agree(
    random_sites: Callable[..., Tensor], build: Callable[[], torch.nn.Module]
) -> None:
    torch.manual_seed(0)
    model = build().double()
    clouds = [random_sites(count=400, size=20, clouds=1, seed=seed)[:, 1:] for seed in range(3)]
    results = []
    for engine in ("torch", "minkowski"):
        model.zero_grad()
        descriptors = model(batch_clouds(clouds, engine, dtype=torch.float64))
        (descriptors * torch.linspace(-1, 1, descriptors.numel()).double().view_as(descriptors)).sum().backward()
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        results.append((descriptors.detach(), gradients))
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for name, gradient in our_gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradient, their_gradients[name], rtol=0, atol=1e-9 * max(scale, 1e-3))
