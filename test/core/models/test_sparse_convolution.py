"""Sparse convolution against dense convolution, its gradients, and clouds in a batch against clouds alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.models.sparse import SparseConv, SparseConvTranspose, SparseTensor, batch_clouds
from vpr_core.models.sparse.coordinates import MAX_REACH
from vpr_core.models.sparse.kernel_map import build_kernel_map

Make = Callable[..., SparseTensor]
ORIGIN, SIZE = -24, 48
"""Corner and edge of a dense grid, in voxels; multiples of every stride used here."""


def dense(x: SparseTensor) -> Tensor:
    """[B, C, X, Y, Z]: the features on a grid of the tensor's stride, 0 where there is no site."""
    cloud, *xyz = x.coordinates.long().unbind(1)
    i, j, k = ((axis - ORIGIN) // x.stride for axis in xyz)
    grid = x.features.new_zeros(x.num_clouds, *[SIZE // x.stride] * 3, x.features.shape[1])
    grid[cloud, i, j, k] = x.features
    return grid.permute(0, 4, 1, 2, 3)


def dense_kernel(kernel: Tensor, kernel_size: int) -> Tensor:
    """kernel [K^3, C_in, C_out] -> [K, K, K, C_in, C_out], indexed x, y, z."""
    return kernel.unflatten(0, [kernel_size] * 3).permute(2, 1, 0, 3, 4)


def at_sites(grid: Tensor, x: SparseTensor) -> Tensor:
    """The grid's values [N, C] at the tensor's sites."""
    cloud, *xyz = x.coordinates.long().unbind(1)
    i, j, k = ((axis - ORIGIN) // x.stride for axis in xyz)
    return grid[cloud, :, i, j, k]


@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(3, 1), (5, 1), (2, 1), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (2, 3)]
)
@pytest.mark.parametrize("input_stride", [1, 2])
def test_convolution_is_the_dense_one_at_the_sites(
    random_tensor: Make, kernel_size: int, stride: int, input_stride: int
) -> None:
    x = random_tensor(channels=3)
    if input_stride == 2:
        x = SparseConv(3, 3, 2, stride=2).double()(x)
    conv = SparseConv(3, 4, kernel_size, stride).double()
    y = conv(x)
    before = kernel_size // 2 if kernel_size % 2 else 0
    padded = functional.pad(dense(x), [before, kernel_size - 1 - before] * 3)
    weight = dense_kernel(conv.kernel, kernel_size).permute(4, 3, 0, 1, 2)
    expected = functional.conv3d(padded, weight, stride=stride)
    torch.testing.assert_close(y.features, at_sites(expected, y), rtol=0, atol=1e-12)
    assert y.stride == x.stride * stride
    if stride == 1:
        assert torch.equal(y.coordinates, x.coordinates)
    else:
        rounded = x.coordinates[:, 1:].div(y.stride, rounding_mode="floor") * y.stride
        sites = {(int(b), *xyz) for b, xyz in zip(x.coordinates[:, 0], rounded.tolist(), strict=True)}
        assert sorted(sites) == list(map(tuple, y.coordinates.tolist()))


@pytest.mark.parametrize("kernel_size", [2, 3, 4])
def test_transposed_convolution_is_the_dense_one_at_the_finer_sites(random_tensor: Make, kernel_size: int) -> None:
    x = random_tensor(channels=3)
    coarse = SparseConv(3, 3, 2, stride=2).double()(x)
    conv = SparseConvTranspose(3, 5, kernel_size, stride=2).double()
    y = conv(coarse)
    weight = dense_kernel(conv.kernel, kernel_size).permute(3, 4, 0, 1, 2)
    grid = functional.conv_transpose3d(dense(coarse), weight, stride=2)
    before = kernel_size // 2 if kernel_size % 2 else 0
    expected = functional.pad(grid, [-before, SIZE - grid.shape[-1] + before] * 3)
    torch.testing.assert_close(y.features, at_sites(expected, y), rtol=0, atol=1e-12)
    assert torch.equal(y.coordinates, x.coordinates)
    assert y.stride == 1


@pytest.mark.parametrize(
    ("kernel_size", "index", "offset"),
    [
        (3, 0, (-1, -1, -1)),
        (3, 1, (0, -1, -1)),
        (3, 13, (0, 0, 0)),
        (3, 15, (-1, 1, 0)),
        (5, 62, (0, 0, 0)),
        (5, 4, (2, -2, -2)),
        (2, 0, (0, 0, 0)),
        (2, 1, (1, 0, 0)),
        (2, 2, (0, 1, 0)),
        (2, 4, (0, 0, 1)),
        (2, 7, (1, 1, 1)),
    ],
)
def test_a_kernel_index_meets_the_input_at_its_offset(
    kernel_size: int, index: int, offset: tuple[int, int, int]
) -> None:
    """The first spatial coordinate of a kernel index runs fastest, as in MinkowskiEngine."""
    coordinates = torch.tensor([(0, 0, 0, 0), (0, *offset)]).unique(dim=0)
    features = torch.arange(2.0, 2.0 + len(coordinates)).double()[:, None].repeat(1, 2)
    x = SparseTensor.from_coordinates(coordinates, features)
    kernel = torch.zeros(kernel_size**3, 2, 1, dtype=torch.float64)
    kernel[index, 0] = 1
    y = x.manager.convolve(x.features, kernel, kernel_size, 1, 1)
    origin = x.coordinates.tolist().index([0, 0, 0, 0])
    neighbour = x.coordinates.tolist().index([0, *offset])
    assert y[origin, 0] == x.features[neighbour, 0]


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (5, 1), (2, 2), (3, 2), (1, 1)])
def test_gradients_of_convolution(random_tensor: Make, kernel_size: int, stride: int) -> None:
    x = random_tensor(channels=2, count=12, size=4)
    conv = SparseConv(2, 3, kernel_size, stride).double()

    def run(features: Tensor, kernel: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"kernel": kernel}, (x.with_features(features),)).features

    assert torch.autograd.gradcheck(run, (x.features.requires_grad_(), conv.kernel))


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_gradients_of_transposed_convolution(random_tensor: Make, kernel_size: int) -> None:
    coarse = SparseConv(2, 2, 2, stride=2).double()(random_tensor(channels=2, count=12, size=4))
    conv = SparseConvTranspose(2, 3, kernel_size, stride=2).double()

    def run(features: Tensor, kernel: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"kernel": kernel}, (coarse.with_features(features),)).features

    assert torch.autograd.gradcheck(run, (coarse.features.detach().requires_grad_(), conv.kernel))


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_occupancy_is_a_convolution_of_ones(random_tensor: Make, kernel_size: int) -> None:
    """Features that are 1 take a way of their own; ones that want a gradient take the general one."""
    x = random_tensor(channels=1, count=150, size=9)
    conv = SparseConv(1, 4, kernel_size).double()
    ones = torch.ones_like(x.features)
    looked_up = conv(x.with_features(ones)).features
    general = conv(x.with_features(ones.clone().requires_grad_())).features
    torch.testing.assert_close(looked_up, general, rtol=0, atol=1e-12)
    weights = torch.randn_like(general)
    fast, slow = (torch.autograd.grad((y * weights).sum(), conv.kernel)[0] for y in (looked_up, general))
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-11)


def test_gradients_of_occupancy(random_tensor: Make) -> None:
    x = random_tensor(channels=1, count=12, size=4)
    conv = SparseConv(1, 2, 3).double()

    def run(kernel: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"kernel": kernel}, (x.with_features(torch.ones(24, 1)),)).features

    assert torch.autograd.gradcheck(run, (conv.kernel,))


def test_occupancy_on_a_coarser_stride(random_tensor: Make) -> None:
    x = SparseConv(1, 1, 2, stride=2).double()(random_tensor(channels=1, size=11, count=300))
    conv = SparseConv(1, 3, 5).double()
    ones = torch.ones_like(x.features)
    expected = conv(x.with_features(ones.clone().requires_grad_())).features
    torch.testing.assert_close(conv(x.with_features(ones)).features, expected, rtol=0, atol=1e-12)


def test_other_features_of_one_channel_are_convolved_as_they_are(random_tensor: Make) -> None:
    x = random_tensor(channels=1)
    conv = SparseConv(1, 3, 3).double()
    padded = functional.pad(dense(x), [1, 1] * 3)
    expected = functional.conv3d(padded, dense_kernel(conv.kernel, 3).permute(4, 3, 0, 1, 2))
    torch.testing.assert_close(conv(x).features, at_sites(expected, x), rtol=0, atol=1e-12)


def test_clouds_do_not_touch_each_other(random_sites: Callable[..., Tensor]) -> None:
    """The same sites in both clouds: what lies at the same place in another cloud is no neighbour."""
    layers = torch.nn.Sequential(
        SparseConv(1, 4, 5), SparseConv(4, 4, 2, stride=2), SparseConv(4, 4, 3), SparseConvTranspose(4, 4, 2, stride=2)
    ).double()
    clouds = [random_sites(clouds=1, seed=seed)[:, 1:] for seed in range(3)]
    together = layers(batch_clouds(clouds, dtype=torch.float64))
    for index, cloud in enumerate(clouds):
        alone = layers(batch_clouds([cloud], dtype=torch.float64))
        mine = together.cloud_index == index
        assert torch.equal(together.coordinates[mine][:, 1:], alone.coordinates[:, 1:])
        torch.testing.assert_close(together.features[mine], alone.features, rtol=0, atol=1e-12)


def test_what_the_layers_cannot_do_is_said(random_tensor: Make) -> None:
    x = random_tensor(channels=2)
    with pytest.raises(ValueError, match="cannot be made finer"):
        SparseConvTranspose(2, 2, 2, stride=2).double()(x)
    with pytest.raises(ValueError, match="stride 1"):
        SparseConv(2, 2, 1, stride=2)
    with pytest.raises(ValueError, match="no sites of stride 2"):
        x.at_stride(2, x.features)
    with pytest.raises(ValueError, match="reaches too far"):
        build_kernel_map(torch.zeros(1).long(), torch.zeros(1).long(), 3, MAX_REACH)
    with pytest.raises(ValueError, match="same sites"):
        x + random_tensor(channels=2)
    coarse = SparseConv(2, 2, 4, stride=4).double()(x)
    with pytest.raises(ValueError, match="no sites of stride 2"):
        SparseConvTranspose(2, 2, 2, stride=2).double()(coarse)


def test_initial_kernels_have_the_published_spread() -> None:
    """Normal with variance 2 / fan out, where a 1x1 kernel's fan out is its input width; transposed: uniform."""
    torch.manual_seed(0)
    for conv, fan_out in ((SparseConv(64, 32, 3), 32 * 27), (SparseConv(128, 64, 1), 128)):
        torch.testing.assert_close(conv.kernel.std(), torch.tensor((2 / fan_out) ** 0.5), rtol=0.05, atol=0)
    kernel = SparseConvTranspose(64, 32, 2, stride=2).kernel.detach()
    bound = (32 * 8) ** -0.5
    assert 0.99 * bound < float(kernel.max()) <= bound
    torch.testing.assert_close(kernel.std(), torch.tensor(bound / 3**0.5), rtol=0.05, atol=0)
