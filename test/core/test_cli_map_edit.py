"""`vpr-distill map-edit`, and what `evaluate --map` says of a map before and after."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.files import _exchange
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

# Edits a map, and dies by SIGKILL where the edited one is about to take its place, or has just done so.
DYING = """
import os, signal, sys
from vpr_core import files
from vpr_core.cli import main
folder, event, ending = sys.argv[1:4]
if event == "os.rename":
    files._exchange = lambda *_: False  # as on a file system that cannot
swap_in, ready = files._swap_in, []
def swap(*folders):
    ready.append(1)
    swap_in(*folders)
files._swap_in = swap
def kill(what, about):
    if ready and what == event and str(about[0]).endswith(ending):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
main(["map-edit", "--map", folder, "--max_places", "3"])
"""
SHIPPED = Path(__file__).parents[2] / "bundles" / "town_camera"


@pytest.fixture(scope="module")
def noon_map(drives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noon") / "map"
    build_map(SHIPPED, drives["noon"], folder)
    return folder


def edit(place_map: Path, *options: object) -> None:
    main(["map-edit", "--map", str(place_map), *map(str, options)])


def recall_at_1(place_map: Path, queries: Path, out: Path) -> float:
    main(["evaluate", "--bundle", str(SHIPPED), "--map", str(place_map), "--queries", str(queries),
          "--out", str(out)])  # fmt: skip
    (row,) = json.loads(out.read_text())["rows"]
    return float(row["recall_at_1"])


def test_half_of_the_places_recognise_nearly_as_much(
    noon_map: Path, drives: dict[str, Path], tmp_path: Path, figures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(PlaceMap.load(noon_map))
    edit(noon_map, "--max_places", count // 2, "--out", tmp_path / "half")
    shown = capsys.readouterr().out
    assert f"{count} places" in shown and f"{count // 2} places" in shown
    before, after = (recall_at_1(folder, drives["night"], tmp_path / "recall.json")
                     for folder in (noon_map, tmp_path / "half"))  # fmt: skip
    figures.append(f"R@1 at night: {before:.3f} with {count} places, {after:.3f} with {count // 2}")
    assert before > 0.8 and after > before - 0.09


def test_sessions_come_and_go(
    noon_map: Path, drives: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(noon_map, tmp_path / "map"))
    edit(folder, "--add", drives["night"], "--bundle", SHIPPED)
    capsys.readouterr()
    edit(folder)
    listed = capsys.readouterr().out
    assert "night  " in listed and "noon  " in listed and "first_utc" in listed
    edit(folder, "--remove", "noon", "--out", tmp_path / "night")
    assert {place.session for place in PlaceMap.load(tmp_path / "night").places} == {"night"}
    edit(tmp_path / "night", "--merge", noon_map)
    assert len(PlaceMap.load(tmp_path / "night")) == len(PlaceMap.load(folder))
    edit(folder, "--budget_mib", 0.05)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert 0.04 * 2**20 < size <= 0.05 * 2**20
    (told,) = re.findall(r"([0-9.]+) MiB of the 0.05 that were given", capsys.readouterr().out)
    assert float(told) == pytest.approx(size / 2**20, abs=0.008), "as large as on disk, but for rounding up of headers"
    edit(folder, "--budget_mib", 0.05)
    assert "small enough, nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--remove", "noon", "--max_places", "5"), "one edit at a time: give --remove or --max_places"),
        (("--add", "frames"), "--add takes the --bundle"),
        (("--bundle", "bundle"), "--bundle is for --add alone"),
        (("--out", "elsewhere"), "--out is where an edited map goes"),
        (("--merge", "nothing"), "nothing does not exist: expected a folder with map.json"),
        (("--budget_mib", "0.0001"), "do not hold one place"),
    ],
)
def test_what_cannot_be_done_is_said(
    noon_map: Path, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        edit(noon_map, *options)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--database", "frames"), "--database or --map"),
        (("--rerank", "5"), "--rerank takes the database's frames"),
        (("--metric", "euclidean"), "which cosine ranks"),
    ],
)
def test_what_a_map_cannot_be_asked_is_said(
    noon_map: Path, drives: dict[str, Path], options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--bundle", str(SHIPPED), "--map", str(noon_map), "--queries", str(drives["night"]),
              *options])  # fmt: skip
    assert words in capsys.readouterr().err


def small_map(folder: Path) -> PlaceMap:
    """Six places in a row, all unlike."""
    places = tuple(Place("noon", number, Pose((2.0 * number, 0.0, 0.0))) for number in range(6))
    made = PlaceMap(np.eye(6, 8, dtype=np.float32), places, "aa", "map", "camera", (64, 48))
    made.save(folder)
    return PlaceMap.load(folder)


def can_exchange(*folders: Path) -> bool:
    for folder in folders:
        folder.mkdir()
    exchanged = _exchange(*folders)
    for folder in folders:
        folder.rmdir()
    return exchanged


@pytest.mark.parametrize(
    ("event", "ending", "left", "places"),
    [
        ("os.rename", "/.map.partial", [".map.old", ".map.partial"], 6),
        ("shutil.rmtree", "/.map.partial", [".map.partial", "map"], 3),
        ("shutil.rmtree", "/.map.old", [".map.partial", "map"], 6),
    ],
    ids=["between the renames", "after the exchange", "before"],
)
def test_a_kill_leaves_a_map_that_the_next_command_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], event: str, ending: str, left: list[str], places: int
) -> None:
    if places == 3 and not can_exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("folders cannot be exchanged here")
    folder = tmp_path / "map"
    before = small_map(folder)
    killed = subprocess.run([sys.executable, "-c", DYING, str(folder), event, ending], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".map-edit-"))
    assert found == left
    edit(folder)
    assert f"{places} places" in capsys.readouterr().out
    assert len(PlaceMap.load(folder)) == places and (PlaceMap.load(folder).hash == before.hash) == (places == 6)
    edit(folder, "--max_places", 2)
    assert len(PlaceMap.load(folder)) == 2 and not list(tmp_path.glob(".map.*"))
