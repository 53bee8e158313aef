"""The demo's report, of a drive looked up in itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.evaluation.evaluate import evaluate, thumbnail_describer
from vpr_core.experiments.demo_report import Results, write_demo_report


def test_the_report_compares_methods_and_shows_each_student(
    frames: Path, bundle: Path, lidar_bundle: Path, tmp_path: Path
) -> None:
    drive = Frames.load(frames)
    by_image = evaluate("thumbnail", thumbnail_describer(), drive, [drive, drive])
    in_turn = iter(
        np.eye(len(drive), dtype=np.float32)[order] for order in (slice(None), slice(None), slice(None, None, -1))
    )
    by_order = evaluate("by order", lambda _: next(in_turn), drive, [drive, drive])
    evaluations = {
        ("fused", "teacher"): by_image,
        ("camera", "student distilled"): by_image,
        ("camera", "thumbnail"): by_order,
        ("lidar", "student distilled"): by_order,
        ("lidar", "scan context"): by_image,
    }
    table = [
        {"modality": modality, "method": method, "condition": condition, "recall": evaluation.result.at[1]}
        for (modality, method), found in evaluations.items()
        for condition, evaluation in zip(("noon", "dusk"), found, strict=True)
    ]
    records = {"camera": [{"processing_ms": value} for value in (4.0, 5.0, 6.0)], "lidar": [{"processing_ms": None}]}
    live = [{"modality": "camera", "hit_rate": 0.75}]
    report = write_demo_report(
        tmp_path,
        Results(evaluations, table, {"camera": bundle, "lidar": lidar_bundle}, live, records, {"drives": 1.5}),
    )
    page = report.read_text()
    for words in ("Recall@1 by condition: lidar", "Map and matches: camera", "Wrong matches: lidar", "0.750",
                  "Right matches: camera", "Recall by drive, direction and distance: camera", "Live latency",
                  "Model: lidar", "camera: median 5.0 ms"):  # fmt: skip
        assert words in page, words
    assert "lidar: median" not in page  # no time was recorded
    assert (tmp_path / "overview.jpg").read_bytes()[:2] == b"\xff\xd8"
