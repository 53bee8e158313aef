"""MSLS in its own folders: poses by compass, what is taken of the tables, the truth, the challenge, and damage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vpr_core.data.datasets import msls
from vpr_core.data.frames import Frames
from vpr_core.data.plan import Plan, Run, counts
from vpr_core.data.prepare import write_plan
from vpr_core.errors import FramesError

Tiny = dict[str, tuple[Path, Any]]
ONE_CITY = msls.Options(train_runs=(), test_runs=("cph",))


def keys(run: Run) -> list[str]:
    return [item.image.stem for item in run.items if item.image]


def test_a_city_to_train_on_is_two_runs_and_the_test_is_pooled(tiny: Tiny) -> None:
    root, options = tiny["msls"]
    plan: Plan = msls.plan(root, options)
    assert [(run.split, run.name, len(run.items), int(run.queries.sum())) for run in plan.runs] == [
        ("train", "london_database", 5, 5), ("train", "london_query", 5, 5),
        ("test", "val_database", 10, 0), ("test", "val_query", 8, 8),
    ]  # fmt: skip
    assert plan.pairs == [("val_database", "val_query")] and not plan.missing
    assert plan.runs[0].area == plan.runs[1].area != plan.runs[2].area, "London's queries have places in its database"
    by_city = msls.plan(root, replace(options, pooled=False))
    assert by_city.pairs == [("cph_database", "cph_query"), ("sf_database", "sf_query")]


def test_the_truth_is_25_metres_and_40_degrees(tiny: Tiny) -> None:
    root, options = tiny["msls"]
    plan = msls.plan(root, options)
    both = counts(plan, 10.0, 25.0, 40.0)["test"]
    # Of each city's four queries that are asked for: the first two see what the database sees, the third looks to the
    # side, the fourth is 470 m away. The cities lie at the same coordinates, and yet have no place in common.
    assert (both["evaluated"], both["skipped"], both["pairs"]) == (4, 4, 1)
    near = counts(plan, 10.0, 25.0)["test"]
    assert (near["evaluated"], near["skipped"]) == (6, 2)


def test_poses_look_along_the_compass(tiny: Tiny) -> None:
    plan = msls.plan(tiny["msls"][0], ONE_CITY)
    database, queries = plan.runs
    yaws = [round(math.degrees(pose.yaw_rad), 6) for pose in queries.poses]
    assert yaws == [0.0, -30.0, -90.0, 0.0], "90, 120, 180 and 90 degrees clockwise from north"
    assert abs(math.degrees(database.poses[4].yaw_rad)) == pytest.approx(180.0)
    assert queries.poses[1].position_m == (347011.0, 6171000.0, 0.0)


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, [0, 1, 2, 3]), ({"subtask": "d2n"}, [1]), ({"light": "night"}, [1]), ({"light": "day"}, [0, 2, 3]),
        ({"view_directions": ("Sideways", "Backward")}, [2]), ({"unique_clusters": True}, [0, 1, 2]),
    ],
)  # fmt: skip
def test_tables_choose_frames(tiny: Tiny, options: dict[str, Any], taken: list[int]) -> None:
    plan = msls.plan(tiny["msls"][0], replace(ONE_CITY, **options))
    run = next(run for run in plan.runs if run.name == "val_query")
    assert keys(run) == [f"cph_query_{number}" for number in taken]


def test_panoramas_are_left_out_unless_asked_for(tiny: Tiny) -> None:
    root = tiny["msls"][0]
    assert "cph_database_5" not in keys(msls.plan(root, ONE_CITY).runs[0])
    assert "cph_database_5" in keys(msls.plan(root, replace(ONE_CITY, panoramas=True)).runs[0])


def test_the_challenge_has_images_and_no_poses(tiny: Tiny, tmp_path: Path) -> None:
    plan = msls.plan(tiny["msls"][0], msls.Options(train_runs=(), test_runs=("miami",)))
    assert plan.pairs == [("challenge_database", "challenge_query")] and not plan.missing
    found = counts(plan, 10.0, 25.0, 40.0)["test"]
    assert (found["queries"], found["evaluated"], found["skipped"]) == (4, 0, 0)
    folders = write_plan(plan, tmp_path / "out", "x", {})
    drive = Frames.load(folders["test/challenge_query"])
    assert not drive.has_poses and drive.map_frame == "" and drive.image(0).shape == (48, 64, 3)
    assert Path(drive.frames[1].image or "").stem == "miami_query_1"


def test_pooled_images_stay_where_they_are(tiny: Tiny, tmp_path: Path) -> None:
    root, options = tiny["msls"]
    folders = write_plan(msls.plan(root, options), tmp_path / "out", "x", {})
    drive = Frames.load(folders["test/val_database"])
    assert drive.frames[0].image == "images/cph/database/images/cph_database_0.jpg"
    assert (drive.folder / "images").resolve() == root / "train_val"
    assert drive.frames[5].image == "images/sf/database/images/sf_database_0.jpg"


def test_what_is_missing_is_said_file_by_file(make_msls: Callable[..., Path], tmp_path: Path) -> None:
    root = make_msls(tmp_path, ("london", "cph", "sf", "miami"))
    (root / "train_val" / "london" / "query" / "raw.csv").unlink()
    (root / "train_val" / "cph" / "database" / "subtask_index.csv").unlink()
    (root / "train_val" / "sf" / "query" / "images" / "sf_query_0.jpg").unlink()
    (root / "test" / "miami" / "query" / "seq_info.csv").unlink()
    plan = msls.plan(root, msls.Options(train_runs=("london", "paris"), test_runs=("cph", "sf", "miami")))
    assert plan.missing == {
        "no raw.csv": ["london/query (train)"],
        "no folder": ["paris (train)"],
        "no subtask_index.csv": ["cph/database (test)"],
        "frames with no image": ["sf/query (test) 1 of 4"],
        "no seq_info.csv": ["miami/query (test)"],
    }
    assert [run.name for run in plan.runs] == ["london_database", "val_database", "val_query", "challenge_database"]
    assert plan.pairs == [("val_database", "val_query")]


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        ("raw.csv", ("ca", "angle"), r"raw.csv has columns .* expected key, ca, pano"),
        ("raw.csv", (",90.0,", ",east,"), r"raw.csv, line 2, does not parse .* expected text in key, degrees in ca"),
        ("raw.csv", (",90.0,", ",nan,"), "raw.csv, line 2, does not parse .a number is nan"),
        ("raw.csv", (",False\n", ",no\n"), "'no' is neither True nor False"),
        ("raw.csv", ("cph_query_0", "cph_query_9"), r"postprocessed.csv, line 2, .*raw.csv has no key cph_query_0"),
        ("postprocessed.csv", ("347001.0", "inf"), "postprocessed.csv, line 2, does not parse"),
        ("subtask_index.csv", (",all,", ",some,"), "has columns .* expected all"),
    ],
)  # fmt: skip
def test_damaged_tables_are_named(
    make_msls: Callable[..., Path], tmp_path: Path, file: str, change: tuple[str, str], match: str
) -> None:
    path = make_msls(tmp_path, ("cph",)) / "train_val" / "cph" / "query" / file
    with path.open(newline="") as opened:
        text = opened.read().replace("\r\n", "\n")
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    with pytest.raises(FramesError, match=match):
        msls.plan(tmp_path, ONE_CITY)


def test_tables_of_different_lengths_do_not_fit(make_msls: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_msls(tmp_path, ("cph",)) / "train_val" / "cph" / "query"
    for name, match in (
        ("subtask_index.csv", "subtask_index.csv has 4 rows, postprocessed.csv has 5: expected one for each"),
        ("postprocessed.csv", "raw.csv has 5 keys, postprocessed.csv 4, expected as many"),
    ):
        whole = (folder / name).read_text()
        (folder / name).write_text("\n".join(whole.splitlines()[:-1]) + "\n")
        with pytest.raises(FramesError, match=match):
            msls.plan(tmp_path, ONE_CITY)
        (folder / name).write_text(whole)


def test_the_cities_are_the_published_ones() -> None:
    assert (len(msls.TRAIN), len(msls.VALIDATION), len(msls.CHALLENGE)) == (22, 2, 6)
    assert not {*msls.TRAIN} & {*msls.VALIDATION, *msls.CHALLENGE}
