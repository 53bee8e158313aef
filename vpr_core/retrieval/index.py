"""Exact search for the most similar descriptors: faiss where it is installed, numpy where it is not."""

from __future__ import annotations

from types import ModuleType
from typing import Protocol

import numpy as np

from vpr_core.errors import MapError

_faiss: ModuleType | None
try:
    import faiss as _faiss
except ImportError:  # a robot's Python may lack it; maps of a few ten thousand places do not need it
    _faiss = None


class Index(Protocol):
    """The `k` most similar of the indexed descriptors for each query."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """queries float32 [M, D] -> similarities [M, k] in falling order and int64 row numbers [M, k]."""


def build_index(descriptors: np.ndarray, device: str = "cpu") -> Index:
    """An index over unit descriptors float32 [N, D] by inner product, which is their cosine.

    device "cuda" wants faiss with GPU support and raises MapError where that is not installed.
    """
    descriptors = np.ascontiguousarray(descriptors, dtype=np.float32)
    if device == "cuda":
        return _FaissIndex(_gpu_index(descriptors))
    if _faiss is None:
        return NumpyIndex(descriptors)
    _faiss.omp_set_num_threads(1)  # a robot asks with one query at a time, for which threads cost more than they give
    index = _faiss.IndexFlatIP(descriptors.shape[1])
    index.add(descriptors)
    return _FaissIndex(index)


class NumpyIndex:
    """Exact search with one matrix product."""

    def __init__(self, descriptors: np.ndarray) -> None:
        self._descriptors = descriptors

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similarity = queries @ self._descriptors.T
        k = min(k, similarity.shape[1])
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similarity, order, axis=1), order.astype(np.int64)


class _FaissIndex:
    def __init__(self, index: object) -> None:
        self._index = index

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        return self._index.search(queries, min(k, self._index.ntotal))  # type: ignore[attr-defined]


def _gpu_index(descriptors: np.ndarray) -> object:
    if _faiss is None or not hasattr(_faiss, "StandardGpuResources") or not _faiss.get_num_gpus():
        raise MapError("device is cuda, but faiss with GPU support or a GPU is missing: install faiss-gpu or use cpu")
    index = _faiss.GpuIndexFlatIP(_faiss.StandardGpuResources(), descriptors.shape[1])
    index.add(descriptors)
    return index
