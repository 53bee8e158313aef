"""Sparse convolution over a kernel map: gather, multiply, scatter.

out[o] = sum over k and pairs (i, o) of k of features[i] @ kernel[k]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vpr_core.models.sparse.kernel_map import KernelMap


def convolve(features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
    """features [num_inputs, C_in], kernel [K^3, C_in, C_out] -> [num_outputs, C_out]."""
    result: Tensor = _Convolution.apply(features, kernel, kernel_map)
    return result


class _Convolution(torch.autograd.Function):
    """Keeps features and kernel only; autograd alone would keep every gathered copy, about ten times as much."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.kernel_map = kernel_map
        return _gather_multiply_scatter(features, kernel, kernel_map)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, kernel = ctx.saved_tensors
        needs_features, needs_kernel, _ = ctx.needs_input_grad
        grad_features = grad_kernel = None
        if needs_features:
            grad_features = _gather_multiply_scatter(gradient, kernel.transpose(1, 2), ctx.kernel_map.swapped())
        if needs_kernel:
            grad_kernel = torch.empty_like(kernel)
            for k, (inputs, outputs) in enumerate(ctx.kernel_map.pairs()):
                torch.mm(features.index_select(0, inputs).T, gradient.index_select(0, outputs), out=grad_kernel[k])
        return grad_features, grad_kernel, None


def _gather_multiply_scatter(features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
    if kernel_map.centre is None:
        result = features.new_zeros(kernel_map.num_outputs, kernel.shape[2])
    else:
        result = features @ kernel[kernel_map.centre]
    for k, (inputs, outputs) in enumerate(kernel_map.pairs()):
        if k != kernel_map.centre and len(inputs):
            result.index_add_(0, outputs, features.index_select(0, inputs) @ kernel[k])
    return result
