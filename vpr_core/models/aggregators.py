"""Aggregators: many local features to one descriptor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["GeM"]


class GeM(nn.Module):
    """Generalised-mean pooling of an image feature map (SPEC B.4): (mean over H, W of max(x, eps)^p)^(1/p).

    The power p is one learnable scalar for all channels: p = 1 is the average, p to infinity the maximum. The clamp
    at eps keeps the power defined and acts as a ReLU.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), float(p)))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        """features [B, C, H, W] -> descriptors [B, C]."""
        powered = features.clamp(min=self.eps).pow(self.p)
        return powered.mean(dim=(2, 3)).pow(1.0 / self.p)
