"""Map, query and evaluate by commands with a LiDAR bundle, on a drive without a camera."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vpr_core", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_drive_without_a_camera_by_commands(tmp_path: Path, bag: Path, lidar_bundle: Path) -> None:
    frames, place_map, matches = tmp_path / "frames", tmp_path / "map", tmp_path / "matches.jsonl"
    for arguments in (
        ("ingest", "--bag", bag, "--out", frames, "--pose_topic", "/ground_truth/odom", "--image_topic", "none"),
        ("map", "--bundle", lidar_bundle, "--frames", frames, "--out", place_map),
        ("query", "--bundle", lidar_bundle, "--map", place_map, "--bag", bag, "--cloud_topic", "/lidar/points",
         "--image_topic", "/not/read", "--out", matches),
        ("evaluate", "--bundle", lidar_bundle, "--database", frames, "--queries", frames,
         "--out", tmp_path / "recall.json"),
    ):  # fmt: skip
        result = run(*arguments)
        assert result.returncode == 0, result.stderr
        if arguments[0] == "query":
            assert f"{matches}: 21 clouds, " in result.stdout
    records = [json.loads(line) for line in matches.read_text().splitlines()]
    assert all(record["matches"][0]["position"] for record in records)
    assert sum(record["matches"][0]["similarity"] > 0.9999 for record in records) >= 10
    rows = json.loads((tmp_path / "recall.json").read_text())["rows"]
    assert [(row["method"], row["recall_at_1"]) for row in rows] == [("bundle", 1.0), ("scan_context", 1.0)]


def test_errors_are_one_line(tmp_path: Path, bag: Path, lidar_bundle: Path, lidar_map: Path, place_map: Path) -> None:
    for words, arguments in (
        ("is a camera map, the bundle is a lidar bundle", ("--map", place_map)),
        ("has no topic /front", ("--map", lidar_map, "--cloud_topic", "/front")),
        ("expected sensor_msgs/msg/PointCloud2", ("--map", lidar_map, "--cloud_topic", "/odom")),
    ):
        result = run("query", "--bundle", lidar_bundle, "--bag", bag, *arguments)
        assert result.returncode == 1 and "Traceback" not in result.stderr
        assert words in result.stderr.strip().splitlines()[-1], result.stderr
