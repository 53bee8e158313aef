"""Sparse tensors: clouds quantised to voxels, batched, with one feature row per site."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpr_core.errors import InputError, RecipeError
from vpr_core.models.sparse.coordinates import MAX_COORDINATE, check_range, pack, unique_keys, unpack
from vpr_core.models.sparse.manager import CoordinateManager, TorchCoordinateManager

ENGINES = ("torch", "minkowski")


@dataclass(frozen=True)
class SparseTensor:
    """Features on the sites of one tensor stride. Tensors of one network share their manager."""

    coordinates: Tensor
    """[N, 4] int32 (cloud, x, y, z), in voxels of stride 1 at every stride."""
    features: Tensor
    """[N, C]."""
    stride: int
    manager: CoordinateManager

    @classmethod
    def from_coordinates(cls, coordinates: Tensor, features: Tensor, engine: str = "torch") -> SparseTensor:
        """A tensor of stride 1 from coordinates [N, 4] int (cloud, x, y, z) and features [N, C], in any order.

        engine: "torch" or, where MinkowskiEngine is installed, "minkowski".
        Raises InputError where there is no site, one occurs twice, a cloud is empty or a coordinate is out of range.
        """
        if len(features) != len(coordinates):
            raise InputError(f"{len(coordinates)} sites need as many rows of features, got {len(features)}")
        check_range(coordinates)
        keys, order = torch.sort(pack(coordinates))
        if bool((keys[1:] == keys[:-1]).any()):
            raise InputError("a site occurs more than once: quantise the cloud with voxelize()")
        coordinates = coordinates[order].int()
        manager = _manager(engine, coordinates)
        if int(torch.bincount(coordinates[:, 0]).min()) == 0:
            raise InputError("a cloud of the batch has no site: number the clouds 0, 1, 2, ... without a gap")
        return cls(coordinates, features[order], 1, manager)

    @property
    def cloud_index(self) -> Tensor:
        """[N] int64: which cloud each row belongs to."""
        return self.coordinates[:, 0].long()

    @property
    def num_clouds(self) -> int:
        return self.manager.num_clouds

    def with_features(self, features: Tensor) -> SparseTensor:
        """The same sites with features [N, C']."""
        return dataclasses.replace(self, features=features)

    def at_stride(self, stride: int, features: Tensor) -> SparseTensor:
        """Features [M, C'] on the manager's sites of another stride."""
        return SparseTensor(self.manager.coordinates(stride), features, stride, self.manager)

    def __add__(self, other: SparseTensor) -> SparseTensor:
        if other.manager is not self.manager or other.stride != self.stride:
            raise ValueError("only sparse tensors on the same sites can be added")
        return self.with_features(self.features + other.features)


def voxelize(points: np.ndarray | Tensor, voxel_size_m: float) -> Tensor:
    """Points [N, 3] or wider (x, y, z first) in metres -> occupied voxels [M, 3] int32, floor(p / voxel_size_m), once.

    Points that are not finite are left out. Raises InputError where none is left or one is out of range.
    """
    if not voxel_size_m > 0:
        raise RecipeError(f"voxels need a size above 0 m, got {voxel_size_m}")
    if points.ndim != 2 or points.shape[1] < 3:
        raise InputError(f"points need the shape [N, 3] or wider, got {tuple(points.shape)}")
    xyz = _torch_points(points)
    xyz = xyz[torch.isfinite(xyz).all(dim=1)]
    if not len(xyz):
        raise InputError(f"the cloud has no finite point among its {len(points)}")
    voxels = torch.floor(xyz / voxel_size_m)
    furthest = float(voxels.abs().max())
    if furthest >= MAX_COORDINATE:
        raise InputError(
            f"a point lies {furthest:.0f} voxels of {voxel_size_m} m from the origin, {MAX_COORDINATE - 1} are "
            "allowed: crop the cloud or use larger voxels"
        )
    return _unique(voxels.int())


def batch_clouds(clouds: Sequence[Tensor], engine: str = "torch", dtype: torch.dtype = torch.float32) -> SparseTensor:
    """Occupied voxels [M_i, 3] of B clouds -> one tensor whose single feature is 1, as MinkLoc++ has it.

    Raises InputError where the batch or one of its clouds is empty.
    """
    if not clouds:
        raise InputError("a batch needs at least one cloud, got none")
    empty = [index for index, cloud in enumerate(clouds) if not len(cloud)]
    if empty:
        raise InputError(f"clouds {empty} of the batch have no voxel")
    sizes = torch.tensor([len(cloud) for cloud in clouds])
    voxels = torch.cat(list(clouds))
    index = torch.arange(len(clouds)).repeat_interleave(sizes).to(voxels)
    coordinates = torch.cat([index[:, None], voxels], dim=1)
    features = torch.ones(len(coordinates), 1, dtype=dtype, device=voxels.device)
    return SparseTensor.from_coordinates(coordinates, features, engine)


def _torch_points(points: np.ndarray | Tensor) -> Tensor:
    if isinstance(points, Tensor):
        return points[:, :3]
    # A copy, since torch takes neither read-only arrays nor another machine's byte order.
    return torch.from_numpy(np.array(points[:, :3], dtype=points.dtype.newbyteorder("=")))


def _unique(voxels: Tensor) -> Tensor:
    coordinates = torch.cat([voxels.new_zeros(len(voxels), 1), voxels], dim=1)
    return unpack(unique_keys(coordinates))[:, 1:]


def _manager(engine: str, coordinates: Tensor) -> CoordinateManager:
    if engine == "torch":
        return TorchCoordinateManager(coordinates)
    if engine == "minkowski":
        from vpr_core.models.sparse.minkowski import MinkowskiCoordinateManager

        return MinkowskiCoordinateManager(coordinates)
    raise ValueError(f"unknown engine {engine!r}: known are {', '.join(ENGINES)}")
