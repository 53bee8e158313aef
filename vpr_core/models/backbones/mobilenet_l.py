"""MobileNet-L: the segmentation branch of StructVPR, on weighted one-hot label maps.

The paper names it after the depth stream of Wu et al., "MobileSal: Extremely Efficient RGB-D Salient Object Detection",
TPAMI 2021, whose layout this is; there it has 1 input channel, here as many as the label maps. Trained from random
weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from vpr_core.errors import RecipeError

__all__ = ["LABEL_CHANNELS", "STAGE_CHANNELS", "MobileNetL", "build"]

LABEL_CHANNELS = 6
"""The groups of StructVPR Sec. 4.2. A backbone with this name in its file is for label maps."""
STAGE_CHANNELS = (16, 32, 64, 96, 320)
"""At strides 2, 4, 8, 16 and 32."""


def build(in_channels: int = LABEL_CHANNELS) -> MobileNetL:
    """The backbone for label maps of so many channels: 1 195 880 parameters with 6. Raises RecipeError below 1."""
    if in_channels < 1:
        raise RecipeError(f"MobileNet-L needs 1 input channel or more, got {in_channels}")
    return MobileNetL(in_channels)


class MobileNetL(nn.Module):
    """Label map [B, C, H, W] to a map [B, 320, H/32, W/32], by five stages of two inverted residuals each."""

    out_channels = STAGE_CHANNELS[-1]

    def __init__(self, in_channels: int = LABEL_CHANNELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, channels in enumerate(STAGE_CHANNELS):
            expansion = 1 if stage == 0 else 4
            layers.append(_InvertedResidual(in_channels, channels, 2, expansion))
            layers.append(_InvertedResidual(channels, channels, 1, expansion))
            in_channels = channels
        self.features = nn.Sequential(*layers)

    def forward(self, labels: Tensor) -> Tensor:
        return self.stages(labels)[-1]

    def stages(self, labels: Tensor) -> list[Tensor]:
        """The map at the end of every stage: [B, C, H/s, W/s] with C of STAGE_CHANNELS and s = 2, 4, 8, 16, 32."""
        maps, x = [], labels
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i % 2 == 1:
                maps.append(x)
        return maps


class _InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without an activation; the first two have a bias, as in MobileSal."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        expand = [nn.Conv2d(in_channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(
            *(expand if expansion != 1 else []),
            nn.Conv2d(width, width, 3, stride, padding=1, groups=width),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y
