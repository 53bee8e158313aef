"""Coordinate managers: the sites of one batch of clouds at every stride, and convolution between them."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from vpr_core.models.sparse import coordinates as sites
from vpr_core.models.sparse.convolution import convolve
from vpr_core.models.sparse.kernel_map import KernelMap, build_kernel_map


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
        self._maps: dict[tuple[int, int, int], KernelMap] = {}

    def coordinates(self, stride: int) -> Tensor:
        if stride not in self._coordinates:
            raise ValueError(f"there are no sites of stride {stride}, only of {sorted(self._coordinates)}")
        return self._coordinates[stride]

    def convolve(self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int) -> Tensor:
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
            keys_in, keys_out = self._sites(stride_in, stride_in), self._sites(stride_out, stride_in)
            self._maps[wanted] = build_kernel_map(keys_in, keys_out, kernel_size, stride_in)
        return self._maps[wanted]

    def _sites(self, stride: int, finer: int) -> Tensor:
        if stride not in self._keys:
            self._keys[stride] = sites.coarsen(self.coordinates(finer), stride)
            self._coordinates[stride] = sites.unpack(self._keys[stride])
        return self._keys[stride]
