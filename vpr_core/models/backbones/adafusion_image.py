"""AdaFusion's image branch: ten 3x3 convolutions in three stages, trained from random weights.

Wang et al., "AdaFusion", RA-L 2022. Parameter names are AdaFusion's.
"""

from __future__ import annotations

from torch import Tensor, nn

from vpr_core.errors import RecipeError

IMAGE_MEAN = (0.5, 0.5, 0.5)
IMAGE_STD = (0.5, 0.5, 0.5)


def build(pretrained: bool = False, width: int = 1) -> AdaFusionImage:
    """The branch; width multiplies the channels of every stage.

    Raises RecipeError for `pretrained`, since no weights are published for it, and for a width below 1.
    """
    if pretrained:
        raise RecipeError("no ImageNet weights are published for adafusion_image: train it with --pretrained false")
    return AdaFusionImage(width)


class AdaFusionImage(nn.Module):
    """Image [B, 3, H, W], normalised by IMAGE_MEAN and IMAGE_STD, to a map [B, 128 * width, H/16, W/16]."""

    def __init__(self, width: int = 1) -> None:
        """width: 2 and more for a camera teacher bigger than its student."""
        super().__init__()
        if width < 1:
            raise RecipeError(f"AdaFusion's image branch needs a width of 1 or more, got {width}")
        narrow, wide = 64 * width, 128 * width
        self.v_feature1 = nn.Sequential(
            *_conv(3, narrow), *_conv(narrow, narrow), nn.MaxPool2d(2),
            *_conv(narrow, narrow), *_conv(narrow, narrow), nn.MaxPool2d(2),
        )  # fmt: skip
        self.v_feature2 = nn.Sequential(
            *_conv(narrow, narrow), *_conv(narrow, narrow), *_conv(narrow, wide), *_conv(wide, wide), nn.MaxPool2d(2)
        )
        self.v_feature3 = nn.Sequential(
            *_conv(wide, wide), *_conv(wide, wide), *_conv(wide, wide), *_conv(wide, wide),
            nn.BatchNorm2d(wide), nn.MaxPool2d(2),
        )  # fmt: skip
        self.out_channels = wide

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.v_feature3(self.v_feature2(self.v_feature1(image)))
        return features


def _conv(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU()
