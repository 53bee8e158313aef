"""MinkowskiEngine as a coordinate manager, for where it is installed. The layers above do not change.

Only its coordinate maps and convolutions are used: its own global pooling on a CPU returns the clouds of a batch in
hash order.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor


class MinkowskiCoordinateManager:
    """Sites and convolutions by MinkowskiEngine. Raises ImportError, with the way out, where it is not installed."""

    def __init__(self, coordinates: Tensor) -> None:
        """coordinates [N, 4] int (cloud, x, y, z), each once."""
        self._engine = _import_engine()
        self.num_clouds = int(coordinates[:, 0].max()) + 1
        kind = self._engine.CoordinateMapType.CUDA if coordinates.is_cuda else self._engine.CoordinateMapType.CPU
        self._manager = self._engine.CoordinateManager(D=3, coordinate_map_type=kind)
        key, (rows, _) = self._manager.insert_and_map(coordinates.int().contiguous(), 1)
        if len(rows) and not torch.equal(rows.long().cpu(), torch.arange(len(coordinates))):
            raise RuntimeError("MinkowskiEngine has changed the order of the sites, features would not fit them")
        self._keys = {1: key}
        self._coordinates = {1: coordinates.int()}

    def coordinates(self, stride: int) -> Tensor:
        if stride not in self._keys:
            raise ValueError(f"there are no sites of stride {stride}, only of {sorted(self._keys)}")
        if stride not in self._coordinates:
            self._coordinates[stride] = self._manager.get_coordinates(self._keys[stride])
        return self._coordinates[stride]

    def convolve(self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int) -> Tensor:
        factor = stride_out // stride_in
        if stride_out not in self._keys:
            self._keys[stride_out] = self._manager.stride(self._keys[stride_in], factor)
        function = self._engine.MinkowskiConvolutionFunction
        return self._apply(function, features, kernel, kernel_size, factor, stride_in, stride_out)

    def convolve_transposed(
        self, features: Tensor, kernel: Tensor, kernel_size: int, stride_in: int, stride_out: int
    ) -> Tensor:
        self.coordinates(stride_out)
        function = self._engine.MinkowskiConvolutionTransposeFunction
        return self._apply(function, features, kernel, kernel_size, stride_in // stride_out, stride_in, stride_out)

    def _apply(
        self, function: Any, features: Tensor, kernel: Tensor, kernel_size: int, factor: int,
        stride_in: int, stride_out: int,
    ) -> Tensor:  # fmt: skip
        generator = self._engine.KernelGenerator(kernel_size=kernel_size, stride=factor, dilation=1, dimension=3)
        mode = importlib.import_module("MinkowskiEngineBackend._C").ConvolutionMode.DEFAULT
        key_in, key_out = self._keys[stride_in], self._keys[stride_out]
        result: Tensor = function.apply(features, kernel, generator, mode, key_in, key_out, self._manager)
        return result


def _import_engine() -> Any:
    try:
        return importlib.import_module("MinkowskiEngine")
    except ImportError as error:
        raise ImportError(f"MinkowskiEngine does not import ({error}): use engine='torch'") from error
