"""Coordinate managers: the sites of one batch of clouds at every stride, and convolution between them."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from vpr_core.models.sparse import coordinates as sites
from vpr_core.models.sparse.convolution import convolve
from vpr_core.models.sparse.kernel_map import KernelMap, build_kernel_map, build_parent_map
from vpr_core.models.sparse.occupancy import (
    KERNEL_SIZES,
    Occupancy,
    build_occupancy,
    convolve_occupancy,
    is_occupancy,
)


class CoordinateManager(Protocol):
    """What an engine does for the layers: all tensors of one network share one, and with it its kernel maps."""

    num_clouds: int

    def coordinates(self, stride: int) -> Tensor:
        """Sites [N, 4] int32 (cloud, x, y, z) of that stride, in the order of the features' rows."""

    def convolve(self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int) -> Tensor:
        """features [N, C_in], kernel [K^3, C_in, C_out] -> [M, C_out]; makes the sites of stride_out if need be."""

    def convolve_transposed(
        self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int
    ) -> Tensor:
        """From the coarser stride_in onto the sites of stride_out, which must exist (ValueError)."""


class TorchCoordinateManager:
    """The engine in plain torch, on whatever device the coordinates are."""

    def __init__(self, coordinates: Tensor) -> None:
        """coordinates [N, 4] int (cloud, x, y, z), sorted by key, each once."""
        self.num_clouds = int(coordinates[-1, 0]) + 1
        self._coordinates = {1: coordinates.int()}
        self._keys = {1: sites.pack(coordinates)}
        self._parents: dict[tuple[int, int], Tensor] = {}
        self._maps: dict[tuple[int, int, int], KernelMap] = {}
        self._occupancies: dict[int, Occupancy] = {}

    def coordinates(self, stride: int) -> Tensor:
        if stride not in self._coordinates:
            raise ValueError(f"there are no sites of stride {stride}, only of {sorted(self._coordinates)}")
        return self._coordinates[stride]

    def convolve(self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int) -> Tensor:
        if stride_in == stride_out and kernel_size in KERNEL_SIZES and is_occupancy(features):
            return convolve_occupancy(kernel, self.occupancy(stride_in))
        return convolve(features, kernel, self.kernel_map(kernel_size, stride_in, stride_out))

    def convolve_transposed(
        self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int
    ) -> Tensor:
        self.coordinates(stride_out)
        return convolve(features, kernel, self.kernel_map(kernel_size, stride_out, stride_in).swapped())

    def kernel_map(self, kernel_size: int, stride_in: int, stride_out: int) -> KernelMap:
        """The map from the sites of stride_in to those of the coarser or equal stride_out; made once."""
        wanted = (kernel_size, stride_in, stride_out)
        if wanted not in self._maps:
            self._make_sites(stride_in, stride_out)
            self._maps[wanted] = self._make_map(*wanted)
        return self._maps[wanted]

    def occupancy(self, stride: int) -> Occupancy:
        """Which sites about each site of that stride are occupied; made once."""
        if stride not in self._occupancies:
            children = self.kernel_map(2, stride, 2 * stride)
            self._occupancies[stride] = build_occupancy(children, self.kernel_map(3, 2 * stride, 2 * stride))
        return self._occupancies[stride]

    def _make_sites(self, stride_in: int, stride_out: int) -> None:
        if stride_in == stride_out or (stride_in, stride_out) in self._parents:
            return
        keys, self._parents[stride_in, stride_out] = sites.coarsen(self.coordinates(stride_in), stride_out)
        if stride_out not in self._keys:
            self._keys[stride_out], self._coordinates[stride_out] = keys, sites.unpack(keys)

    def _make_map(self, kernel_size: int, stride_in: int, stride_out: int) -> KernelMap:
        if kernel_size % 2 or kernel_size * stride_in != stride_out:
            return build_kernel_map(self._keys[stride_in], self._keys[stride_out], kernel_size, stride_in)
        within = self.coordinates(stride_in)[:, 1:].remainder(stride_out).div(stride_in, rounding_mode="floor").long()
        octants = within[:, 0] + kernel_size * (within[:, 1] + kernel_size * within[:, 2])
        parents = self._parents[stride_in, stride_out]
        return build_parent_map(octants, parents, kernel_size, len(self._keys[stride_out]))
