"""MobileNetV2 up to a chosen stage: the RGB branch of StructVPR, and a light camera backbone.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018. Parameter names are torchvision's,
so that its ImageNet weights load; the last 1x1 convolution to 1280 channels is left out.
"""

from __future__ import annotations

from torch import Tensor, nn

from vpr_core.errors import RecipeError
from vpr_core.models.backbones.resnet import IMAGE_MEAN, IMAGE_STD, imagenet_weights
from vpr_core.models.inverted_residual import InvertedResidual, conv_norm, maps_after

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "STAGE_CHANNELS", "MobileNetV2", "build"]

STAGE_CHANNELS = (16, 24, 32, 96, 320)
"""At strides 2, 4, 8, 16 and 32."""
_STAGE_ENDS = (1, 3, 6, 13, 17)
_WEIGHTS = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"

# Table 2 of the paper: expansion, output channels, number of blocks, stride of the first.
_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def build(pretrained: bool = True, num_stages: int = 4) -> MobileNetV2:
    """The backbone of so many stages (1 to 5), with ImageNet weights (IMAGENET1K_V1) where `pretrained`.

    Raises RecipeError where the weights are neither in torch's cache nor to be downloaded.
    """
    if not 1 <= num_stages <= len(_STAGE_ENDS):
        raise RecipeError(f"MobileNetV2 has 1 to {len(_STAGE_ENDS)} stages, got {num_stages}")
    model = MobileNetV2(num_stages)
    if pretrained:
        weights, own = imagenet_weights(_WEIGHTS), model.state_dict()
        model.load_state_dict({name: value for name, value in weights.items() if name in own})
    return model


class MobileNetV2(nn.Module):
    """Image [B, 3, H, W], normalised by IMAGE_MEAN and IMAGE_STD, to a map [B, C, H/s, W/s].

    With four stages C = 96 and s = 16; with five, as in StructVPR, 320 and 32.
    """

    def __init__(self, num_stages: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, 32, 3, stride=2)]
        before = 32
        for expansion, channels, count, stride in _BLOCKS:
            for i in range(count):
                layers.append(InvertedResidual(before, channels, stride if i == 0 else 1, expansion))
                before = channels
        self.num_stages = num_stages
        self.features = nn.Sequential(*layers[: _STAGE_ENDS[num_stages - 1] + 1])
        self.out_channels = STAGE_CHANNELS[num_stages - 1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, image: Tensor) -> Tensor:
        return self.stages(image)[-1]

    def stages(self, image: Tensor) -> list[Tensor]:
        """The map at the end of every stage: [B, C, H/s, W/s] with C of STAGE_CHANNELS and s = 2, 4, 8, 16, 32."""
        return maps_after(self.features, _STAGE_ENDS, image)
