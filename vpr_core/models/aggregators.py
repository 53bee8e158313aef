"""Aggregators: many local features to one descriptor.

Generalised-mean (GeM) pooling: (mean over the places of max(x, eps)^p)^(1/p). The power p is one learnable scalar for
all channels: p = 1 is the average, p to infinity the maximum. The clamp at eps keeps the power defined and acts as a
ReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpr_core.models.sparse import SparseTensor, cloud_mean

__all__ = ["GeM", "SparseGeM"]


class GeM(nn.Module):
    """GeM pooling of an image feature map."""

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), float(p)))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        """features [B, C, H, W] -> descriptors [B, C]."""
        powered = features.clamp(min=self.eps).pow(self.p)
        return powered.mean(dim=(2, 3)).pow(1.0 / self.p)


class SparseGeM(nn.Module):
    """GeM pooling over the sites of each cloud of a batch."""

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), float(p)))
        self.eps = eps

    def forward(self, x: SparseTensor) -> Tensor:
        """x with features [N, C] on the sites of B clouds -> descriptors [B, C]."""
        powered = x.features.clamp(min=self.eps).pow(self.p)
        return cloud_mean(x, powered).pow(1.0 / self.p)
