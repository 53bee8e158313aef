"""Networks by name, with options that fit into JSON: what a checkpoint stores beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature

from torch import nn

from vpr_core.errors import RecipeError
from vpr_core.models.adafusion import AdaFusion, adafusion_camera, adafusion_lidar
from vpr_core.models.backbones import minkfpn
from vpr_core.models.encoder import build_image_encoder
from vpr_core.models.minkloc import CloudBranch, MinkLocMultimodal, lidar_student
from vpr_core.models.structvpr import rgb_branch, segmentation_branch
from vpr_core.models.structvpr_comparison import concat_features, concat_input, multi_task

__all__ = ["MODELS", "build_model"]


def build_model(name: str, **options: object) -> nn.Module:
    """The network of that name. It has an attribute `dim`, the width D of its descriptors.

    "camera": images [B, 3, H, W] -> [B, D], see `build_image_encoder`; "lidar": a SparseTensor of B clouds -> [B, D],
    see `lidar_student`; "teacher": both -> a dictionary of descriptors, see `MinkLocMultimodal`. "adafusion",
    "adafusion_camera", "adafusion_lidar": the same for AdaFusion, whose clouds are grids [B, 1, X, Y, Z].
    "structvpr_rgb": images -> [B, 448]; "structvpr_segmentation": label maps [B, C, H, W] -> [B, 480]; and what they
    are compared with, see `structvpr_comparison`.
    Raises RecipeError for an unknown name, an unknown option, or options that do not fit together.
    """
    if name not in MODELS:
        raise RecipeError(f"unknown model {name!r}: known are {', '.join(MODELS)}")
    known = signature(MODELS[name]).parameters
    for option in options:
        if option not in known:
            raise RecipeError(f"model {name!r} has no option {option!r}; it has {', '.join(known)}")
    try:
        return MODELS[name](**options)
    except ValueError as error:
        raise RecipeError(f"model {name!r} cannot be built: {error}") from error


def _teacher(
    backbone: str = "resnet",
    image_dim: int | None = 256,
    pretrained: bool = True,
    cloud_dim: int = 128,
    planes: Sequence[int] = (32, 64, 64),
    layers: Sequence[int] = (1, 1, 1),
    num_top_down: int = 1,
) -> MinkLocMultimodal:
    """MinkLoc++ on any image backbone; the defaults are DistilVPR's teacher, 384-d = cloud 128 | image 256."""
    cloud_fe = CloudBranch(minkfpn.build(cloud_dim, planes, layers, num_top_down))
    return MinkLocMultimodal(cloud_fe, build_image_encoder(backbone, image_dim, pretrained))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "camera": build_image_encoder,
    "lidar": lidar_student,
    "teacher": _teacher,
    "adafusion": AdaFusion,
    "adafusion_camera": adafusion_camera,
    "adafusion_lidar": adafusion_lidar,
    "structvpr_rgb": rgb_branch,
    "structvpr_segmentation": segmentation_branch,
    "structvpr_multi_task": multi_task,
    "structvpr_concat_feat": concat_features,
    "structvpr_concat_input": concat_input,
}
