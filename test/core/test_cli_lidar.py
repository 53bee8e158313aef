"""Map, query and evaluate by commands with a LiDAR bundle, on a drive without a camera."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

from vpr_core.cli import main
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.query import odometry_of
from vpr_core.types import Pose


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


def test_candidates_are_checked_where_the_map_has_clouds(
    tmp_path: Path, bag: Path, frames: Path, lidar_bundle: Path, lidar_map: Path
) -> None:
    """With the checks a filter believes sooner, and where nothing is checked there is nothing of it in the records."""
    folder, out = Path(shutil.copytree(lidar_map, tmp_path / "map")), tmp_path / "matches.jsonl"
    store_clouds(folder, frames, CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05))
    given = "--bundle", str(lidar_bundle), "--map", str(folder)
    main(["fit-filter", *given, "--frames", str(frames)])
    query = ["query", *given, "--bag", str(bag), "--out", str(out), "--filter", "true", "--pose_topic", "/odom"]
    truth = odometry_of(bag, "lidar", None, "/ground_truth/odom")
    of_each = []
    for options in ((), ("--verify", "false")):
        main([*query, *options])
        of_each.append([json.loads(line) for line in out.read_text().splitlines()])
    checked, unchecked = of_each
    verified = [record["verified"] for record in checked if record["verified"]]
    assert len(verified) >= 15
    for record in verified:
        there = truth.at(record["stamp_ns"])
        assert record["frame_id"] == "map" and len(record["covariance"]) == 36
        if isinstance(there, Pose):
            assert math.dist(record["position"], there.position_m) < 0.8
    assert {record["stamp_ns"] - 50_000_000 for record in verified} <= {record["stamp_ns"] for record in checked}
    assert not any("verified" in record for record in unchecked)
    assert checked[0]["filtered"]["probability"] > unchecked[0]["filtered"]["probability"]


def test_errors_are_one_line(tmp_path: Path, bag: Path, lidar_bundle: Path, lidar_map: Path, place_map: Path) -> None:
    for words, arguments in (
        ("is a camera map, the bundle is a lidar bundle", ("--map", place_map)),
        ("has no topic /front", ("--map", lidar_map, "--cloud_topic", "/front")),
        ("expected sensor_msgs/msg/PointCloud2", ("--map", lidar_map, "--cloud_topic", "/odom")),
        ("has no clouds to verify with", ("--map", lidar_map, "--verify", "true")),
    ):
        result = run("query", "--bundle", lidar_bundle, "--bag", bag, *arguments)
        assert result.returncode == 1 and "Traceback" not in result.stderr
        assert words in result.stderr.strip().splitlines()[-1], result.stderr
