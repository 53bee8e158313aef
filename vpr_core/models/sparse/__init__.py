"""Sparse 3-D convolution over LiDAR voxels: an engine in plain torch, MinkowskiEngine as an optional other one."""

from vpr_core.models.sparse.layers import SparseBatchNorm, SparseConv, SparseConvTranspose, cloud_mean, relu_
from vpr_core.models.sparse.tensor import ENGINES, SparseTensor, batch_clouds, voxelize

__all__ = [
    "ENGINES",
    "SparseBatchNorm",
    "SparseConv",
    "SparseConvTranspose",
    "SparseTensor",
    "batch_clouds",
    "cloud_mean",
    "relu_",
    "voxelize",
]
