"""The command line: help that teaches, errors as one line, and nothing lost when it fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vpr_core.data.ingest import ingest
from vpr_core.retrieval.place_map import PlaceMap

COMMANDS = ("synth", "ingest", "split", "train", "export", "map", "query", "evaluate", "demo")


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vpr_core", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]


def error_of(*arguments: object, **options: object) -> str:
    """The one line that a failing command prints."""
    result = run(*arguments, **options)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("vpr-distill: error: ")
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    overall, own = run("--help"), run(command, "--help")
    assert own.returncode == 0 and overall.returncode == 0
    assert f"  {command} " in overall.stdout
    assert "--out" in own.stdout


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    result = run("map", "--bundel", tmp_path)
    assert result.returncode == 2 and "--bundel" in result.stderr and "Traceback" not in result.stderr
    (tmp_path / "recipe.yaml").write_text("stepz: 3\n")
    result = run("train", "--config", tmp_path / "recipe.yaml", "--frames", "a", "--out", "b")
    assert result.returncode == 2 and "stepz" in result.stderr and "Traceback" not in result.stderr


def test_the_whole_chain_by_commands(tmp_path: Path, bag: Path) -> None:
    for arguments in (
        ("ingest", "--bag", bag, "--out", tmp_path / "frames", "--pose_topic", "/ground_truth/odom"),
        ("train", "--frames", tmp_path / "frames", "--out", tmp_path / "checkpoint", "--steps", 2, "--batch_size", 8),
        ("export", "--checkpoint", tmp_path / "checkpoint", "--frames", tmp_path / "frames",
         "--out", tmp_path / "bundle"),
        ("map", "--bundle", tmp_path / "bundle", "--frames", tmp_path / "frames", "--out", tmp_path / "map"),
        ("query", "--bundle", tmp_path / "bundle", "--map", tmp_path / "map", "--bag", bag,
         "--out", tmp_path / "matches.jsonl"),
        ("evaluate", "--bundle", tmp_path / "bundle", "--database", tmp_path / "frames",
         "--queries", tmp_path / "frames", "--out", tmp_path / "recall.json"),
    ):  # fmt: skip
        result = run(*arguments)
        assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "recall.json").read_text())["rows"]
    assert {row["method"]: row["recall_at_1"] for row in rows} == {"bundle": 1.0, "thumbnail": 1.0}
    records = [json.loads(line) for line in (tmp_path / "matches.jsonl").read_text().splitlines()]
    assert len(records) > 10 and all(record["matches"][0]["position"] for record in records)


def test_bad_input_ends_in_one_line(tmp_path: Path, bag: Path, bundle: Path, other_map: Path, frames: Path) -> None:
    missing = tmp_path / "nothing"
    assert "no bag at" in error_of("ingest", "--bag", missing, "--out", tmp_path / "f")
    assert "has several pose topics: choose one" in error_of("ingest", "--bag", bag, "--out", tmp_path / "f")
    assert "has no topic /front" in error_of("ingest", "--bag", bag, "--out", tmp_path / "f", "--image_topic", "/front")
    assert "cannot be compared" in error_of("query", "--bundle", bundle, "--map", other_map, "--bag", bag)
    assert "does not exist" in error_of("map", "--bundle", missing, "--frames", frames, "--out", tmp_path / "m")
    assert "does not exist" in error_of("train", "--frames", missing, "--out", tmp_path / "c")
    assert "known" in error_of("synth", "--out", tmp_path / "b", "--condition", "plague")
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from vpr_core.cli import main
main(sys.argv[2:])
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["ingest", "map", "export", "synth"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, bag: Path, bundle: Path, frames: Path, command: str
) -> None:
    out, limit = tmp_path / "out", 4000
    arguments = {
        "ingest": ("--bag", bag, "--pose_topic", "/ground_truth/odom"),
        "map": ("--bundle", bundle, "--frames", frames),
        "export": ("--checkpoint", bundle.parent / "checkpoint", "--frames", frames),
        "synth": ("--max_length_m", 20),
    }[command]
    code = [sys.executable, "-c", LIMITED, str(limit), command, *map(str, arguments), "--out", str(out)]
    older: dict[str, bytes] = {}
    for _ in range(2):
        result = subprocess.run(code, capture_output=True, text=True, timeout=300)
        assert result.returncode == 1, result.stderr
        assert "File too large" in result.stderr.strip().splitlines()[-1]
        assert "Traceback" not in result.stderr
        assert contents(tmp_path) == {f"out/{name}": data for name, data in older.items()}
        if not older:  # and again over something that is there
            assert run(command, *arguments, "--out", out).returncode == 0
            code += ["--overwrite"] if command in ("ingest", "synth") else []
            older = contents(out)


def test_a_kill_during_map_leaves_the_old_map_or_the_new(tmp_path: Path, bag: Path, bundle: Path, frames: Path) -> None:
    sparse = ingest(bag, tmp_path / "sparse", pose_topic="/ground_truth/odom", keyframe_m=8.0)
    hashes, duration_s = set(), 0.0
    for drive in (sparse, frames):
        started = time.monotonic()
        assert run("map", "--bundle", bundle, "--frames", drive, "--out", tmp_path / "map").returncode == 0
        duration_s = time.monotonic() - started
        hashes.add(PlaceMap.load(tmp_path / "map").hash)
    assert len(hashes) == 2
    for number, share in enumerate((0.3, 0.6, 0.8, 0.9, 0.95, 1.0)):
        arguments = ("map", "--bundle", bundle, "--frames", (sparse, frames)[number % 2], "--out", tmp_path / "map")
        process = subprocess.Popen(
            [sys.executable, "-m", "vpr_core", *map(str, arguments)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(duration_s * share)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert PlaceMap.load(tmp_path / "map").hash in hashes


def test_interrupting_is_quiet(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vpr_core", "synth", "--out", str(tmp_path / "bag")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_is_told_before_the_work(tmp_path: Path, bag: Path) -> None:
    """None of these reads its input, which is not there."""
    absent, a_file = tmp_path / "absent", tmp_path / "file"
    a_file.write_text("")
    given = ("--bundle", absent, "--frames", absent)
    assert f"{a_file} is a file, expected a folder" in error_of("map", *given, "--out", a_file)
    assert f"{a_file} is a file, expected a folder" in error_of("train", "--frames", absent, "--out", a_file)
    given = ("--bundle", absent, "--map", absent, "--bag", absent)
    assert f"{tmp_path} is a folder, expected the name of a file" in error_of("query", *given, "--out", tmp_path)
    assert "there is no folder" in error_of("query", *given, "--out", absent / "matches.jsonl")
    result = run("synth", "--contact_sheet", "town.gif")
    assert result.returncode == 2 and "town.gif is expected to end in .png or .jpg" in result.stderr


def test_a_folder_of_another_kind_is_named(tmp_path: Path, bag: Path) -> None:
    options = ("--bundle", tmp_path / "bundle", "--out", tmp_path / "map")
    assert "is a bag, which `vpr-distill ingest` makes frames of" in error_of("map", "--frames", bag, *options)
    ingest(bag, tmp_path / "drives" / "monday", pose_topic="/ground_truth/odom")
    assert "is the folder above monday" in error_of("map", "--frames", tmp_path / "drives", *options)
    beside = error_of("ingest", "--bag", bag, "--out", tmp_path / "drives")
    assert f"holds frames of monday: for a drive beside them say --out {tmp_path / 'drives' / bag.name}" in beside


def test_a_map_with_features_is_queried_with_re_ranking(
    tmp_path: Path, bag: Path, bundle: Path, frames: Path, place_map: Path
) -> None:
    out, folder = tmp_path / "matches.jsonl", tmp_path / "map"
    made = run("map", "--bundle", bundle, "--frames", frames, "--out", folder, "--features", "orb")
    assert made.returncode == 0, made.stderr
    assert re.search(r"features.bin: orb, 1\d\.\d KiB a place, 0\.\d MiB", made.stdout), made.stdout
    result = run("query", "--bundle", bundle, "--map", folder, "--bag", bag, "--rerank", 4, "--out", out)
    assert result.returncode == 0, result.stderr
    for line in out.read_text().splitlines():
        inliers = [match.get("inliers") for match in json.loads(line)["matches"]]
        assert inliers[4:] == [None] and inliers[:4] == sorted(inliers[:4], reverse=True)
    asked = ("query", "--bundle", bundle, "--map", place_map, "--bag", bag)
    assert "has no local features to re-rank with" in error_of(*asked, "--rerank", 4)
    error = error_of("map", "--bundle", bundle, "--frames", frames, "--out", tmp_path / "none", "--features", "surf")
    assert "features 'surf' are not known" in error and not (tmp_path / "none").exists()
