"""Where a descriptor looks: DistilVPR Fig. 3, exact for networks that end in GeM pooling.

A GeM descriptor is, channel by channel, d_c = (mean over the places l of f_lc^p)^(1/p). So f_lc^p / sum_l f_lc^p is the
share of place l in channel c, and its mean over the channels, weighted by d_c^2, the share of l in the descriptor's
squared length. No gradient and no choice of a layer is needed, and the shares of a descriptor add up to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import InputError
from vpr_core.models.aggregators import GeM, SparseGeM
from vpr_core.models.sparse import SparseTensor


@dataclass
class Salience:
    """Shares of one descriptor, or of its image and cloud halves; each half's add up to 1."""

    image: np.ndarray | None = None
    """float32 [h, w] on the grid of the last feature map."""
    sites: dict[tuple[int, int, int], float] = field(default_factory=dict)
    """By the lower corner of a site, in voxels."""
    stride: int = 1
    """Edge of a site [voxels]."""

    def of_pixels(self, width: int, height: int) -> np.ndarray:
        """float32 [height, width], relative to an even look: 1 is a pixel's fair part of the whole."""
        if self.image is None:
            raise InputError("this descriptor saw no image")
        even = torch.from_numpy(self.image * self.image.size)[None, None]
        size = (height, width)
        return functional.interpolate(even, size, mode="bilinear", align_corners=False)[0, 0].numpy()

    def of_points(self, points_m: np.ndarray, voxel_size_m: float) -> np.ndarray:
        """float32 [N] for points [N, 3 or more] (x, y, z [m] first), relative to an even look over the sites.

        All points of a site have its value; 0 where the network was not given the point.
        """
        if not self.sites:
            raise InputError("this descriptor saw no cloud")
        corners = np.floor(points_m[:, :3] / voxel_size_m).astype(np.int64) // self.stride * self.stride
        shares = [self.sites.get(tuple(corner), 0.0) for corner in corners.tolist()]
        return np.array(shares, np.float32) * len(self.sites)


def salience(model: nn.Module, arguments: Sequence[Any]) -> Salience:
    """What each place of one image, one cloud or one pair of them gives to its descriptor.

    model      a network in eval mode with GeM or SparseGeM pooling
    arguments  what its forward takes, for a batch of one

    Raises InputError where the network pools otherwise or the batch is not of one.
    """
    found = Salience()
    with _watched(model, found), torch.inference_mode():
        model(*arguments)
    if found.image is None and not found.sites:
        raise InputError(f"{type(model).__name__} has no GeM pooling, which salience is read from")
    return found


@contextmanager
def _watched(model: nn.Module, found: Salience) -> Iterator[None]:
    hooks = [
        module.register_forward_pre_hook(_image_hook(found) if isinstance(module, GeM) else _cloud_hook(found))
        for module in model.modules()
        if isinstance(module, (GeM, SparseGeM))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _image_hook(found: Salience) -> Any:
    def hook(pooling: GeM, inputs: tuple[Tensor]) -> None:
        (features,) = inputs
        if len(features) != 1:
            raise InputError(f"salience is of one image at a time, the batch has {len(features)}")
        rows = features[0].flatten(1).T
        found.image = shares(rows, pooling).reshape(features.shape[2:]).cpu().numpy()

    return hook


def _cloud_hook(found: Salience) -> Any:
    def hook(pooling: SparseGeM, inputs: tuple[SparseTensor]) -> None:
        (x,) = inputs
        if x.num_clouds != 1:
            raise InputError(f"salience is of one cloud at a time, the batch has {x.num_clouds}")
        corners = x.coordinates[:, 1:].tolist()
        values = shares(x.features, pooling).tolist()
        found.sites = {tuple(corner): value for corner, value in zip(corners, values, strict=True)}
        found.stride = x.stride

    return hook


def shares(features: Tensor, pooling: GeM | SparseGeM) -> Tensor:
    """Share [L] of each place in the squared length of the descriptor that `pooling` makes of features [L, C]."""
    powered = features.float().clamp(min=pooling.eps).pow(pooling.p)
    squared_length = powered.mean(dim=0).pow(2.0 / pooling.p)
    return (powered / powered.sum(dim=0)) @ (squared_length / squared_length.sum())
