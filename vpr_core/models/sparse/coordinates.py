"""Sites of a sparse tensor as sorted int64 keys: one number per (cloud, x, y, z), in lexicographic order.

A key is linear in the coordinates, so that moving every site by one offset adds one number to every key and keeps
them sorted. That is what makes a kernel map a plain search in a sorted list.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vpr_core.errors import InputError

MAX_COORDINATE = 65_536
"""Coordinates lie in (-MAX_COORDINATE, MAX_COORDINATE)."""
MAX_CLOUDS = 4096
"""Cloud indices lie in [0, MAX_CLOUDS)."""

# The largest radix for which 4096 clouds fit into int64. It leaves room beyond MAX_COORDINATE, so that a neighbour's
# coordinate never carries over into the next digit.
_RADIX = 165_000
MAX_REACH = _RADIX // 2 - MAX_COORDINATE - 1
"""How far beyond a site, in voxels of stride 1, a kernel may reach."""
NO_SITE = torch.iinfo(torch.int64).max
"""Larger than every key."""


def check_range(coordinates: Tensor) -> None:
    """Raises InputError where coordinates [N, 4] (cloud, x, y, z) are empty or do not fit into a key."""
    if not len(coordinates):
        raise InputError("a sparse tensor needs at least one site, got none: is the cloud empty?")
    clouds, xyz = coordinates[:, 0], coordinates[:, 1:]
    if int(clouds.min()) < 0 or int(clouds.max()) >= MAX_CLOUDS:
        raise InputError(
            f"cloud index {int(clouds.min())}..{int(clouds.max())} is outside 0..{MAX_CLOUDS - 1}: use smaller batches"
        )
    if int(xyz.min()) <= -MAX_COORDINATE or int(xyz.max()) >= MAX_COORDINATE:
        raise InputError(
            f"voxel coordinates {int(xyz.min())}..{int(xyz.max())} are outside +-{MAX_COORDINATE - 1}: "
            "crop the cloud, shift it towards the origin or use larger voxels"
        )


def pack(coordinates: Tensor) -> Tensor:
    """coordinates [N, 4] (cloud, x, y, z), checked by `check_range` -> keys [N] int64, not sorted."""
    cloud, x, y, z = coordinates.long().unbind(1)
    return (((cloud - MAX_CLOUDS // 2) * _RADIX + x) * _RADIX + y) * _RADIX + z


def unpack(keys: Tensor) -> Tensor:
    """keys [N] -> coordinates [N, 4] int32 (cloud, x, y, z); the inverse of `pack`."""
    digits = []
    for _ in range(3):
        digit = (keys + _RADIX // 2).remainder(_RADIX) - _RADIX // 2
        keys = (keys - digit).div(_RADIX, rounding_mode="floor")
        digits.append(digit)
    return torch.stack([keys + MAX_CLOUDS // 2, *reversed(digits)], dim=1).int()


def key_offset(x: int, y: int, z: int) -> int:
    """What moving a site by (x, y, z) adds to its key."""
    return (x * _RADIX + y) * _RADIX + z


def unique_keys(coordinates: Tensor) -> Tensor:
    """Sorted keys [M] of coordinates [N, 4], each once."""
    keys: Tensor = torch.unique(pack(coordinates))
    return keys


def coarsen(coordinates: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Sorted keys [M] of the sites floor(c / stride) * stride of coordinates [N, 4], each once.

    The second tensor [N] says which of them each coordinate has become.
    """
    xyz = coordinates[:, 1:].div(stride, rounding_mode="floor") * stride
    keys, parents = torch.unique(pack(torch.cat([coordinates[:, :1], xyz], dim=1)), return_inverse=True)
    return keys, parents
