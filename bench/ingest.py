"""Frames made of a bag, beside decoding the same messages bare; and drives recorded in the town."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from rosbags.highlevel import AnyReader

from vpr_core.data.images import image_from_message, label_from_message
from vpr_core.data.ingest import ingest
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.synthetic.drive import record_drive


def run(quick: bool) -> list[dict[str, object]]:
    length_m = 200.0 if quick else 800.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        bag = record_drive(folder / "bag", town=1, condition="noon", route="loop", seed=1, max_length_m=length_m)
        recorded_s = time.perf_counter() - started
        megabytes = sum(path.stat().st_size for path in bag.iterdir()) / 1e6
        bare_s, ingest_s, images = [], [], 0
        for turn in range(5):
            seconds, images = _decode_bare(bag)
            bare_s.append(seconds)
            started = time.perf_counter()
            ingest(bag, folder / f"frames{turn}", pose_topic="/ground_truth/odom", keyframe_m=0.0)
            ingest_s.append(time.perf_counter() - started)
        bare, made = statistics.median(bare_s), statistics.median(ingest_s)
    return [
        {"what": "town: record", "s": round(recorded_s, 2), "per_s": f"{images / recorded_s:.1f} frames", "ratio": ""},
        {"what": "bag: decode bare", "s": round(bare, 2), "per_s": f"{megabytes / bare:.0f} MB", "ratio": 1.0},
        {"what": "bag: ingest", "s": round(made, 2), "per_s": f"{megabytes / made:.0f} MB",
         "ratio": round(bare / made, 2)},
    ]  # fmt: skip


def _decode_bare(bag: Path) -> tuple[float, int]:
    started, images = time.perf_counter(), 0
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if "label" in connection.topic:
                label_from_message(message)
            elif connection.msgtype.endswith("CompressedImage"):
                image_from_message(message)
                images += 1
            elif connection.msgtype.endswith("PointCloud2"):
                cloud_from_message(message)
    return time.perf_counter() - started, images
