"""Exact search for the most similar descriptors: faiss where it is installed, numpy where it is not.

Neither copies the descriptors: those of a map stay mapped to their file, and a large map costs no memory of its own.
"""

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

_ROWS_AT_ONCE = 1 << 16
_QUERIES_AT_ONCE = 64
"""Similarities of so many queries to so many places are in memory at once: 16 MiB."""


class Index(Protocol):
    """The `k` most similar of the indexed descriptors for each query."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """queries float32 [M, D] -> similarities [M, k] in falling order and int64 row numbers [M, k]."""


def build_index(descriptors: np.ndarray, device: str = "cpu") -> Index:
    """An index over unit descriptors float32 [N, D] by inner product, which is their cosine.

    device "cuda" wants faiss with GPU support and raises MapError where that is not installed; it copies them there.
    """
    descriptors = np.ascontiguousarray(descriptors, dtype=np.float32)
    if device == "cuda":
        return _GpuIndex(descriptors)
    return NumpyIndex(descriptors) if _faiss is None else FaissIndex(descriptors)


class NumpyIndex:
    """Exact search with matrix products, a part of the map after the other; of equal places the first row."""

    def __init__(self, descriptors: np.ndarray) -> None:
        self._descriptors = descriptors

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        k = min(k, len(self._descriptors))
        parts = range(0, max(len(queries), 1), _QUERIES_AT_ONCE)
        found = [self._search(queries[start : start + _QUERIES_AT_ONCE], k) for start in parts]
        similarity, rows = zip(*found, strict=True)
        return np.concatenate(similarity), np.concatenate(rows)

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        best, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start in range(0, len(self._descriptors), _ROWS_AT_ONCE):
            similarity = queries @ self._descriptors[start : start + _ROWS_AT_ONCE].T
            here = _first(similarity, k)
            both = np.concatenate([best, np.take_along_axis(similarity, here, axis=1)], axis=1)
            both_rows = np.concatenate([rows, here + start], axis=1)
            kept = _first(both, k)
            best, rows = np.take_along_axis(both, kept, axis=1), np.take_along_axis(both_rows, kept, axis=1)
        return best, rows


def _first(similarity: np.ndarray, k: int) -> np.ndarray:
    """int64 [M, k], the columns of the largest of [M, C] in falling order; of equal ones the first."""
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


class FaissIndex:
    """Exact search by faiss over the descriptors where they are: an IndexFlat would hold them a second time."""

    def __init__(self, descriptors: np.ndarray) -> None:
        assert _faiss is not None
        _faiss.omp_set_num_threads(1)  # a robot asks with one query at a time, for which threads cost more than give
        self._descriptors = descriptors

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        assert _faiss is not None
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, len(self._descriptors))
        return _faiss.knn(queries, self._descriptors, k, metric=_faiss.METRIC_INNER_PRODUCT)


class _GpuIndex:
    def __init__(self, descriptors: np.ndarray) -> None:
        if _faiss is None or not hasattr(_faiss, "StandardGpuResources") or not _faiss.get_num_gpus():
            raise MapError(
                "device is cuda, but faiss with GPU support or a GPU is missing: install faiss-gpu or use cpu"
            )
        self._index = _faiss.GpuIndexFlatIP(_faiss.StandardGpuResources(), descriptors.shape[1])
        self._index.add(descriptors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        return self._index.search(queries, min(k, self._index.ntotal))
