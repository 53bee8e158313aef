"""What every file of vpr_core/data/datasets keeps to: `Options`, `plan`, and frames folders that the others read."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vpr_core.cli import build_parser
from vpr_core.data.datasets import dataset, dataset_names
from vpr_core.data.frames import Frames
from vpr_core.data.plan import SENSORS, Plan
from vpr_core.data.prepare import write_plan
from vpr_core.errors import FramesError

NAMES = dataset_names()
PRESETS = sorted((Path(__file__).parents[4] / "config" / "datasets").glob("*.yaml"))
Tiny = dict[str, tuple[Path, Any]]


def test_data_sets_are_found_by_their_files(tiny: Tiny) -> None:
    assert {"oxford_robotcar", "boreas"} <= {*NAMES}
    assert {*NAMES} == {*tiny}, "every data set has a tiny one in conftest.py"
    with pytest.raises(FramesError, match="no data set 'kitti': known are boreas, msls, nordland, oxford_robotcar"):
        dataset("kitti")


@pytest.mark.parametrize("name", NAMES)
def test_options_are_explained_and_plain(name: str) -> None:
    module = dataset(name)
    assert is_dataclass(module.Options)
    text = inspect.getdoc(module.Options) or ""
    for option in fields(module.Options):
        assert f"    {option.name}: " in text, f"{option.name} is not explained"
    options = module.Options()
    assert {*getattr(options, "sensors", SENSORS)} <= {*SENSORS}
    assert 0 < options.positive_m <= options.negative_m and options.radius_m > 0
    with pytest.raises(AttributeError):
        options.radius_m = 1.0
    assert len((inspect.getdoc(module) or "").splitlines()[0]) < 120


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_every_preset_parses_with_the_command_of_its_data_set(path: Path) -> None:
    given = ["prepare", path.stem, "--config", str(path), "--root", "r", "--out", "o"]
    chosen = vars(build_parser().parse_args(given).prepare[path.stem])
    module = dataset(path.stem)
    assert module.Options(**{field.name: chosen[field.name] for field in fields(module.Options)})
    said = yaml.safe_load(path.read_text())
    assert {*said} <= {field.name for field in fields(module.Options)} and said, "it says something"


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_of_both_sides_and_nothing_is_missing(name: str, tiny: Tiny) -> None:
    root, options = tiny[name]
    before = sorted(path.stat().st_mtime_ns for path in root.rglob("*"))
    plan: Plan = dataset(name).plan(root, options)
    assert {run.split for run in plan.runs} == {"train", "test"}
    assert sorted(path.stat().st_mtime_ns for path in root.rglob("*")) == before, "it only looks"
    assert all(item.query for run in plan.of("train") for item in run.items)
    sensors = getattr(options, "sensors", ("image",))
    assert all(getattr(item, sensor) for run in plan.runs for item in run.items for sensor in sensors)
    assert len(plan.where) > 40
    gone = dataset(name).plan(root, replace(options, test_runs=(*options.test_runs, "absent")))
    assert any("absent" in of for found in gone.missing.values() for of in found), "a run that is not there is named"


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_says_what_to_download(name: str, tmp_path: Path) -> None:
    with pytest.raises(FramesError, match="has no folder of a") as raised:
        dataset(name).plan(tmp_path, dataset(name).Options())
    assert str(raised.value).endswith(dataset(name).WHERE)


@pytest.mark.parametrize("name", NAMES)
def test_its_frames_folders_are_like_any_other(name: str, tiny: Tiny, tmp_path: Path) -> None:
    root, options = tiny[name]
    plan = dataset(name).plan(root, options)
    folders = write_plan(plan, tmp_path / "out", f"vpr-distill prepare {name}", {})
    drives = {key: Frames.load(folder) for key, folder in folders.items()}
    assert len(drives) == len(plan.runs)
    for here, there in plan.evaluated:
        assert drives[f"test/{here.name}"].area == drives[f"test/{there.name}"].area, "one map frame"
    for run, drive in zip(plan.runs, drives.values(), strict=True):
        assert drive.session == run.name and drive.has_poses and len(drive) == len(run.items)
        np.testing.assert_allclose(drive.positions_m, run.positions_m, atol=1e-6)
        if run.items[0].cloud:
            cloud = drive.cloud(0)
            assert cloud.dtype == np.float32 and cloud.ndim == 2 and cloud.shape[1] == 4 and np.isfinite(cloud).all()
        image = drive.image(0)
        assert image.shape[:2] == drive.image_size[::-1]
        assert drive.card["counts"]["queries"] == drive.queries.sum()
        assert len({frame.stamp_ns for frame in drive.frames}) == len(drive), "a stamp names a frame"


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_where_it_stopped(name: str, tiny: Tiny, tmp_path: Path) -> None:
    root, options = tiny[name]
    plan = dataset(name).plan(root, options)
    made_by, ticks = f"vpr-distill prepare {name}", []

    def stop_half_way(count: int) -> None:
        ticks.append(count)
        if sum(ticks) > sum(len(run.items) for run in plan.runs) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plan(plan, tmp_path / "out", made_by, {}, tick=stop_half_way)
    assert not (tmp_path / "out" / "dataset.json").exists()
    whole = [path for path in sorted((tmp_path / "out").rglob("*")) if path.is_file() and not path.is_symlink()]
    stamps = {path.name: path.stat().st_mtime_ns for path in whole if path.suffix in (".npy", ".csv")}
    folders = write_plan(plan, tmp_path / "out", made_by, {})
    for folder in folders.values():
        for path in folder.rglob("*"):
            if path.suffix == ".npy" and path.name in stamps:
                assert path.stat().st_mtime_ns == stamps[path.name], "what was done is not done again"
    in_one_go = write_plan(plan, tmp_path / "other", made_by, {})
    for key, folder in folders.items():
        for file in ("frames.csv", "card.json"):
            assert (folder / file).read_bytes() == (in_one_go[key] / file).read_bytes()
        assert not list(folder.parent.glob(".*")), "nothing is left of the work"
    again = {key: folder.stat().st_mtime_ns for key, folder in folders.items()}
    write_plan(plan, tmp_path / "out", made_by, {})
    assert {key: folder.stat().st_mtime_ns for key, folder in folders.items()} == again


@pytest.mark.parametrize("name", NAMES)
def test_other_options_ask_before_they_replace_and_never_touch_the_data_set(
    name: str, tiny: Tiny, tmp_path: Path
) -> None:
    root, options = tiny[name]
    plan = dataset(name).plan(root, options)
    write_plan(plan, tmp_path / "out", "x", {})
    if hasattr(options, "sensors"):
        other = dataset(name).plan(root, replace(options, sensors=("cloud",)))
    else:
        first, *others = plan.runs
        other = replace(plan, runs=(replace(first, items=first.items[:-1]), *others))
    with pytest.raises(FramesError, match="exists already: choose another folder or pass --overwrite"):
        write_plan(other, tmp_path / "out", "x", {})
    files = sorted(path for path in root.rglob("*"))
    folders = write_plan(other, tmp_path / "out", "x", {}, overwrite=True)
    if hasattr(options, "sensors"):
        assert not any(Frames.load(folder).has_images for folder in folders.values())
    assert [len(Frames.load(folder)) for folder in folders.values()] == [len(run.items) for run in other.runs]
    assert sorted(path for path in root.rglob("*")) == files
