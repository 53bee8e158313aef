"""Many bags in one command: a folder each, what failed is told, what was done is not done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import Options, ingest
from vpr_core.data.ingest_many import ingest_many, same_drives
from vpr_core.errors import BagError

WriteDrive = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_broken_bag_costs_only_itself_and_what_is_done_is_skipped(
    tmp_path: Path, write_drive: WriteDrive, capsys: pytest.CaptureFixture[str]
) -> None:
    good, other = write_drive(tmp_path / "good"), write_drive(tmp_path / "other", first=40)
    broken = write_drive(tmp_path / "broken", first=80)
    (file,) = broken.glob("*.mcap")
    whole = file.read_bytes()
    file.write_bytes(whole[:500])
    command = ["ingest", "--bag", str(good), str(broken), str(other), "--out", str(tmp_path / "frames")]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 1
    told = capsys.readouterr()
    assert f"{tmp_path}/frames/good: 3 frames" in told.out and f"{tmp_path}/frames/other: 3 frames" in told.out
    assert f"{tmp_path}/frames/broken: failed: " in told.out and "1 of 3 bags gave no frames" in told.err
    assert contents(tmp_path / "frames/good") == contents(ingest(good, tmp_path / "alone/good"))
    written_ns = (tmp_path / "frames/good/card.json").stat().st_mtime_ns
    file.write_bytes(whole)
    main(command)
    told = capsys.readouterr()
    assert f"{tmp_path}/frames/good: done before, 3 frames" in told.out and "/broken: 3 frames" in told.out
    assert (tmp_path / "frames/good/card.json").stat().st_mtime_ns == written_ns
    with pytest.raises(SystemExit):
        main([*command, "--keyframe_m", "1.0"])
    assert "exists already" in capsys.readouterr().out
    main([*command, "--keyframe_m", "1.0", "--overwrite"])
    assert len(Frames.load(tmp_path / "frames/good")) == 6


def test_bags_of_one_name_and_a_session_for_several_are_refused(tmp_path: Path, write_drive: WriteDrive) -> None:
    bags = [write_drive(tmp_path / folder / "drive") for folder in "ab"]
    with pytest.raises(BagError, match="a/drive and .*b/drive would both be written to"):
        ingest_many(bags, tmp_path / "frames")
    with pytest.raises(BagError, match="--session names one drive"):
        ingest_many([bags[0], bags[1].rename(tmp_path / "other")], tmp_path / "frames", Options(session="s"))


def test_two_bags_of_one_drive_are_named(tmp_path: Path, write_drive: WriteDrive) -> None:
    """The second holds the second half of the first; the third is another drive."""
    folders = [
        ingest(write_drive(tmp_path / f"bag{number}", count, first), tmp_path / f"frames{number}")
        for number, (count, first) in enumerate(((12, 0), (6, 6), (6, 100)))
    ]
    (warning,) = same_drives(folders)
    assert "frames0 and " in warning and "frames1 hold the same drive: 3 of 3 frames" in warning


def test_many_bags_that_were_killed_go_on(tmp_path: Path, write_drive: WriteDrive) -> None:
    """The whole process group is killed once the first folder stands."""
    bags = [write_drive(tmp_path / name, 60, first=100 * number) for number, name in enumerate("abc")]
    expected = {bag.name: contents(ingest(bag, tmp_path / "alone" / bag.name)) for bag in bags}
    command = [sys.executable, "-m", "vpr_core", "ingest", "--workers", "1", "--out", str(tmp_path / "frames"), "--bag"]
    running = subprocess.Popen([*command, *map(str, bags)], start_new_session=True, stderr=subprocess.DEVNULL)
    while not (tmp_path / "frames/a/card.json").exists():
        assert running.poll() is None
        time.sleep(0.001)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    again = subprocess.run([*command, *map(str, bags)], capture_output=True, text=True, check=True)
    assert "frames/a: done before, " in again.stdout
    assert {bag.name: contents(tmp_path / "frames" / bag.name) for bag in bags} == expected
    assert not list((tmp_path / "frames").glob(".*"))
