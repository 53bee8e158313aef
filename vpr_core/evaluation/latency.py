"""How long a bundle takes for one query, measured on the queries of an evaluation."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import InputError
from vpr_core.evaluation.recall import RETRIEVED
from vpr_core.evaluation.search import unit
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.index import build_index


@dataclass(frozen=True)
class TimedBundle:
    """A bundle asked as a robot asks it, one observation at a time, with the time of each answer.

    `describe` and `retrieve` are a method as `evaluate` takes it. Reading files and decoding images is not timed.
    """

    bundle: Bundle
    device: str = "cpu"
    search_ms: list[float] = field(default_factory=list)
    """Of every query in the order of the searches."""
    _describe_ms: dict[Path, dict[int, float]] = field(default_factory=dict)

    def describe(self, drive: Frames) -> np.ndarray:
        """Descriptors float32 [N, D] of a drive; raises FramesError and InputError."""
        observation = drive.image if self.bundle.modality == "camera" else drive.cloud
        rows, times_ms = [], []
        for index in range(len(drive)):
            observed = observation(index)
            started = time.perf_counter()
            try:
                rows.append(self.bundle.encode([observed]))
            except InputError as error:
                raise InputError(f"{drive.folder}, frame {index}: {error}", error.kind) from error
            times_ms.append((time.perf_counter() - started) * 1e3)
        stamps_ns = [frame.stamp_ns for frame in drive.frames]
        self._describe_ms[drive.folder] = dict(zip(stamps_ns, times_ms, strict=True))
        return np.concatenate(rows)

    def retrieve(self, database: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `search.by_cosine`, a query [1, D] at a time."""
        index, found = build_index(unit(database)), []
        for query in unit(queries):
            started = time.perf_counter()
            found.append(index.search(query[None], RETRIEVED))
            self.search_ms.append((time.perf_counter() - started) * 1e3)
        similarities, rows = zip(*found, strict=True)
        return np.concatenate(similarities), np.concatenate(rows)

    def query_ms(self, queries: list[Frames]) -> np.ndarray:
        """[M] time to describe and to search, of these query drives in the order in which they were retrieved."""
        describe_ms = [self._describe_ms[drive.folder][frame.stamp_ns] for drive in queries for frame in drive.frames]
        return np.array(describe_ms) + np.array(self.search_ms)

    def median_query_ms(self, drive: Frames) -> float:
        """Median time to describe a query of the drive and to search."""
        return float(np.median(list(self._describe_ms[drive.folder].values())) + np.median(self.search_ms))

    @property
    def conditions(self) -> str:
        """Where the times were measured: processor, cores, threads of the network, device."""
        return f"{machine()}; {self._threads()}; device {self.device}"

    def _threads(self) -> str:
        if self.bundle.modality == "camera":
            return "ONNX Runtime, which chooses its number of threads"
        import torch

        return f"torch with {_counted(torch.get_num_threads(), 'thread')}"


def machine() -> str:
    """Name of the processor and the number of cores that this process may use."""
    return f"{_processor()}, {_counted(len(os.sched_getaffinity(0)), 'core')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()
