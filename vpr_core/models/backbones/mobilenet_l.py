"""MobileNet-L: the segmentation branch of StructVPR, on weighted one-hot label maps.

The paper names it after the depth stream of Wu et al., "MobileSal: Extremely Efficient RGB-D Salient Object Detection",
TPAMI 2021, whose layout this is, biases and all; there it has 1 input channel, here as many as the label maps.
Trained from random weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from vpr_core.errors import RecipeError
from vpr_core.models.inverted_residual import InvertedResidual, maps_after

__all__ = ["LABEL_CHANNELS", "STAGE_CHANNELS", "MobileNetL", "build"]

LABEL_CHANNELS = 6
"""The groups of StructVPR Sec. 4.2. A backbone with this name in its file is for label maps."""
STAGE_CHANNELS = (16, 32, 64, 96, 320)
"""At strides 2, 4, 8, 16 and 32."""
_STAGE_ENDS = (1, 3, 5, 7, 9)


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
            layers.append(InvertedResidual(in_channels, channels, 2, expansion, nn.ReLU, bias=True))
            layers.append(InvertedResidual(channels, channels, 1, expansion, nn.ReLU, bias=True))
            in_channels = channels
        self.features = nn.Sequential(*layers)

    def forward(self, labels: Tensor) -> Tensor:
        return self.stages(labels)[-1]

    def stages(self, labels: Tensor) -> list[Tensor]:
        """The map at the end of every stage: [B, C, H/s, W/s] with C of STAGE_CHANNELS and s = 2, 4, 8, 16, 32."""
        return maps_after(self.features, _STAGE_ENDS, labels)
