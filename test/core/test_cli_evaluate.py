"""Evaluate by commands: pairs of runs, the picture, and options that do not go together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def evaluate(bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vpr_core", "evaluate", "--bundle", str(bundle), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def runs(frames: Path, tmp_path: Path) -> list[Path]:
    """The same drive three times, the last of them moved off the others."""
    folders = [Path(shutil.copytree(frames, tmp_path / name)) for name in "abc"]
    for folder in folders:
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, "session": folder.name}))
    lines = [line.split(",") for line in (folders[2] / "frames.csv").read_text().splitlines()]
    moved = [lines[0], *([*row[:5], str(float(row[5]) + 5000), *row[6:]] for row in lines[1:])]
    (folders[2] / "frames.csv").write_text("".join(",".join(row) + "\n" for row in moved))
    return folders


def test_pairs_of_runs_and_their_average(runs: list[Path], lidar_bundle: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "recall.json", tmp_path / "pr.html"
    result = evaluate(lidar_bundle, "--runs", *runs, "--out", out, "--pr", picture)
    assert result.returncode == 0, result.stderr
    written = json.loads(out.read_text())
    rows = [(row["method"], row["database"], row["queries"], row["recall_at_1"]) for row in written["rows"]]
    pairs = {("a", "b"): 1.0, ("a", "c"): None, ("b", "a"): 1.0, ("b", "c"): None, ("c", "a"): None, ("c", "b"): None}
    expected = [(*pair, value) for pair, value in pairs.items()]
    assert rows == [(method, *pair) for method in ("bundle", "scan_context") for pair in expected]
    averages = [(row["method"], row["recall_at_1"], row["pairs"], row["pairs_left_out"]) for row in written["averages"]]
    assert averages == [("bundle", 1.0, 2, 4), ("scan_context", 1.0, 2, 4)]
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["method", "database", "queries", "recall_at_1"]
    cells = [line.split()[:2] for line in lines[1:15]]
    listed = [[method, name] for method in ("bundle", "scan_context") for name in "aabbcc"]
    assert cells == [*listed, ["bundle", "average"], ["scan_context", "average"]]
    assert "4 pairs without any query that has a true match are left out" in result.stdout
    assert "data:image/svg+xml" in picture.read_text()


def test_the_report_as_a_file(runs: list[Path], lidar_bundle: Path, tmp_path: Path) -> None:
    report, out = tmp_path / "report.html", tmp_path / "recall.json"
    options = ("--database", runs[0], "--queries", *runs[1:], "--report", report, "--out", out)
    result = evaluate(lidar_bundle, *options)
    assert result.returncode == 0, result.stderr
    rows = {(row["method"], row["queries"]): row for row in json.loads(out.read_text())["by_direction"]}
    assert rows["bundle", "b"]["same"] == 1.0 and rows["bundle", "b"]["opposite"] is None
    assert rows["bundle", "c"]["same_queries"] == 0 and len(rows) == 4
    header = ["method", "queries", "same", "same_queries", "across"]
    assert header in [line.split()[:5] for line in result.stdout.splitlines()]
    assert result.stdout.splitlines()[-1] == str(report)
    page, frames = report.read_text(), len((runs[0] / "frames.csv").read_text().splitlines()) - 1
    assert f"{2 * frames} clouds of 2 query drives were looked up among the {frames} places of a." in page
    assert f"0 right, 0 wrong, {frames} without a place in the map" in page
    assert f"{frames} queries without any place within that distance are skipped" in page
    assert page.count("<svg") == 7  # two maps, two curves, recall by drive and direction, latency


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ((), "none"),
        (("--database", "d"), "--database"),
        (("--queries", "q"), "--queries"),
        (("--database", "d", "--runs", "a", "b"), "--database and --runs"),
        (("--database", "d", "--queries", "q", "--runs", "a"), "--database and --queries and --runs"),
    ],
)
def test_one_way_of_evaluation_at_a_time(lidar_bundle: Path, options: tuple[str, ...], given: str) -> None:
    result = evaluate(lidar_bundle, *options)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    words = f"error: evaluate takes --database with --queries, or --runs alone; given: {given}"
    assert result.stderr.strip().endswith(words), result.stderr


def test_errors_are_one_line(lidar_bundle: Path, frames: Path) -> None:
    result = evaluate(lidar_bundle, "--runs", frames)
    assert result.returncode == 1 and "pairs of runs need two or more different frames folders" in result.stderr
    result = evaluate(lidar_bundle, "--runs", frames, frames, "--pr", "pr.bmp")
    assert (
        result.returncode == 2 and "end in .svg or .png or .html" in result.stderr and "Traceback" not in result.stderr
    )
    result = evaluate(lidar_bundle, "--runs", frames, frames, "--report", "report.pdf")
    assert result.returncode == 2 and "html" in result.stderr and "Traceback" not in result.stderr
