"""`vpr-distill map --features` where features can have points in space, and where they cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames, write_index
from vpr_core.retrieval.place_features import PlaceFeatures
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.place_points import FILE, PlacePoints

CALIBRATION = (
    "image_width: 320\nimage_height: 240\ndistortion_model: plumb_bob\n"
    "camera_matrix: {data: [190.68, 0, 159.5, 0, 190.68, 119.5, 0, 0, 1]}\ndistortion_coefficients: {data: []}\n"
)
OPTICAL = "1,0,1.6,-0.47771,0.47771,-0.52133,0.52133"
"""The town's camera, tilted up by 5 degrees."""


@pytest.fixture(scope="module")
def few(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drive's first frames."""
    folder = Path(shutil.copytree(frames, tmp_path_factory.mktemp("few") / "frames"))
    drive = Frames.load(frames)
    write_index(folder, drive.frames[:4], {**drive.card, "counts": {"frames": 4}})
    return folder


@pytest.fixture(scope="module")
def unmounted(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card that knows nothing of the sensors."""
    folder = Path(shutil.copytree(few, tmp_path_factory.mktemp("unmounted") / "frames"))
    card = json.loads((folder / "card.json").read_text())
    del card["calibration"]
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def make(bundle: Path, frames: Path, out: Path, *options: str) -> None:
    main(["map", "--bundle", str(bundle), "--frames", str(frames), "--out", str(out), *options])


def read(folder: Path) -> PlacePoints:
    map_hash = PlaceMap.load(folder).hash
    return PlacePoints.load(folder, map_hash, PlaceFeatures.load(folder, map_hash))


def test_the_card_knows_everything(bundle: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(bundle, few, tmp_path / "map", "--features", "sift", "--sweep_middle_s", "0.05")
    points = read(tmp_path / "map")
    assert f"points.bin: {points.share:.0%} of the features have a point in space, " in capsys.readouterr().out
    assert 0.2 < points.share < 0.8 and len(points) == 4


def test_options_know_it_where_the_card_does_not(
    bundle: Path, few: Path, unmounted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "camera.yaml").write_text(CALIBRATION)
    known = ("--lidar_pose", "0,0,1.9", "--camera_info", str(tmp_path / "camera.yaml"), "--camera_pose", OPTICAL)
    asked = ("--features", "sift", "--sweep_middle_s", "0.05")
    make(bundle, unmounted, tmp_path / "map", *asked, *known)
    make(bundle, few, tmp_path / "other", *asked)
    assert read(tmp_path / "map").share == pytest.approx(read(tmp_path / "other").share, abs=0.02)


def test_what_is_not_known_is_told(
    bundle: Path, unmounted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(bundle, unmounted, tmp_path / "map", "--features", "orb")
    assert "points.bin: none, since the frames' card does not say how the camera projects" in capsys.readouterr().out
    assert not (tmp_path / "map" / FILE).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--camera_pose", OPTICAL], "but --features is not given"),
        (["--features", "sift", "--camera_pose", OPTICAL], "does not say how the camera projects: give --camera_info"),
        (["--features", "sift", "--camera_pose", "1,2"], "--camera_pose 1,2 is expected to be x,y,z"),
        (["--features", "sift", "--camera_info", "absent.yaml"], "does not say where the camera is"),
    ],
)
def test_what_is_given_and_not_enough_is_refused(
    bundle: Path, unmounted: Path, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        make(bundle, unmounted, tmp_path / "map", *options)
    assert words in capsys.readouterr().err and not (tmp_path / "map").exists()


def test_an_edited_map_says_that_points_are_left_out(
    bundle: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(bundle, few, tmp_path / "map", "--features", "orb")
    assert read(tmp_path / "map").points.size
    main(["map-edit", "--map", str(tmp_path / "map"), "--max_places", "2", "--out", str(tmp_path / "less")])
    assert "points.bin: left out; points in space belong to" in capsys.readouterr().out
    assert not (tmp_path / "less" / FILE).exists() and len(PlaceMap.load(tmp_path / "less")) == 2
