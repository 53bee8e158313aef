"""Aggregators: many local features to one descriptor.

Generalised-mean (GeM) pooling: (mean over the places of max(x, eps)^p)^(1/p). The power p is one learnable scalar for
all channels: p = 1 is the average, p to infinity the maximum. The clamp at eps keeps the power defined and acts as a
ReLU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.models.sparse import SparseTensor, cloud_mean

__all__ = ["GeM", "GlobalMax", "NetVLAD", "SparseGeM"]


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


class GlobalMax(nn.Module):
    """Global max pooling (MAC) of an image feature map."""

    def forward(self, features: Tensor) -> Tensor:
        """features [B, C, H, W] -> descriptors [B, C]."""
        return features.amax(dim=(2, 3))


class NetVLAD(nn.Module):
    """NetVLAD of an image feature map.

    Arandjelovic et al., "NetVLAD: CNN architecture for weakly supervised place recognition", CVPR 2016, Eq. (4): for
    each of K clusters the residuals of the local features x to its centre c_k, weighted by softmax_k(w_k x + b_k) and
    summed; then every cluster's sum and the whole are brought to unit length. w, b and c are learned apart.
    dim: width of a linear map of all that, learned with the rest, where the paper has PCA after training; None leaves
    the K C numbers.
    """

    def __init__(self, channels: int, clusters: int = 64, dim: int | None = None) -> None:
        super().__init__()
        self.assignment = nn.Conv2d(channels, clusters, 1)
        self.centres = nn.Parameter(functional.normalize(torch.randn(clusters, channels)))
        self.projection = nn.Linear(clusters * channels, dim, bias=False) if dim else nn.Identity()
        if isinstance(self.projection, nn.Linear):
            # As large as the weights of a 1x1 convolution of the map would be: torch's own shrink with the K C inputs,
            # and at the learning rate of the rest a few steps of Adam would leave nothing of them.
            nn.init.normal_(self.projection.weight, std=channels**-0.5)
        self.dim = dim or clusters * channels

    def forward(self, features: Tensor) -> Tensor:
        """features [B, C, H, W] -> descriptors [B, D]; without the map [B, K C] of unit length, cluster by cluster."""
        features = functional.normalize(features)
        weights = self.assignment(features).flatten(2).softmax(dim=1)
        sums = torch.einsum("bkp,bcp->bkc", weights, features.flatten(2))
        residuals = sums - weights.sum(dim=2, keepdim=True) * self.centres
        descriptors: Tensor = self.projection(functional.normalize(functional.normalize(residuals, dim=2).flatten(1)))
        return descriptors

    @torch.no_grad()
    def start_from(self, local_features: Tensor, seed: int = 0) -> None:
        """Begin at the k-means clusters of local features [N, C], N well above K, as the paper's Appendix A does.

        w_k = 2 a c_k and b_k = -a |c_k|^2, with a such that the nearest cluster weighs 100 times the second nearest.
        """
        from scipy.cluster.vq import kmeans2

        local_features = functional.normalize(local_features.double().cpu())
        found, _ = kmeans2(local_features.numpy(), len(self.centres), minit="++", rng=seed)
        centres = torch.from_numpy(found)
        nearest = torch.cdist(local_features, centres).square().topk(2, dim=1, largest=False).values
        sharpness = math.log(100) / max(float((nearest[:, 1] - nearest[:, 0]).mean()), 1e-12)
        self.centres.copy_(centres)
        self.assignment.weight.copy_(2 * sharpness * centres[:, :, None, None])
        assert self.assignment.bias is not None
        self.assignment.bias.copy_(-sharpness * centres.square().sum(dim=1))
