"""The first convolution of a cloud whose only feature is 1, without a kernel map of its own.

Its result depends on nothing but which sites around a site are occupied. So the eight children of each coarse site
become the bits of one byte, a site's surroundings the bytes of the 3^3 coarse sites about it, and the convolution
27 look-ups in a table of what each byte adds. The two kernel maps that this takes, children to coarse sites and
coarse sites to their neighbours, are those of the layers that follow in MinkFPN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.models.sparse.kernel_map import KernelMap

KERNEL_SIZES = (3, 5)
"""Kernels that reach no further than the neighbouring coarse sites."""


@dataclass(frozen=True)
class Occupancy:
    """Surroundings of every site, ready for the look-up."""

    lookups: Tensor
    """[N, 27] int32: row (octant * 27 + neighbour) * 256 + byte of the table, for each of the 27 neighbours."""
    octants: list[Tensor]
    """Rows of the sites in each of the 8 octants of their coarse site."""


def is_occupancy(features: Tensor) -> bool:
    """Whether features [N, C] are one channel of ones that wants no gradient."""
    return features.shape[1] == 1 and not features.requires_grad and bool((features == 1).all())


def build_occupancy(children: KernelMap, neighbours: KernelMap) -> Occupancy:
    """children: the map of a 2^3 convolution of stride 2; neighbours: the 3^3 map onto the coarse sites it leads to."""
    octants = [rows for rows, _ in children.pairs()]
    bytes_ = torch.zeros(children.num_outputs, dtype=torch.int32, device=children.inputs.device)
    for octant, (_, parents) in enumerate(children.pairs()):
        bytes_[parents] += 1 << octant
    around = bytes_.new_zeros(children.num_outputs, 27)
    for neighbour, (inputs, outputs) in enumerate(neighbours.pairs()):
        around[outputs, neighbour] = bytes_[inputs]
    lookups = bytes_.new_empty(children.num_inputs, 27)
    first_rows = 256 * torch.arange(8 * 27, dtype=torch.int32, device=bytes_.device).view(8, 27)
    for octant, (rows, parents) in enumerate(children.pairs()):
        lookups[rows] = around[parents] + first_rows[octant]
    return Occupancy(lookups, octants)


def convolve_occupancy(kernel: Tensor, occupancy: Occupancy) -> Tensor:
    """kernel [K^3, 1, C] with K of KERNEL_SIZES -> features [N, C]: what a convolution makes of features that are 1."""
    taps = _taps(round(kernel.shape[0] ** (1 / 3))).to(kernel.device)
    result: Tensor = _Lookup.apply(kernel[:, 0], taps, occupancy)
    return result


class _Lookup(torch.autograd.Function):
    """A sum of table rows. Its gradient is a product with the bits: scattering into the table takes far longer."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, taps: Tensor, occupancy: Occupancy) -> Tensor:
        ctx.taps, ctx.occupancy, ctx.kernel_shape = taps, occupancy, kernel.shape
        weights = torch.cat([kernel, kernel.new_zeros(1, kernel.shape[1])])[taps]
        table = _bits(kernel) @ weights
        return functional.embedding_bag(occupancy.lookups, table.flatten(0, 2), mode="sum")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        taps, channels = ctx.taps, ctx.kernel_shape[1]
        grad = gradient.new_zeros(ctx.kernel_shape[0] + 1, channels)
        bits = _bits(gradient)
        for octant, rows in enumerate(ctx.occupancy.octants):
            occupied = bits[(ctx.occupancy.lookups[rows] & 255).long()].flatten(1)
            grad.index_add_(0, taps[octant].flatten(), occupied.T @ gradient[rows])
        return grad[:-1], None, None


def _bits(like: Tensor) -> Tensor:
    """[256, 8]: the bits of every byte, lowest first."""
    numbers = torch.arange(256, device=like.device)
    return (numbers[:, None] >> torch.arange(8, device=like.device) & 1).to(like.dtype)


@cache
def _taps(kernel_size: int) -> Tensor:
    """[8, 27, 8]: kernel index under which a site of an octant meets a child of a neighbour; K^3 where it does not."""
    octant, neighbour, child = torch.meshgrid(torch.arange(8), torch.arange(27), torch.arange(8), indexing="ij")
    tap, meets = torch.zeros_like(child), torch.ones_like(child, dtype=torch.bool)
    for axis in range(3):
        move = 2 * (neighbour // 3**axis % 3 - 1) + child // 2**axis % 2 - octant // 2**axis % 2
        meets &= move.abs() <= kernel_size // 2
        tap += (move + kernel_size // 2) * kernel_size**axis
    return torch.where(meets, tap, kernel_size**3)
