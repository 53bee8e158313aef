"""The block of MobileNetV2 and of what descends from it.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["InvertedResidual", "conv_norm", "maps_after"]

FIRST_SCALE = 0.1
Activation = type[nn.ReLU] | type[nn.ReLU6]


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without an activation, and a shortcut where the shape stays.

    A block with a shortcut begins as little more than the shortcut: the scale of its last normalisation is FIRST_SCALE
    (0 in Goyal et al., "Accurate, Large Minibatch SGD", 2017). Behind so many blocks of random weights images of one
    place are otherwise as far apart as any others, and the nearest negatives of a batch show training no way out of
    that. Loaded weights replace it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expansion: int,
        activation: Activation = nn.ReLU6,
        bias: bool = False,
    ) -> None:
        """bias: whether the first two convolutions have one."""
        super().__init__()
        width = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        norm = nn.BatchNorm2d(out_channels)
        self.conv = nn.Sequential(
            *([conv_norm(in_channels, width, 1, activation=activation, bias=bias)] if expansion != 1 else []),
            conv_norm(width, width, 3, stride, width, activation, bias),
            nn.Conv2d(width, out_channels, 1, bias=False),
            norm,
        )
        if self.has_shortcut:
            nn.init.constant_(norm.weight, FIRST_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: Activation = nn.ReLU6,
    bias: bool = False,
) -> nn.Sequential:
    """Convolution, batch normalisation, activation; the size of the map divided by the stride."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=bias),
        nn.BatchNorm2d(out_channels),
        activation(inplace=True),
    )


def maps_after(layers: nn.Sequential, ends: tuple[int, ...], x: Tensor) -> list[Tensor]:
    """What comes out of the layers of these numbers, one after the other."""
    maps = []
    for i, layer in enumerate(layers):
        x = layer(x)
        if i in ends:
            maps.append(x)
    return maps
