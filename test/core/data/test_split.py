"""Splits by place: no place on two sides, in any of the drives, and the same again with the same options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.data.split import SPLITS, check_leaks, cut_area, split_frames
from vpr_core.errors import FramesError
from vpr_core.types import Pose


def ring(offset_m: float) -> np.ndarray:
    """[200, 2] a drive around a ring road of about 1.2 km, longer than wide."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    return np.stack([260 * np.cos(angle), 110 * np.sin(angle)], axis=1) + offset_m


@pytest.fixture
def drive(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, positions_m: np.ndarray, start_ns: int, area: str | None = None) -> Path:
        folder = tmp_path / "frames" / name
        (folder / "images").mkdir(parents=True)
        frames = []
        for index, (x, y) in enumerate(positions_m):
            image = f"images/{index:06d}.jpg"
            (folder / image).write_bytes(f"{name} {index}".encode())
            frames.append(Frame(index, start_ns + index, image, None, None, Pose((float(x), float(y), 0.0))))
        card = {"session": name, "bag": name, "area": area, "map_frame": "map", "image_size": [64, 48]}
        write_index(folder, frames, {**card, "counts": {"frames": len(frames)}, "drops": {}, "topics": {}})
        return folder

    return make


@pytest.mark.parametrize("seed", range(6))
def test_no_place_is_on_two_sides(seed: int, drive: Callable[..., Path], tmp_path: Path) -> None:
    folders = [drive("monday", ring(0.0), 10**12), drive("friday", ring(3.0)[::-1], 2 * 10**12)]
    report = split_frames(folders, tmp_path / "split", seed=seed)
    parts = {split: [Frames.load(path) for path in sorted((tmp_path / "split" / split).iterdir())] for split in SPLITS}
    positions_m = {split: np.concatenate([part.positions_m for part in found]) for split, found in parts.items()}
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        gaps_m = np.linalg.norm(positions_m[first][:, None] - positions_m[second][None], axis=-1)
        assert gaps_m.min() >= 30.0
    counts = {split: len(found) for split, found in positions_m.items()}
    left_out = sum(frames["left out"] for frames in report["frames"].values())
    assert counts["test"] == pytest.approx(80, abs=2) and sum(counts.values()) + left_out == 400
    assert counts["train"] > 150 and counts["validation"] > 0 and left_out > 0
    for split, found in parts.items():
        for part in found:
            assert part.card["split"] == {"name": split, "seed": seed, "buffer_m": 30.0}
            assert [frame.index for frame in part.frames] == list(range(len(part)))
            for frame in part.frames:
                assert frame.image and (part.folder / frame.image).read_text() == (
                    f"{part.session} {frame.stamp_ns % 10**12}"
                )
            assert (part.folder / part.card["picture"]).is_file()


def test_the_same_options_give_the_same_bytes_and_another_seed_other_parts(
    drive: Callable[..., Path], tmp_path: Path
) -> None:
    folder = drive("monday", ring(0.0), 0)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        split_frames([folder], tmp_path / name, seed=seed)
    files = {name: {str(path.relative_to(tmp_path / name)): path.read_bytes()
                    for path in (tmp_path / name).rglob("*") if path.is_file()} for name in "abc"}  # fmt: skip
    assert files["a"] == files["b"] and "split.png" in files["a"]
    assert files["a"]["split.json"] != files["c"]["split.json"] and files["a"].keys() != files["c"].keys()


def test_each_area_is_cut_on_its_own(drive: Callable[..., Path], tmp_path: Path) -> None:
    folders = [drive("here", ring(0.0), 0, "town 1"), drive("there", ring(0.0)[:, ::-1], 10**12, "town 2")]
    report = split_frames(folders, tmp_path / "split")
    assert [area["area"] for area in report["areas"]] == ["town 1", "town 2"]
    np.testing.assert_allclose(np.abs([area["axis"] for area in report["areas"]]), [[1, 0], [0, 1]], atol=1e-6)


def test_a_leak_fails_loudly(drive: Callable[..., Path]) -> None:
    near = Frames.load(drive("near", np.array([[0.0, 0.0], [50.0, 0.0]]), 0))
    far = Frames.load(drive("far", np.array([[200.0, 0.0], [71.5, 20.0]]), 100))
    same = Frames.load(drive("same", np.array([[0.0, 0.0]]), 101, "another town"))
    check_leaks({"train": [near], "test": [far]}, 20.0)
    with pytest.raises(FramesError, match=r"train \(near\) and test \(far\) leak: frame 1 of the second is 29.4 m"):
        check_leaks({"train": [near], "test": [far]}, 30.0)
    with pytest.raises(FramesError, match="leak: both have a frame of stamp 101"):
        check_leaks({"train": [far], "test": [same]}, 30.0)


def test_one_drive_under_two_areas_leaks(drive: Callable[..., Path], tmp_path: Path) -> None:
    folders = [drive("here", ring(0.0), 0, "town 1"), drive("again", np.roll(ring(0.0), 60, axis=0), 0, "town 2")]
    with pytest.raises(FramesError, match="leak: both have a frame of stamp"):
        split_frames(folders, tmp_path / "split")
    assert not (tmp_path / "split").exists()


def test_what_cannot_be_split_is_refused(drive: Callable[..., Path], tmp_path: Path) -> None:
    folder = drive("short", ring(0.0) / 20, 0)
    with pytest.raises(FramesError, match="no frame is left for .*: with a buffer of 30 m the map is too small"):
        split_frames([folder], tmp_path / "split")
    with pytest.raises(FramesError, match="leave nothing to train on"):
        split_frames([folder], tmp_path / "split", test_share=0.7, validation_share=0.3)
    with pytest.raises(FramesError, match="have one name"):
        split_frames([folder, folder], tmp_path / "split")


def test_a_cut_puts_the_shares_along_the_longest_extent() -> None:
    line_m = np.stack([np.zeros(1000), np.linspace(0, 999, 1000)], axis=1)
    for seed in range(5):
        splits = cut_area(line_m, 0.2, 0.1, 30.0, seed).splits(line_m)
        assert (splits == "test").sum() == pytest.approx(200, abs=1)
        changes = [name for index, name in enumerate(splits) if index == 0 or splits[index - 1] != name]
        assert changes.count("test") == 1 and 3 <= len(changes) <= 7


def test_the_command_writes_what_training_takes(
    drive: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [drive("monday", ring(0.0), 10**12), drive("friday", ring(3.0), 2 * 10**12)]
    main(["split", "--frames", *map(str, folders), "--out", str(tmp_path / "split"), "--seed", "3"])
    assert "monday: " in capsys.readouterr().out
    report = json.loads((tmp_path / "split/split.json").read_text())
    train = Frames.load(tmp_path / "split/train/monday")
    assert len(train) == report["frames"]["monday"]["train"]
