"""Evaluate by commands: pairs of runs, the picture, and options that do not go together."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames, write_index
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder


def evaluate(bundle: Path | None, *arguments: object) -> subprocess.CompletedProcess[str]:
    given = ["--bundle", str(bundle)] if bundle else []
    command = [sys.executable, "-m", "vpr_core", "evaluate", *given, *map(str, arguments)]
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
    assert lines[0].split()[:4] == ["method", "metric", "database", "queries"]
    cells = [[line.split()[0], line.split()[2]] for line in lines[1:15]]
    listed = [[method, name] for method in ("bundle", "scan_context") for name in "aabbcc"]
    assert cells == [*listed, ["bundle", "average"], ["scan_context", "average"]]
    assert "4 pairs without any query that has a true match are left out" in result.stdout
    assert "data:image/svg+xml" in picture.read_text()


def test_the_report_as_a_file(runs: list[Path], lidar_bundle: Path, tmp_path: Path) -> None:
    report, out = tmp_path / "report.html", tmp_path / "recall.json"
    options = ("--database", runs[0], "--queries", *runs[1:], "--report", report, "--out", out)
    result = evaluate(lidar_bundle, *options)
    assert result.returncode == 0, result.stderr
    rows = [(row["method"], row["queries"], row["direction"], row["recall_at_1"], row["pr_auc"])
            for row in json.loads(out.read_text())["by_direction"]]  # fmt: skip
    assert rows == [("bundle", "b", "same", 1.0, 1.0), ("scan_context", "b", "same", 1.0, 1.0)]
    header = ["method", "metric", "queries", "direction", "recall_at_1"]
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
    words = f"error: evaluate takes --database or --map with --queries, or --runs alone; given: {given}"
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


def cells(result: subprocess.CompletedProcess[str], method: str) -> list[list[str]]:
    """The cells, without the method's name, of its lines in the printed tables."""
    return [line.split()[1:] for line in result.stdout.splitlines() if line.split()[:1] == [method]]


def test_descriptors_and_lists_of_others_stand_in_the_same_tables(
    runs: list[Path], lidar_bundle: Path, tmp_path: Path
) -> None:
    """Ours, saved and read back under another name, have the same lines; lists of them lack what needs scores."""
    saved, lists, out, report = (tmp_path / name for name in ("own.npz", "lists.csv", "all.csv", "report.html"))
    drives = ("--database", runs[0], "--queries", runs[1], runs[2], "--metric", "both")
    first = evaluate(lidar_bundle, *drives, "--save_descriptors", saved)
    assert first.returncode == 0 and first.stdout.splitlines()[-1] == str(saved), first.stderr
    stamps = [line.split(",")[1] for line in (runs[0] / "frames.csv").read_text().splitlines()[1:]]
    lines = [f"{stamp},{stamp},{other}" for stamp, other in zip(stamps, stamps[1:] + stamps[:1], strict=True)]
    lists.write_text("query_stamp_ns,database_stamp_ns_1,database_stamp_ns_2\n" + "\n".join(lines) + "\n")
    both = ("--descriptors", f"theirs={saved}", "--ranked", lists)
    result = evaluate(lidar_bundle, *drives, *both, "--out", out, "--report", report)
    assert result.returncode == 0, result.stderr
    assert cells(result, "theirs") == cells(result, "bundle") == cells(first, "bundle")
    assert [line[:2] for line in cells(result, "bundle")[:4]] == [
        [metric, name] for metric in ("cosine", "euclidean") for name in "bc"
    ]
    assert cells(result, "lists")[0] == ["given", "b", "1.000", "-", "-", "1.000", "-", "-", "-", "-",
                                         str(len(stamps)), "0"]  # fmt: skip
    rows = list(csv.DictReader(out.open()))
    named = {(row["table"], row["method"], row["metric"], row["queries"]) for row in rows}
    assert ("rows", "theirs", "euclidean", "b") in named and ("by_direction", "theirs", "cosine", "b") in named
    alone = evaluate(None, *drives, "--ranked", lists, "--report", tmp_path / "lists.html")
    assert alone.returncode == 0 and cells(alone, "lists") == cells(result, "lists"), alone.stderr
    assert "no scores, so no curve" in (tmp_path / "lists.html").read_text()
    page = report.read_text()
    assert "theirs" in page and "AUROC" in page and "recall at 100 % precision" in page and "euclidean" in page


def test_a_file_alone_needs_no_bundle_and_runs_take_it_too(
    runs: list[Path], lidar_bundle: Path, tmp_path: Path
) -> None:
    saved, report = tmp_path / "own.npz", tmp_path / "report.html"
    drives = ("--runs", *runs[:2], "--metric", "both")
    first = evaluate(lidar_bundle, *drives, "--save_descriptors", saved)
    assert first.returncode == 0, first.stderr
    result = evaluate(None, *drives, "--descriptors", saved, "--report", report, "--pr", tmp_path / "pr.png")
    assert result.returncode == 0, result.stderr
    assert cells(result, "own") == cells(first, "bundle") and len(cells(result, "own")) == 4 + 2 + 2
    assert "Place recognition with own" in report.read_text() and (tmp_path / "pr.png").stat().st_size > 5000


def test_checkpoints_have_both_metrics_where_a_camera_bundle_has_one(
    bundle: Path, frames: Path, tmp_path: Path
) -> None:
    """The bundle is an export of this checkpoint, so by cosine they agree."""
    checkpoint, drives = bundle.parent / "checkpoint", ("--database", frames, "--queries", frames)
    result = evaluate(bundle, *drives, "--checkpoints", f"same={checkpoint}", "--metric", "both")
    assert result.returncode == 0, result.stderr
    found = [line[:1] + line[2:] for line in cells(result, "same")[:2]]
    assert [line[0] for line in found] == ["cosine", "euclidean"]
    assert [line[0] for line in cells(result, "bundle")] == ["cosine", "cosine"]  # once a table
    assert found[0] == cells(result, "bundle")[0][:1] + cells(result, "bundle")[0][2:]
    assert "bundle, thumbnail: descriptors of unit length" in result.stdout
    assert "--checkpoints takes the raw one" in result.stdout


def test_labels_of_another_class_table_are_refused(
    tmp_path: Path,
    make_drive: Callable[..., Path],
    toy_recipe: Callable[..., Recipe],
    capsys: pytest.CaptureFixture[str],
) -> None:
    drive = Frames.load(make_drive(tmp_path / "drive", range(4), 1, clouds=False))
    cv2.imwrite(str(drive.folder / "label.png"), np.zeros((48, 64), np.uint8))

    def say(table: str) -> None:
        card = {name: value for name, value in drive.card.items() if name != "schema"}
        frames = [replace(frame, label="label.png") for frame in drive.frames]
        write_index(drive.folder, frames, card | {"labels": {"table": table}})

    say("cityscapes_19")
    recipe = toy_recipe("labels", architecture="structvpr", dim=None, class_table="cityscapes_19", steps=0)
    checkpoint = train_encoder([drive.folder], tmp_path / "branch", recipe)
    command = ["evaluate", "--checkpoints", checkpoint, "--database", drive.folder, "--queries", drive.folder]
    main([*map(str, command)])
    assert "branch" in capsys.readouterr().out
    say("ade20k_150")
    with pytest.raises(SystemExit):
        main([*map(str, command)])
    assert f"labels of {drive.folder} are of class table ade20k_150, the network's of cityscapes_19" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nothing to evaluate: give --bundle, --checkpoints, --descriptors or --ranked"),
        (("--ranked", "x.csv", "--save_descriptors", "y.npz"), "writes those of a --bundle or of --checkpoints"),
        (("--ranked", "a/x.csv", "b/x.csv"), "two methods are called x"),
        (("--descriptors", "none.npz"), "none.npz does not exist"),
        (("--ranked", "none.csv"), "none.csv does not exist"),
        (("--ranked", "x.csv", "--report", "/none/r.html"), "--report /none/r.html: there is no folder /none"),
        (("--checkpoints", "none"), "none does not exist: expected a folder with checkpoint.json"),
    ],
)
def test_files_that_do_not_fit_are_one_line(frames: Path, options: tuple[str, ...], words: str) -> None:
    result = evaluate(None, "--database", frames, "--queries", frames, *options)
    assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr, result.stderr


def test_re_ranking_stands_beside_the_retrieval(bundle: Path, frames: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "recall.json", tmp_path / "report.html"
    options = ("--database", frames, "--queries", frames, "--rerank", 5, "--features", "orb", "--radius_m", 1)
    result = evaluate(bundle, *options, "--out", out, "--report", report)
    assert result.returncode == 0, result.stderr
    written = json.loads(out.read_text())
    assert [row["method"] for row in written["rows"]] == ["bundle", "thumbnail", "bundle+orb"]
    (row,) = written["reranking"]
    assert (row["features"], row["candidates"], row["recall_at_1"], row["recall_at_1_reranked"]) == ("orb", 5, 1.0, 1.0)
    assert min(row[name] for name in ("retrieval_ms", "features_ms", "rerank_ms", "features_kib")) > 0
    assert [line[:2] for line in cells(result, "bundle")][-1] == ["orb", "5"]
    assert "bundle+orb" in report.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--features", "orb"), "give --rerank too, such as --rerank 100"),
        (("--rerank", "5", "--metric", "euclidean"), "find by cosine: give one, and --metric cosine"),
        (("--rerank", "5", "--features", "surf"), "features 'surf' are not known"),
    ],
)
def test_re_ranking_that_cannot_be_is_one_line(
    bundle: Path, frames: Path, options: tuple[str, ...], words: str
) -> None:
    result = evaluate(bundle, "--database", frames, "--queries", frames, *options)
    assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr, result.stderr
