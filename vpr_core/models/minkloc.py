"""MinkLoc++ and its parts, as DistilVPR has them: the fused teacher, the camera student, the LiDAR student.

Komorowski et al., "MinkLoc++: Lidar and Monocular Image Fusion for Place Recognition", IJCNN 2021. Parameter names
and shapes are DistilVPR's. Descriptors are not normalised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vpr_core.errors import BundleError, InputError
from vpr_core.models.aggregators import GeM, SparseGeM
from vpr_core.models.backbones import minkfpn, resnet
from vpr_core.models.encoder import ImageEncoder
from vpr_core.models.sparse import SparseTensor

__all__ = [
    "CloudBranch",
    "ImageBranch",
    "LoadReport",
    "MinkLoc3D",
    "MinkLocMultimodal",
    "MinkLocRGB",
    "camera_student",
    "lidar_student",
    "load_published",
    "minkloc3d",
    "minkloc_rgb",
    "minklocmmcat",
]


class CloudBranch(nn.Module):
    """Clouds of B vehicles, one sparse tensor, to descriptors [B, D]: MinkFPN and GeM. DistilVPR's LiDAR student."""

    def __init__(self, backbone: minkfpn.MinkFPN) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = _Pooling()
        self.dim = backbone.out_channels

    def forward(self, clouds: SparseTensor) -> Tensor:
        descriptors: Tensor = self.pooling(self.backbone(clouds))
        return descriptors


class ImageBranch(nn.Module):
    """RGB images [B, 3, H, W] in [0, 1] to descriptors [B, D]: ResNet, 1x1 convolution, GeM. The camera student."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: resnet.ResNet, dim: int) -> None:
        super().__init__()
        self.model = model
        self.conv1x1 = nn.Conv2d(model.out_channels, dim, 1)
        self.image_gem = GeM()
        self.dim = dim
        self.register_buffer("mean", torch.tensor(resnet.IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(resnet.IMAGE_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        descriptors: Tensor = self.image_gem(self.conv1x1(self.model((images - self.mean) / self.std)))
        return descriptors


class MinkLocMultimodal(nn.Module):
    """Image and cloud of the same moment to one descriptor: the cloud's, then the image's.

    Any two networks with an attribute `dim` that map images and clouds to [B, dim] may be the halves.
    """

    def __init__(self, cloud_fe: nn.Module, image_fe: nn.Module) -> None:
        super().__init__()
        self.cloud_fe = cloud_fe
        self.image_fe = image_fe

    @property
    def dim(self) -> int:
        return int(self.cloud_fe.dim) + int(self.image_fe.dim)  # type: ignore[arg-type]

    def cloud_parameters(self) -> list[nn.Parameter]:
        return list(self.cloud_fe.parameters())

    def forward(self, images: Tensor, clouds: SparseTensor) -> dict[str, Tensor]:
        """images [B, 3, H, W] in [0, 1], clouds of B vehicles -> embedding [B, cloud + image] and its two halves.

        Keys `embedding`, `cloud_embedding`, `image_embedding`, the heads of the task loss.
        """
        if len(images) != clouds.num_clouds:
            raise InputError(f"{len(images)} images and {clouds.num_clouds} clouds are no pairs")
        cloud, image = self.cloud_fe(clouds), self.image_fe(images)
        return {"embedding": torch.cat([cloud, image], dim=1), "cloud_embedding": cloud, "image_embedding": image}


class MinkLoc3D(nn.Module):
    """The cloud branch alone, under the names that it has within the fused network."""

    def __init__(self, cloud_fe: CloudBranch) -> None:
        super().__init__()
        self.cloud_fe = cloud_fe
        self.dim = cloud_fe.dim

    def forward(self, clouds: SparseTensor) -> Tensor:
        descriptors: Tensor = self.cloud_fe(clouds)
        return descriptors


class MinkLocRGB(nn.Module):
    """The image branch alone, under the names that it has within the fused network."""

    def __init__(self, image_fe: ImageBranch) -> None:
        super().__init__()
        self.image_fe = image_fe
        self.dim = image_fe.dim

    def forward(self, images: Tensor) -> Tensor:
        descriptors: Tensor = self.image_fe(images)
        return descriptors


def minklocmmcat(
    cloud_dim: int = 128, image_dim: int = 256, pretrained: bool = True, depth: int = 18
) -> MinkLocMultimodal:
    """DistilVPR's teacher, 384-d = cloud 128 | image 256; 128 and 128 is upstream's MinkLocMultimodal.

    pretrained, depth: of the image half, as in `resnet.build`, which see for what it raises.
    """
    cloud_fe = CloudBranch(minkfpn.build(cloud_dim))
    return MinkLocMultimodal(cloud_fe, ImageBranch(resnet.build(pretrained, depth), image_dim))


def minkloc3d(dim: int = 256) -> MinkLoc3D:
    """Upstream's LiDAR network."""
    return MinkLoc3D(CloudBranch(minkfpn.build(dim)))


def minkloc_rgb(dim: int = 256, pretrained: bool = True) -> MinkLocRGB:
    """Upstream's camera network."""
    return MinkLocRGB(ImageBranch(resnet.build(pretrained), dim))


def camera_student(dim: int = 384, pretrained: bool = True, depth: int = 18) -> ImageBranch:
    """DistilVPR's camera student, as wide as its teacher."""
    return ImageBranch(resnet.build(pretrained, depth), dim)


def lidar_student(
    dim: int = 384, planes: Sequence[int] = (32, 64, 128), layers: Sequence[int] = (1, 1, 1), num_top_down: int = 0
) -> CloudBranch:
    """DistilVPR's LiDAR student, as wide as its teacher."""
    return CloudBranch(minkfpn.build(dim, planes, layers, num_top_down))


@dataclass(frozen=True)
class LoadReport:
    """What became of the entries of a published checkpoint."""

    loaded: list[str]
    """Names in the model."""
    unused: list[str]
    """Names in the checkpoint of heads that it carries and no model here has: layer4, fc, CosPlace, NetVLAD, ..."""


def load_published(model: nn.Module, state_dict: Mapping[str, Tensor]) -> LoadReport:
    """Loads weights as MinkLoc++, DistilVPR or AdaFusion publish them into a model above or one of `build_model`.

    A half alone takes weights whose names all begin with cloud_fe or image_fe, as upstream's single networks have them.
    Raises BundleError where an entry is missing, of another shape, or neither the model's nor a known unused head's.
    """
    own = {_published_name(name, model): name for name in model.state_dict()}
    half = _half(state_dict, own)
    renamed = {_distil_name(name.removeprefix(half)): name for name in state_dict}
    wanted = {published: model.state_dict()[name] for published, name in own.items()}
    unused = [published for name, published in renamed.items() if name not in wanted and _UNUSED.search(name)]
    unknown = [published for name, published in renamed.items() if name not in wanted and not _UNUSED.search(name)]
    missing = [name for name in wanted if name not in renamed]
    if missing or unknown:
        raise BundleError(f"the checkpoint is not of this model: it lacks {missing[:5]} and has {unknown[:5]} besides")
    weights = {name: state_dict[renamed[name]] for name in wanted}
    wrong = [f"{name} {tuple(weights[name].shape)}" for name in wanted if weights[name].shape != wanted[name].shape]
    if wrong:
        raise BundleError(f"the checkpoint is of a model of another size: {', '.join(wrong[:5])}")
    model.load_state_dict({own[name]: value for name, value in weights.items()})
    return LoadReport(list(own.values()), unused)


class _Pooling(nn.Module):
    """Holds the GeM under the name that published weights have for it."""

    def __init__(self) -> None:
        super().__init__()
        self.pooling = SparseGeM()

    def forward(self, x: SparseTensor) -> Tensor:
        descriptors: Tensor = self.pooling(x)
        return descriptors


_UNUSED = re.compile(r"(^|\.)(model\.(layer4|fc)|imagecosplace|imageconvap|imagenetvlad)\.")
_RENAMED = (
    (re.compile(r"(^|\.)backbone\.bn\."), r"\1backbone.bns."),
    (re.compile(r"(^|\.)backbone\.conv1x1\."), r"\1backbone.conv1x1s."),
    (re.compile(r"(^|\.)resnet_fe\.0\."), r"\1model.conv1."),
    (re.compile(r"(^|\.)resnet_fe\.1\."), r"\1model.bn1."),
    (re.compile(r"(^|\.)resnet_fe\.4\."), r"\1model.layer1."),
    (re.compile(r"(^|\.)resnet_fe\.5\."), r"\1model.layer2."),
    (re.compile(r"(^|\.)resnet_fe\.6\."), r"\1model.layer3."),
    (re.compile(r"(^|\.)fh_conv1x1\.4\."), r"\1conv1x1."),
    (re.compile(r"(^|\.)pool\.p$"), r"\1image_gem.p"),
)


_ENCODER_NAMES = {"backbone": "model", "gem": "image_gem"}


def _published_name(name: str, model: nn.Module) -> str:
    """A parameter's name in DistilVPR, from its name in the model, whose image half may be an `ImageEncoder`."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        if isinstance(module, ImageEncoder) and name.startswith(prefix):
            part, dot, rest = name.removeprefix(prefix).partition(".")
            return prefix + _ENCODER_NAMES.get(part, part) + dot + rest
    return name


def _half(published: Iterable[str], own: Iterable[str]) -> str:
    """The prefix of a fused network's half below which all of a checkpoint lies and nothing of the model; or none."""
    for half in ("cloud_fe.", "image_fe."):
        if all(name.startswith(half) for name in published) and not any(name.startswith(half) for name in own):
            return half
    return ""


def _distil_name(name: str) -> str:
    """A parameter's name in DistilVPR, from its name there or in MinkLoc++."""
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
