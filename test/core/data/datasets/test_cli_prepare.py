"""`vpr-distill prepare`, and the commands that take what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vpr_core.cli import main
from vpr_core.data.datasets import dataset_names, oxford_robotcar
from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError

RUNS = oxford_robotcar.TEST_RUNS
CONFIG = Path(__file__).parents[4] / "config" / "datasets"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run(arguments ...): exit code, stdout and stderr of a command."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code: object = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        written = capsys.readouterr()
        assert isinstance(code, int) and "Traceback" not in written.err
        return code, written.out, written.err

    return call


@pytest.fixture(scope="module")
def prepared(oxford_robotcar_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    main(["prepare", "oxford_robotcar", "--root", str(oxford_robotcar_root), "--out", str(out), "--allow_missing"])
    return out


def test_it_says_what_there_is_and_what_is_missing(oxford_robotcar_root: Path, tmp_path: Path, run: Run) -> None:
    given = ("prepare", "oxford_robotcar", "--root", oxford_robotcar_root, "--out", tmp_path / "out")
    code, out, err = run(*given)
    assert code == 1 and not (tmp_path / "out").exists()
    lines = out.splitlines()
    assert lines[0] == "missing: 41 of 45 runs: 4 are there"
    assert lines[1].startswith("missing: no folder: 2014-12-02-15-30-08 (test), 2014-12-09-13-21-02 (test), ")
    ended = err.strip().splitlines()[-1]
    assert ended.startswith(f"vpr-distill: error: {oxford_robotcar_root} is not whole. Submaps and their CSV files")
    assert "--allow_missing" in ended
    code, out, err = run(*given, "--allow_missing")
    assert code == 0 and "54/54" in err, "a bar of all frames"
    assert out.splitlines()[2:] == [
        f"{tmp_path}/out/train: 3 runs, 24 frames, 24 of them with another within 10 m",
        f"{tmp_path}/out/test: 3 runs, 30 frames, 18 queries; 6 ordered pairs, in which 36 queries have a place within "
        "25 m and 0 are skipped",
        f"train with --positive_m 10 --negative_m 50, evaluate --runs {tmp_path}/out/test/* with --radius_m 25",
    ]


def test_help_says_how_the_folders_look(run: Run) -> None:
    code, out, _ = run("prepare", "--help")
    assert code == 0 and all(f"  {name} " in out for name in dataset_names())
    _, out, _ = run("prepare", "oxford_robotcar", "--help")
    assert "ROOT/RUN/pointcloud_20m_10overlap/STAMP.bin" in out and "--tolerance_s" in out
    code, _, err = run("prepare", "kitti", "--root", "a", "--out", "b")
    assert code == 2 and "boreas" in err
    code, _, err = run("prepare", "boreas", "--root", "absent", "--out", "b")
    assert code == 1 and "absent has no folder of a drive" in err


def test_dataset_json_says_what_was_made(prepared: Path) -> None:
    about = json.loads((prepared / "dataset.json").read_text())
    assert about["dataset"] == "oxford_robotcar" and about["counts"]["test"]["pairs"] == 6
    assert about["options"]["radius_m"] == 25.0 and len(about["missing"]["no folder"]) == 20
    assert about["runs"][f"test/{RUNS[0]}"]["counts"] == {"frames": 10, "queries": 6}
    with pytest.raises(FramesError, match="holds a data set's frames by run in train and test"):
        Frames.load(prepared)
    with pytest.raises(FramesError, match=f"is the folder above {RUNS[0]}, {RUNS[1]}"):
        Frames.load(prepared / "test")


def test_evaluation_of_a_network_trained_on_it_asks_inside_the_boxes(prepared: Path, tmp_path: Path, run: Run) -> None:
    train, test = (sorted((prepared / split).iterdir()) for split in ("train", "test"))
    small = ("--voxel_size_m", 0.01, "--planes", "[8,8,16]", "--steps", 2, "--batch_size", 4)
    steps: tuple[tuple[object, ...], ...] = (
        ("train-teacher", "--modality", "lidar", "--frames", *train, "--out", tmp_path / "lidar", *small),
        ("export", "--checkpoint", tmp_path / "lidar", "--frames", train[0], "--out", tmp_path / "bundle"),
        ("evaluate", "--bundle", tmp_path / "bundle", "--runs", *test, "--radius_m", 25,
         "--out", tmp_path / "recall.json", "--report", tmp_path / "report.html"),
    )  # fmt: skip
    for step in steps:
        code, _, err = run(*step)
        assert code == 0, err
    written = json.loads((tmp_path / "recall.json").read_text())
    rows = [row for row in written["rows"] if row["method"] == "bundle"]
    assert [(row["evaluated"], row["skipped"]) for row in rows] == [(6, 0)] * 6, "of ten frames those in the box"
    average = next(row for row in written["averages"] if row["method"] == "bundle")
    assert average["pairs"] == 6 and average["evaluated"] == 36
    assert average["recall_at_1"] == pytest.approx(sum(row["recall_at_1"] for row in rows) / 6, abs=1e-3)
    assert average["recall_at_1_percent"] == average["recall_at_1"], "one percent of ten places is one"
    assert "36 clouds of 3 query drives were looked up" in (tmp_path / "report.html").read_text()


def test_a_teacher_of_both_sensors_learns_from_it(prepared: Path, tmp_path: Path, run: Run) -> None:
    runs = sorted((prepared / "train").iterdir())
    code, _, err = run(
        "train-teacher", "--frames", *runs, "--out", tmp_path / "teacher", "--steps", 2, "--batch_size", 4,
        "--voxel_size_m", 0.01, "--planes", "[8,8,16]", "--cloud_dim", 16, "--dim", 16, "--image_height", 48,
        "--pretrained", "false",
    )  # fmt: skip
    assert code == 0, err
    card = json.loads((tmp_path / "teacher" / "checkpoint.json").read_text())["card"]
    assert card["steps"] == 2 and [drive["frames"] for drive in card["drives"]] == [8, 8, 8]
    assert 0 < card["final_loss"] < 1000


def test_boreas_by_its_preset(boreas_root: Path, tmp_path: Path, run: Run) -> None:
    given = ("prepare", "boreas", "--root", boreas_root, "--out", tmp_path / "out",
             "--config", CONFIG / "boreas.yaml", "--allow_missing")  # fmt: skip
    code, out, err = run(*given)
    assert code == 0, err
    assert "missing: no folder: boreas-2020-12-18-13-44 (train)" in out
    assert f"{tmp_path}/out/train: 2 runs, 8 frames" in out
    assert Frames.load(tmp_path / "out" / "test" / "boreas-2021-01-26-11-22").has_images
    code, _, err = run(*given, "--keyframe_m", 5)
    assert code == 1 and "pass --overwrite" in err
    code, out, _ = run(*given, "--keyframe_m", 15, "--overwrite")
    assert code == 0 and f"{tmp_path}/out/train: 2 runs, 4 frames" in out
    code, _, err = run(*given, "--interval", 0)
    assert code == 1 and "interval is 0, expected 1 or more" in err
