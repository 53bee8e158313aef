"""A kill in the middle and a second start give the folder of one run, without doing again what was done."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpr_core.data.ingest import ingest
from vpr_core.errors import FramesError

KILLED_IN = """
import os, signal, sys
from vpr_core.data.ingest import ingest

class Bar:
    def __init__(self, name):
        self.left = int(sys.argv[4]) if name == sys.argv[3] else -1
    def update(self, count):
        self.left -= count
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def close(self):
        pass

ingest(sys.argv[1], sys.argv[2], session="s", keyframe_m=1.0, progress=lambda name, total: Bar(name))
"""
WriteDrive = Callable[..., Path]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, write_drive: WriteDrive) -> Path:
    """30 frames of camera, LiDAR and labels; in three of them the camera sees nothing."""
    return write_drive(tmp_path_factory.mktemp("drive") / "bag", 30, labels=True, dark=(2, 14, 28))


@pytest.fixture(scope="module")
def whole(bag: Path) -> dict[str, bytes]:
    return contents(ingest(bag, bag.parent / "whole", session="s", keyframe_m=1.0))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_in(bag: Path, out: Path, step: str, after: int) -> Path:
    command = [sys.executable, "-c", KILLED_IN, str(bag), str(out), step, str(after)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert not out.exists()
    return out.parent / f".{out.name}.partial"


class Counting:
    """Progress that remembers how many messages each pass took."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    def __call__(self, name: str, total: int) -> Any:
        self.taken[name], counting = 0, self

        class Bar:
            def update(self, count: int) -> None:
                counting.taken[name] += count

            def close(self) -> None:
                return

        return Bar()


@pytest.mark.parametrize(("step", "after"), [("scan", 40), ("extract", 1), ("extract", 45), ("extract", 90)])
def test_a_killed_run_goes_on(step: str, after: int, bag: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    partial = kill_in(bag, tmp_path / "frames", step, after)
    done = {path: path.stat().st_mtime_ns for path in partial.rglob("*.*") if path.suffix in (".jpg", ".npy", ".png")}
    assert len(done) == (0 if step == "scan" else after)
    counting = Counting()
    folder = ingest(bag, tmp_path / "frames", session="s", keyframe_m=1.0, progress=counting)
    assert contents(folder) == whole
    for path, written_ns in done.items():
        assert (folder / path.relative_to(partial)).stat().st_mtime_ns == written_ns, path
    assert counting.taken["extract"] == (90 if step == "scan" else 90 - after + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_half_a_file_and_half_a_line_are_done_again(bag: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    partial = kill_in(bag, tmp_path / "frames", "extract", 45)
    journal = partial / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    newest = max(partial.rglob("*.jpg"), key=lambda path: path.name)
    newest.write_bytes(newest.read_bytes()[:100])
    assert contents(ingest(bag, tmp_path / "frames", session="s", keyframe_m=1.0)) == whole


def test_a_run_with_other_options_begins_anew(bag: Path, tmp_path: Path) -> None:
    kill_in(bag, tmp_path / "frames", "extract", 45)
    found = contents(ingest(bag, tmp_path / "frames", session="s", keyframe_m=5.0))
    assert found == contents(ingest(bag, tmp_path / "other", session="s", keyframe_m=5.0))


def test_an_interrupt_is_gone_on_from_and_an_error_leaves_nothing(
    bag: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    class Interrupted(Counting):
        def __call__(self, name: str, total: int) -> Any:
            if name == "extract":
                raise KeyboardInterrupt
            return super().__call__(name, total)

    with pytest.raises(KeyboardInterrupt):
        ingest(bag, tmp_path / "frames", session="s", keyframe_m=1.0, progress=Interrupted())
    assert contents(ingest(bag, tmp_path / "frames", session="s", keyframe_m=1.0)) == whole
    with pytest.raises(FramesError, match="gave no frame"):
        ingest(bag, tmp_path / "none", tolerance_s=0.0)
    assert not list(tmp_path.glob(".*"))
