"""VGG-16 up to its last convolution: the backbone that NetVLAD was published with.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015. Parameter names
are torchvision's, so that its ImageNet weights load.
"""

from __future__ import annotations

from torch import Tensor, nn

from vpr_core.models.backbones.resnet import IMAGE_MEAN, IMAGE_STD, imagenet_weights

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "VGG16", "build"]

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels of each stage, and how many convolutions it has."""
_WEIGHTS = "https://download.pytorch.org/models/vgg16-397923af.pth"


def build(pretrained: bool = True) -> VGG16:
    """The backbone, with ImageNet weights (IMAGENET1K_V1) where `pretrained`; raises as `resnet.build` does."""
    model = VGG16()
    if pretrained:
        weights, own = imagenet_weights(_WEIGHTS), model.state_dict()
        model.load_state_dict({name: value for name, value in weights.items() if name in own})
    return model


class VGG16(nn.Module):
    """Image [B, 3, H, W], normalised by IMAGE_MEAN and IMAGE_STD, to a map [B, 512, H/16, W/16] of either sign.

    The ReLU behind conv5_3 is left out, as NetVLAD leaves it out.
    """

    out_channels = 512

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, count in _STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
                before = channels
        self.features = nn.Sequential(*layers[:-1])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.features(image)
        return features
