"""AdaFusion's voxel branch: eight dense 3x3x3 convolutions in three stages over an occupancy grid.

Wang et al., "AdaFusion", RA-L 2022. Parameter names are AdaFusion's.
"""

from __future__ import annotations

from torch import Tensor, nn


def build() -> AdaFusionVoxel:
    """The branch, from random weights: none are published for it."""
    return AdaFusionVoxel()


class AdaFusionVoxel(nn.Module):
    """Grids [B, 1, X, Y, Z] of 0 and 1 to a map [B, 128, X/8, Y/8, Z/8]."""

    out_channels = 128

    def __init__(self) -> None:
        super().__init__()
        self.l_feature1 = nn.Sequential(*_conv(1, 32), *_conv(32, 32), nn.AvgPool3d(2))
        self.l_feature2 = nn.Sequential(*_conv(32, 64), *_conv(64, 64), *_conv(64, 64), *_conv(64, 64), nn.AvgPool3d(2))
        self.l_feature3 = nn.Sequential(*_conv(64, 128), *_conv(128, 128), nn.BatchNorm3d(128), nn.AvgPool3d(2))

    def forward(self, grid: Tensor) -> Tensor:
        features: Tensor = self.l_feature3(self.l_feature2(self.l_feature1(grid)))
        return features


def _conv(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
    # With torch's own weights little of the input is left after so many layers without a norm, and training stands
    # still where all descriptors are alike.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has one
    # In place, since a convolution's gradient does without its output: a batch takes half the memory.
    return conv, nn.ReLU(inplace=True)
