"""`vpr-distill prepare`, and the commands that take what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


@pytest.fixture
def msls_out(tiny: dict[str, tuple[Path, Any]], tmp_path: Path, run: Run) -> Path:
    out = tmp_path / "msls"
    given = ("--train_runs", "[london]", "--test_runs", "[cph, sf, miami]", "--config", CONFIG / "msls.yaml")
    code, said, err = run("prepare", "msls", "--root", tiny["msls"][0], "--out", out, *given[4:], *given[:4])
    assert code == 0, err
    val, challenge = (f"--database {out}/test/{name}_database --queries {out}/test/{name}_query"
                      for name in ("val", "challenge"))  # fmt: skip
    assert said.splitlines() == [
        f"{out}/train: 2 runs, 10 frames, 9 of them with another within 10 m",
        f"{out}/test: 4 runs, 28 frames, 12 queries; 2 pairs of a database and queries, in which 4 queries have a "
        "place within 25 m and 40 degrees and 4 are skipped",
        "train with --positive_m 10 --negative_m 25",
        f"evaluate {val} --radius_m 25 --max_heading_deg 40",
        f"without poses: evaluate {challenge} --submission FILE.csv",
    ]
    return out


def test_msls_is_evaluated_by_distance_and_heading(msls_out: Path, tmp_path: Path, run: Run) -> None:
    """Descriptors that take the second query of each city for the view that looks back, which is near but not true."""
    rows = np.eye(5, dtype=np.float32)
    database = np.kron(np.eye(2, dtype=np.float32), rows)
    queries = np.kron(np.eye(2, dtype=np.float32), rows[[0, 4, 3, 2]])
    np.savez(tmp_path / "theirs.npz", database=database, query=queries)
    drives = ("--database", msls_out / "test" / "val_database", "--queries", msls_out / "test" / "val_query")
    given = ("evaluate", "--descriptors", tmp_path / "theirs.npz", *drives, "--radius_m", 25)
    for heading, evaluated, at_1 in (((), 6, 1.0), (("--max_heading_deg", 40), 4, 0.5)):
        code, out, err = run(*given, *heading, "--out", tmp_path / "recall.json")
        assert code == 0, err
        (row,) = json.loads((tmp_path / "recall.json").read_text())["rows"]
        assert (row["evaluated"], row["recall_at_1"]) == (evaluated, at_1)
    assert row["max_heading_deg"] == 40.0 and "a match within 25 m and 40 degrees of heading is right" in out


def test_the_challenge_s_file_needs_no_poses(msls_out: Path, tmp_path: Path, run: Run) -> None:
    drives = (
        "--database",
        msls_out / "test" / "challenge_database",
        "--queries",
        msls_out / "test" / "challenge_query",
    )
    np.savez(tmp_path / "theirs.npz", database=np.eye(6, 3, dtype=np.float32) + 0.1, query=np.eye(4, 3) + 0.1)
    given = ("evaluate", "--descriptors", tmp_path / "theirs.npz", *drives)
    code, _, err = run(*given)
    assert code == 1 and "challenge_database has no poses" in err
    code, out, err = run(*given, "--submission", tmp_path / "lists.csv")
    assert code == 0 and out.strip() == f"{tmp_path}/lists.csv: 4 queries ranked by theirs", err
    lines = [line.split(" ") for line in (tmp_path / "lists.csv").read_text().splitlines()]
    assert [line[:2] for line in lines[:3]] == [[f"miami_query_{i}", f"miami_database_{i}"] for i in range(3)]
    assert all(len({*line}) == 7 for line in lines), "six places, each once"
    np.savez(tmp_path / "lists.npz", ranked=np.array([[5, 1], [0, 2], [3, 4], [2, 1]]))
    code, _, err = run("evaluate", "--ranked", tmp_path / "lists.npz", *drives, "--submission", tmp_path / "two.txt")
    assert code == 0, err
    assert (tmp_path / "two.txt").read_text().splitlines()[0] == "miami_query_0 miami_database_5 miami_database_1"
    code, _, err = run(*given, "--submission", tmp_path / "lists.csv", "--out", tmp_path / "recall.json")
    assert code == 1 and "--submission stands in place of figures: give it without --out" in err


def test_pittsburgh_and_nordland_by_their_presets(tiny: dict[str, tuple[Path, Any]], tmp_path: Path, run: Run) -> None:
    code, out, err = run("prepare", "pittsburgh30k", "--root", tiny["pittsburgh30k"][0], "--out", tmp_path / "pitts",
                         "--config", CONFIG / "pittsburgh30k.yaml")  # fmt: skip
    assert code == 0, err
    test = f"{tmp_path}/pitts/test/pitts30k_test"
    assert out.splitlines()[-1] == f"evaluate --database {test}_database --queries {test}_query --radius_m 25"
    given = ("prepare", "nordland", "--root", tiny["nordland"][0], "--out", tmp_path / "nordland",
             "--config", CONFIG / "nordland.yaml", "--train_runs", "[summer, winter]")  # fmt: skip
    code, out, err = run(*given)
    assert code == 1 and "missing: 3450 frames: the seasons of the test have 12" in out
    assert "is not whole. It is the Nordland data set as Olid" in err
    code, out, err = run(*given, "--allow_missing", "--tolerance_frames", 10)
    assert code == 0, err
    assert out.splitlines()[-1].endswith(f"evaluate --runs {tmp_path}/nordland/test/* with --radius_m 10")


@pytest.mark.parametrize("name", ["msls", "pittsburgh30k", "nordland"])
def test_every_help_says_how_the_folders_look(name: str, run: Run) -> None:
    code, out, _ = run("prepare", name, "--help")
    assert code == 0 and "ROOT/" in out and "--test_runs" in out and "--allow_missing" in out
