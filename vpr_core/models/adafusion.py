"""AdaFusion: image and occupancy grid fused with weights that a network chooses for each pair; and its students.

Wang et al., "AdaFusion: Visual-LiDAR Fusion with Adaptive Weights for Place Recognition", RA-L 2022. Parameter names
and shapes are those of the published network `aavislidarnet3`. Descriptors are not normalised.

The published code averages maps that are cut off from the graph, so that neither branch ever learns. Here the averages
are of the maps themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import InputError
from vpr_core.models.backbones import adafusion_image, adafusion_voxel

__all__ = ["AdaFusion", "AdaFusionCamera", "AdaFusionLidar", "adafusion_camera", "adafusion_lidar"]

_ATTENTION_CHANNELS = 16


class AdaFusion(nn.Module):
    """Image and cloud of the same moment to one descriptor of 256: the image's half, then the cloud's."""

    dim = 256
    mean: Tensor
    std: Tensor

    def __init__(self, attention_gradient: bool = False) -> None:
        """attention_gradient: the branches learn from the weights too, end to end as the paper says.

        In the published code, and by default, the weights are chosen from maps that are cut off from the graph.
        """
        super().__init__()
        image, voxel = adafusion_image.build(), adafusion_voxel.build()
        self.v_feature1, self.v_feature2, self.v_feature3 = image.v_feature1, image.v_feature2, image.v_feature3
        self.l_feature1, self.l_feature2, self.l_feature3 = voxel.l_feature1, voxel.l_feature2, voxel.l_feature3
        self._add_attention("v", (64, 128, 128), dimensions=2)
        self._add_attention("l", (32, 64, 128), dimensions=3)
        self.vl_atten_fusion = nn.Sequential(
            nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2), nn.Sigmoid()
        )
        self.attention_gradient = attention_gradient
        _register_image_statistics(self)

    def forward(self, images: Tensor, grids: Tensor) -> dict[str, Tensor]:
        """images [B, 3, H, W] in [0, 1], grids [B, 1, X, Y, Z] of 0 and 1 -> embedding [B, 256] and its two halves.

        Keys `embedding`, whose halves are weighted; `cloud_embedding` and `image_embedding` [B, 128], which are not.
        """
        if len(images) != len(grids):
            raise InputError(f"{len(images)} images and {len(grids)} clouds are no pairs")
        image_maps = _maps((images - self.mean) / self.std, self.v_feature1, self.v_feature2, self.v_feature3)
        cloud_maps = _maps(grids, self.l_feature1, self.l_feature2, self.l_feature3)
        weights = self.weights(image_maps, cloud_maps)
        image, cloud = _average(image_maps[-1]), _average(cloud_maps[-1])
        embedding = torch.cat([weights[:, :1] * image, weights[:, 1:] * cloud], dim=1)
        return {"embedding": embedding, "cloud_embedding": cloud, "image_embedding": image}

    def weights(self, image_maps: Sequence[Tensor], cloud_maps: Sequence[Tensor]) -> Tensor:
        """[B, 2]: how much of the image and of the cloud, each in (0, 1), from the maps of the three stages."""
        attended = torch.cat([self._attend("v", image_maps), self._attend("l", cloud_maps)], dim=1)
        weights: Tensor = self.vl_atten_fusion(attended)
        return weights

    def cloud_parameters(self) -> list[nn.Parameter]:
        """Those of the voxel branch and of its attention; the others go with the image branch."""
        return [parameter for name, parameter in self.named_parameters() if name.startswith("l_")]

    def _add_attention(self, branch: str, channels: Sequence[int], dimensions: int) -> None:
        for level, count in enumerate(channels, start=1):
            position = PositionAttention(count, dimensions, stride=2 if level < len(channels) else 1)
            self.add_module(f"{branch}_attention_pos{level}", position)
            self.add_module(f"{branch}_attention_chn{level}", ChannelAttention(count, dimensions))
        conv, norm = _LAYERS[dimensions]
        fusion = nn.Sequential(conv(2 * len(channels) * _ATTENTION_CHANNELS, 128, 1), norm(128), nn.ReLU())
        self.add_module(f"{branch}_atten_fusion", fusion)

    def _attend(self, branch: str, maps: Sequence[Tensor]) -> Tensor:
        """[B, 128]: what position and channel attention make of a branch's three maps."""
        if not self.attention_gradient:
            maps = [features.detach() for features in maps]
        attended = [
            self.get_submodule(f"{branch}_attention_{kind}{level}")(features)
            for kind in ("pos", "chn")
            for level, features in enumerate(maps, start=1)
        ]
        size = attended[2].shape[2:]
        resized = [functional.interpolate(features, size=size) for features in attended]
        return _average(self.get_submodule(f"{branch}_atten_fusion")(torch.cat(resized, dim=1)))


class PositionAttention(nn.Module):
    """Every place of a map looks at every other: softmax(q^T k / sqrt(d)) v, of one head."""

    def __init__(self, channels: int, dimensions: int, stride: int, key_channels: int = 4) -> None:
        super().__init__()
        self.sizes = (key_channels, key_channels, _ATTENTION_CHANNELS)
        self.qkv_conv = _LAYERS[dimensions][0](channels, sum(self.sizes), 3, stride=stride, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, *S] -> [B, 16, *S / stride], S two or three sizes."""
        mapped = self.qkv_conv(features)
        query, key, value = mapped.flatten(2).transpose(1, 2).split(self.sizes, dim=2)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).unflatten(2, mapped.shape[2:])


class ChannelAttention(nn.Module):
    """Every channel X_i of a map looks at every other: softmax(X X^T) X, to 16 channels."""

    def __init__(self, channels: int, dimensions: int) -> None:
        super().__init__()
        self.bottleneck = _LAYERS[dimensions][0](channels, _ATTENTION_CHANNELS, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, *S] -> [B, 16, *S], S two or three sizes."""
        rows = features.flatten(2)
        attention = torch.softmax(rows @ rows.transpose(1, 2), dim=2)
        attended: Tensor = self.bottleneck((attention @ rows).view_as(features))
        return attended


class AdaFusionCamera(nn.Module):
    """AdaFusion2D: images [B, 3, H, W] in [0, 1] to descriptors [B, D] by the image branch alone.

    The paper does not say how the branch's 128 channels become the teacher's 256: a linear layer here.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: adafusion_image.AdaFusionImage, dim: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim or backbone.out_channels
        self.linear = nn.Linear(backbone.out_channels, dim) if dim else nn.Identity()
        _register_image_statistics(self)

    def forward(self, images: Tensor) -> Tensor:
        descriptors: Tensor = self.linear(_average(self.backbone((images - self.mean) / self.std)))
        return descriptors


class AdaFusionLidar(nn.Module):
    """AdaFusion3D: grids [B, 1, X, Y, Z] of 0 and 1 to descriptors [B, D] by the voxel branch alone.

    The linear layer is as in `AdaFusionCamera`.
    """

    def __init__(self, backbone: adafusion_voxel.AdaFusionVoxel, dim: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim or backbone.out_channels
        self.linear = nn.Linear(backbone.out_channels, dim) if dim else nn.Identity()

    def forward(self, grids: Tensor) -> Tensor:
        descriptors: Tensor = self.linear(_average(self.backbone(grids)))
        return descriptors


def adafusion_camera(dim: int | None = 256, width: int = 1) -> AdaFusionCamera:
    """The camera student, as wide as its teacher; with a width of 2 a bigger teacher for it.

    DistilVPR has a teacher "AdaFusion2D-big" and does not say what is big in it: twice the channels is a choice of
    ours. dim None keeps the branch's own.
    """
    return AdaFusionCamera(adafusion_image.build(width=width), dim)


def adafusion_lidar(dim: int | None = 256) -> AdaFusionLidar:
    """The LiDAR student, as wide as its teacher; dim None keeps the branch's own 128."""
    return AdaFusionLidar(adafusion_voxel.build(), dim)


_LAYERS: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    2: (nn.Conv2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.BatchNorm3d),
}


def _maps(x: Tensor, *stages: nn.Module) -> list[Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps


def _average(features: Tensor) -> Tensor:
    """[B, C, *S] -> [B, C]."""
    return features.flatten(2).mean(dim=2)


def _register_image_statistics(module: nn.Module) -> None:
    for name, values in (("mean", adafusion_image.IMAGE_MEAN), ("std", adafusion_image.IMAGE_STD)):
        module.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
