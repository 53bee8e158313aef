"""Kernel maps: which input site meets which output site under each of a kernel's K^3 weights.

Kernel index k = ix + K * (iy + K * iz). An odd kernel reaches from -(K // 2) to K // 2 on each axis, an even one from
0 to K - 1, both in units of the finer map's stride.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vpr_core.models.sparse.coordinates import MAX_REACH, NO_SITE, key_offset

_Pairs = tuple[Tensor, Tensor]
_Search = Callable[[int, int], dict[int, _Pairs]]


@dataclass(frozen=True)
class KernelMap:
    """Pairs (input site, output site), grouped by kernel index. Within one index no site occurs twice."""

    inputs: Tensor
    """[P] int64, rows of the input features."""
    outputs: Tensor
    """[P] int64, rows of the output features."""
    counts: list[int]
    """How many of the P pairs belong to each of the K^3 kernel indices, in order."""
    num_inputs: int
    num_outputs: int
    centre: int | None
    """Kernel index under which every site meets itself; None where input and output sites differ."""

    def pairs(self) -> Iterator[_Pairs]:
        """(input rows, output rows) of each kernel index in order."""
        return zip(torch.split(self.inputs, self.counts), torch.split(self.outputs, self.counts), strict=True)

    def swapped(self) -> KernelMap:
        """The map of the transposed convolution, and of the gradient: every pair the other way round."""
        return dataclasses.replace(
            self, inputs=self.outputs, outputs=self.inputs, num_inputs=self.num_outputs, num_outputs=self.num_inputs
        )


def build_kernel_map(keys_in: Tensor, keys_out: Tensor, kernel_size: int, stride_in: int) -> KernelMap:
    """The map of a convolution from sorted keys_in [N] to sorted keys_out [M]; one and the same tensor at stride 1."""
    if kernel_size * stride_in > MAX_REACH:
        raise ValueError(f"kernel {kernel_size} at stride {stride_in} reaches too far: at most {MAX_REACH} voxels")
    symmetric = keys_in is keys_out and kernel_size % 2 == 1
    search = partial(_search_column, _with_end(keys_in), keys_out, kernel_size, stride_in)
    pairs = _search_half(search, keys_in, kernel_size) if symmetric else _search_all(search, kernel_size)
    ordered = [pairs[k] for k in range(kernel_size**3)]
    return KernelMap(
        inputs=torch.cat([inputs for inputs, _ in ordered]),
        outputs=torch.cat([outputs for _, outputs in ordered]),
        counts=[len(inputs) for inputs, _ in ordered],
        num_inputs=len(keys_in),
        num_outputs=len(keys_out),
        centre=kernel_size**3 // 2 if symmetric else None,
    )


def build_parent_map(octants: Tensor, parents: Tensor, kernel_size: int, num_parents: int) -> KernelMap:
    """The map of an even kernel that is as large as its stride: every site has one parent, nothing to search.

    octants: [N] kernel index of each site within its parent; parents: [N] row of its parent.
    """
    rows = [(octants == k).nonzero().squeeze(1) for k in range(kernel_size**3)]
    inputs = torch.cat(rows)
    counts = [len(row) for row in rows]
    return KernelMap(inputs, parents[inputs], counts, len(parents), num_parents, None)


def _search_all(search: _Search, kernel_size: int) -> dict[int, _Pairs]:
    pairs: dict[int, _Pairs] = {}
    for ix, iy in _columns(kernel_size):
        pairs |= search(ix, iy)
    return pairs


def _search_half(search: _Search, keys: Tensor, kernel_size: int) -> dict[int, _Pairs]:
    """All pairs of a map onto its own sites: if i meets o under k, then o meets i under the mirrored index."""
    last = kernel_size**3 - 1
    pairs = {}
    for ix, iy in _columns(kernel_size)[: kernel_size**2 // 2 + 1]:
        for k, (inputs, outputs) in search(ix, iy).items():
            pairs[k], pairs[last - k] = (inputs, outputs), (outputs, inputs)
    return pairs


def _columns(kernel_size: int) -> list[tuple[int, int]]:
    return [(ix, iy) for iy in range(kernel_size) for ix in range(kernel_size)]


def _with_end(keys: Tensor) -> Tensor:
    return torch.cat([keys, keys.new_full((1,), NO_SITE)])


def _search_column(
    keys_in: Tensor, keys_out: Tensor, kernel_size: int, step: int, ix: int, iy: int
) -> dict[int, _Pairs]:
    """Pairs of the K kernel indices that share (ix, iy); keys_in ends with NO_SITE.

    z is the fastest coordinate of a key, so these neighbours follow one another: one search finds the first, and a
    cursor that moves on at every hit finds the rest.
    """
    low = -(kernel_size // 2) if kernel_size % 2 else 0
    wanted = keys_out + key_offset(step * (low + ix), step * (low + iy), step * low)
    cursor = torch.searchsorted(keys_in, wanted)
    pairs = {}
    for iz in range(kernel_size):
        hit = keys_in[cursor] == wanted + step * iz
        outputs = hit.nonzero().squeeze(1)
        pairs[ix + kernel_size * (iy + kernel_size * iz)] = (cursor[outputs], outputs)
        cursor = cursor + hit
    return pairs
