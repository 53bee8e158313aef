"""`vpr-distill map-edit`, and what `evaluate --map` says of a map before and after."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vpr_core.cli import main
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_map import PlaceMap

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
    capsys.readouterr()
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
