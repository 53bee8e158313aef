"""Layers over sparse tensors, with MinkowskiEngine's parameter names and shapes so that its weights load."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vpr_core.models.sparse.tensor import SparseTensor


class SparseConv(nn.Module):
    """Convolution without bias. kernel [K^3, C_in, C_out], or [C_in, C_out] where K = 1.

    At stride 1 the output has the input's sites; at stride s the sites floor(c / (s * t)) * s * t of an input of
    stride t. Initialised as MinkLoc++ does: normal with variance 2 / fan_out.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        if kernel_size == 1 and stride != 1:
            raise ValueError(f"a kernel of size 1 needs stride 1, got {stride}")
        self.kernel_size, self.stride = kernel_size, stride
        self.kernel = nn.Parameter(torch.empty(_kernel_shape(in_channels, out_channels, kernel_size)))
        # MinkLoc++ takes the first dimension of a two-dimensional kernel for the fan out; so does this.
        fan_out = in_channels if kernel_size == 1 else out_channels * kernel_size**3
        nn.init.normal_(self.kernel, std=math.sqrt(2.0 / fan_out))

    def forward(self, x: SparseTensor) -> SparseTensor:
        if self.kernel_size == 1:
            return x.with_features(x.features @ self.kernel)
        stride = x.stride * self.stride
        with _outside_autocast(x):
            features = x.features.to(self.kernel.dtype)
            features = x.manager.convolve(features, self.kernel, self.kernel_size, x.stride, stride)
        return x.at_stride(stride, features)

    def extra_repr(self) -> str:
        return f"{tuple(self.kernel.shape)}, kernel_size={self.kernel_size}, stride={self.stride}"


class SparseConvTranspose(nn.Module):
    """Transposed convolution without bias, onto the sites that the finer stride already has. kernel [K^3, C_in, C_out].

    out[c + offset_k] sums x[c] @ kernel[k]. Initialised uniformly in +-1 / sqrt(C_out * K^3).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.kernel = nn.Parameter(torch.empty(kernel_size**3, in_channels, out_channels))
        bound = 1.0 / math.sqrt(out_channels * kernel_size**3)
        nn.init.uniform_(self.kernel, -bound, bound)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Raises ValueError where the input's stride has no finer one below it."""
        stride, rest = divmod(x.stride, self.stride)
        if rest or not stride:
            raise ValueError(f"an input of stride {x.stride} cannot be made finer by {self.stride}")
        with _outside_autocast(x):
            features = x.features.to(self.kernel.dtype)
            features = x.manager.convolve_transposed(features, self.kernel, self.kernel_size, x.stride, stride)
        return x.at_stride(stride, features)

    def extra_repr(self) -> str:
        return f"{tuple(self.kernel.shape)}, kernel_size={self.kernel_size}, stride={self.stride}"


class SparseBatchNorm(nn.Module):
    """Batch normalisation over all sites of all clouds; its parameters lie under `bn`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.with_features(self.bn(x.features))


def relu_(x: SparseTensor) -> SparseTensor:
    """Rectifies the features in place: large ones are not copied."""
    return x.with_features(x.features.relu_())


def cloud_mean(x: SparseTensor, features: Tensor | None = None) -> Tensor:
    """Mean over the sites of each cloud: [B, C], row b for cloud b.

    features: [N, C] to average in place of x.features.
    """
    features = x.features if features is None else features
    index = x.cloud_index
    total = features.new_zeros(x.num_clouds, features.shape[1]).index_add(0, index, features)
    return total / torch.bincount(index, minlength=x.num_clouds).to(features).unsqueeze(1)


def _outside_autocast(x: SparseTensor) -> torch.autocast:
    """Sums over many neighbours keep the precision of the kernel, in the backward pass as in the forward one."""
    return torch.autocast(x.features.device.type, enabled=False)


def _kernel_shape(in_channels: int, out_channels: int, kernel_size: int) -> tuple[int, ...]:
    return (in_channels, out_channels) if kernel_size == 1 else (kernel_size**3, in_channels, out_channels)
