"""MinkFPN: the LiDAR backbone of MinkLoc++ and of both its halves in DistilVPR.

A sparse 3-D residual network, bottom-up with strides 2, 4, 8, ..., and top-down by transposed convolutions with
lateral connections. Parameter names are those of DistilVPR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vpr_core.models.sparse import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseTensor, cloud_mean, relu_


def build(
    out_channels: int = 128,
    planes: Sequence[int] = (32, 64, 64),
    layers: Sequence[int] = (1, 1, 1),
    num_top_down: int = 1,
    in_channels: int = 1,
) -> MinkFPN:
    """The cloud branch of DistilVPR's teacher by default; planes (32, 64, 128), no top-down, 384 is its student."""
    return MinkFPN(out_channels, planes, layers, num_top_down, in_channels)


class MinkFPN(nn.Module):
    """Sparse tensor [N, in_channels] of stride 1 to [M, out_channels] of stride 2^(levels - num_top_down)."""

    def __init__(
        self, out_channels: int, planes: Sequence[int], layers: Sequence[int], num_top_down: int, in_channels: int = 1
    ) -> None:
        super().__init__()
        levels = len(planes)
        if len(layers) != levels or not 0 <= num_top_down <= levels:
            raise ValueError(
                f"planes {tuple(planes)}, layers {tuple(layers)} and num_top_down {num_top_down} do not fit: "
                "one entry of layers for each of planes, and num_top_down not above their number"
            )
        self.out_channels = out_channels
        self.num_top_down = num_top_down
        widths = [planes[0], *planes]
        self.conv0 = SparseConv(in_channels, widths[0], kernel_size=5)
        self.bn0 = SparseBatchNorm(widths[0])
        self.convs = nn.ModuleList(SparseConv(width, width, 2, stride=2) for width in widths[:-1])
        self.bns = nn.ModuleList(SparseBatchNorm(width) for width in widths[:-1])
        self.blocks = nn.ModuleList(
            _stage(before, after, count) for before, after, count in zip(widths[:-1], planes, layers, strict=True)
        )
        laterals = widths[::-1][: num_top_down + 1]
        self.conv1x1s = nn.ModuleList(SparseConv(width, out_channels, 1) for width in laterals)
        self.tconvs = nn.ModuleList(
            SparseConvTranspose(out_channels, out_channels, 2, stride=2) for _ in range(num_top_down)
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        x = relu_(self.bn0(self.conv0(x)))
        maps = [x]
        for conv, bn, block in zip(self.convs, self.bns, self.blocks, strict=True):
            x = block(relu_(bn(conv(x))))
            maps.append(x)
        x = self.conv1x1s[0](maps[-1])
        for i, tconv in enumerate(self.tconvs, start=1):
            x = tconv(x) + self.conv1x1s[i](maps[-1 - i])
        return x


class ECABasicBlock(nn.Module):
    """Residual block of two 3^3 convolutions, the second one's channels weighted by efficient channel attention."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = SparseConv(in_channels, out_channels, 3)
        self.norm1 = SparseBatchNorm(out_channels)
        self.conv2 = SparseConv(out_channels, out_channels, 3)
        self.norm2 = SparseBatchNorm(out_channels)
        self.eca = ECA(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.downsample = nn.Sequential(SparseConv(in_channels, out_channels, 1), SparseBatchNorm(out_channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        y = relu_(self.norm1(self.conv1(x)))
        y = self.eca(self.norm2(self.conv2(y)))
        return relu_(y + self.downsample(x))


class ECA(nn.Module):
    """Efficient channel attention: a 1-D convolution over the channel means of each cloud weights its channels."""

    def __init__(self, channels: int, gamma: int = 2, bias: int = 1) -> None:
        super().__init__()
        size = int(abs((math.log2(channels) + bias) / gamma))
        size += 1 - size % 2
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        weights: Tensor = torch.sigmoid(self.conv(cloud_mean(x).unsqueeze(1))).squeeze(1)
        return x.with_features(x.features * weights.index_select(0, x.cloud_index))


def _stage(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    first = ECABasicBlock(in_channels, out_channels)
    return nn.Sequential(first, *(ECABasicBlock(out_channels, out_channels) for _ in range(count - 1)))
