"""Memory does not grow with the bag."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.bag_writer import BagWriter

START_NS = 1_700_000_000_000_000_000
# The kernel's figure of this program alone; getrusage would start with that of the tests which forked it.
PEAK_MB = """
import pathlib, sys
from vpr_core.data.ingest import ingest
ingest(sys.argv[1], sys.argv[2], keyframe_s=0.0)
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def test_a_large_bag_takes_no_more_memory_than_a_small_one(tmp_path: Path, ros: Any, figures: list[str]) -> None:
    points = np.random.default_rng(0).normal(size=(65536, 4)).astype(np.float32)
    peaks_mb = []
    for name, clouds in (("small", 30), ("large", 150)):
        with BagWriter(tmp_path / name) as bag:
            for index in range(clouds):
                bag.image_jpeg("/camera", START_NS + index * 10**8, "c", ros.jpeg(index % 3))
                bag.cloud("/points", START_NS + index * 10**8, "lidar", points)
        command = [sys.executable, "-c", PEAK_MB, str(tmp_path / name), str(tmp_path / f"{name}_frames")]
        peaks_mb.append(float(subprocess.run(command, capture_output=True, check=True).stdout))
    figures.append(f"ingest of 31 MB and of 157 MB: at most {peaks_mb[0]:.0f} and {peaks_mb[1]:.0f} MB in memory")
    assert peaks_mb[1] < peaks_mb[0] + 25
