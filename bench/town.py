"""Drives recorded in the town on one core, with all sensors: pictures of 320x240, labels, sweeps of 32x1024."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import cv2

from vpr_core.synthetic.conditions import CONDITIONS
from vpr_core.synthetic.drive import record_drive
from vpr_core.synthetic.town import Town


def run(quick: bool) -> list[dict[str, object]]:
    threads, town = cv2.getNumThreads(), Town(1)
    cv2.setNumThreads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for condition in CONDITIONS:
            everything = _frame_ms(Path(name), town, condition, quick)
            plain = _frame_ms(Path(name), town, condition, quick, labels=False, lidar_columns=512)
            rows.append(
                {
                    "condition": condition,
                    "ms": round(everything, 1),
                    "frames_per_s": round(1e3 / everything, 1),
                    "without labels, 32x512: ms": round(plain, 1),
                    "ratio": round(everything / plain, 2),
                }
            )
    cv2.setNumThreads(threads)
    return rows


def _frame_ms(folder: Path, town: Town, condition: str, quick: bool, **options: object) -> float:
    """Median time [ms] from one picture to the next, with all that lies between them in the bag."""
    ended: list[float] = []
    record_drive(
        folder / "bag",
        town=town,
        condition=condition,
        route="loop",
        seed=1,
        max_length_m=60.0 if quick else 300.0,
        overwrite=True,
        progress=lambda done, total: ended.append(time.perf_counter()),
        **options,  # type: ignore[arg-type]
    )
    return statistics.median(after - before for before, after in zip(ended, ended[1:], strict=False)) * 1e3
