"""ResNet-18, -34 and -50 up to a chosen stage: the camera backbone of MinkLoc++ and DistilVPR, and bigger ones.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. Parameter names are torchvision's, so that its
ImageNet weights load.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from vpr_core.errors import RecipeError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)
_WEIGHTS = {
    18: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    34: "https://download.pytorch.org/models/resnet34-b627a593.pth",
    50: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
}
_log = logging.getLogger(__name__)


def build(pretrained: bool = True, depth: int = 18, num_stages: int = 3) -> ResNet:
    """The backbone of that depth (18, 34 or 50), with ImageNet weights (IMAGENET1K_V1) where `pretrained`.

    Raises RecipeError where the weights are neither in torch's cache nor to be downloaded.
    """
    if depth not in _BLOCKS or not 1 <= num_stages <= len(_WIDTHS):
        raise RecipeError(f"ResNet has depth 18, 34 or 50 and 1 to 4 stages, got depth {depth}, {num_stages} stages")
    model = ResNet(_BLOCKS[depth][:num_stages], _Bottleneck if depth >= 50 else _BasicBlock)
    if pretrained:
        weights = imagenet_weights(_WEIGHTS[depth])
        own = model.state_dict()
        # Older files lack num_batches_tracked, which torch then adds.
        model.load_state_dict({name: value for name, value in weights.items() if name in own})
    return model


def imagenet_weights(url: str) -> dict[str, Tensor]:
    """The state dict at the address, downloaded once into torch's cache. Raises RecipeError where that fails."""
    try:
        weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise RecipeError(
            f"ImageNet weights could not be had from {url} ({error}): without a network put the file into "
            f"{torch.hub.get_dir()}/checkpoints, take the backbone efficientnet_lite0, or train with --pretrained false"
        ) from error
    _log.info("ImageNet weights from %s", url)
    return weights


class ResNet(nn.Module):
    """Image [B, 3, H, W], normalised by IMAGE_MEAN and IMAGE_STD, to a map [B, C, H/s, W/s].

    With three stages s = 16, and C = 256, or 1024 at depth 50.
    """

    def __init__(self, blocks: tuple[int, ...], block: type[_BasicBlock] | type[_Bottleneck]) -> None:
        """blocks: how many residual blocks each stage has."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.num_stages = len(blocks)
        before = 64
        for i, count in enumerate(blocks):
            self.add_module(f"layer{i + 1}", _stage(block, before, _WIDTHS[i], count, stride=1 if i == 0 else 2))
            before = _WIDTHS[i] * block.expansion
        self.out_channels = before
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        for i in range(self.num_stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return x


class _BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class _Bottleneck(nn.Module):
    """Narrow 1x1, 3x3 with the stride, as the published weights have it, wide 1x1."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(in_channels, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def _stage(
    block: type[_BasicBlock] | type[_Bottleneck], in_channels: int, width: int, count: int, stride: int
) -> nn.Sequential:
    first = block(in_channels, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width, 1) for _ in range(count - 1)))
