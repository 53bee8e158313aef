"""The networks of a plan: every one once, resumed from its file; one network for all the cells that it stands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from vpr_core.errors import FramesError
from vpr_core.experiments.cells import cells_of
from vpr_core.experiments.plans import read_plan
from vpr_core.experiments.sources import DRIVES, PAIRS, Row, RunSource, TownSource
from vpr_core.experiments.tables import read_rows, rows_of, run_tables
from vpr_core.experiments.town import CONDITIONS, OPPOSITE, Towns, town_drives
from vpr_core.training.recipe import as_json

METHODS = {"teacher", "teacher cloud half", "teacher image half", "student alone", "student distilled"}


@pytest.fixture
def plan(tmp_path: Path, toy_recipe: Callable[..., Any]) -> Path:
    """A table of a teacher and a LiDAR student that train for four steps."""

    def write(name: str, values: object) -> None:
        (tmp_path / name).write_text(yaml.safe_dump(values, sort_keys=False))

    write("teacher.yaml", as_json(toy_recipe("fused")))
    write("student.yaml", as_json(toy_recipe("lidar", distillation={"method": "SC"})))
    write("methods.yaml", {"SC": {"weight": 1.0}, "rkd": {"weight": 2.0}})
    pairing = {"teacher": "teacher.yaml", "student": "student.yaml", "methods": "methods.yaml"}
    column = {"title": "A -> B", "town": pairing}
    write(
        "plan.yaml",
        {"title": "toy", "columns": {"one": column}, "rows": {"T": "teacher", "w/o": "alone", "ours": "SC"}},
    )
    return tmp_path / "plan.yaml"


@pytest.fixture
def work(tmp_path: Path, make_drive: Callable[..., Path]) -> Path:
    """Toy drives where those of town 1, to train on, and of towns 2 and 3, to test in, are expected."""
    towns = Towns.planned(tmp_path / "work" / DRIVES / "frames", [1], [2, 3])
    tests = [drive for town in towns.tests for drive in town.drives]
    for seed, folder in enumerate([*towns.train, *towns.validation, *tests]):
        make_drive(folder, range(0, 12) if folder in towns.train else range(20, 32), seed)
    return tmp_path / "work"


def run(out: Path, work: Path, plan: Path, seeds: list[int], towns: Sequence[int] = (2,)) -> list[Row]:
    cells = cells_of([read_plan(plan)], "town", seeds)
    source = TownSource(work, [1], towns)
    run_tables(cells, out, source, bar=False)
    found = rows_of(cells, read_rows(out), source)
    return [row for of_cell in found.values() for row in of_cell]


def test_every_finished_network_stands_in_the_file_and_is_not_trained_again(
    tmp_path: Path, work: Path, plan: Path
) -> None:
    out = tmp_path / "tables" / "town.csv"
    rows = run(out, work, plan, [0])
    queries = (*CONDITIONS, OPPOSITE)
    assert {(row["method"], row["condition"]) for row in rows} == {(m, c) for m in METHODS for c in queries}
    assert all(0 <= float(row["recall_at_1"]) <= float(row["recall_at_5"]) <= 1 for row in rows)
    written = out.read_text()
    checkpoints = {path: path.stat().st_mtime_ns for path in work.rglob("checkpoint.json")}
    assert run(out, work, plan, [0]) == rows and out.read_text() == written
    assert {path: path.stat().st_mtime_ns for path in work.rglob("checkpoint.json")} == checkpoints

    lines = written.splitlines(keepends=True)
    out.write_text("".join(line for line in lines if "distilled" not in line))
    again = run(out, work, plan, [0])
    assert sorted(map(key, again)) == sorted(map(key, rows))
    assert len(out.read_text().splitlines()) == len(lines)  # the teacher, needed once more, is not written twice


def test_another_town_adds_its_rows_and_no_other(tmp_path: Path, work: Path, plan: Path) -> None:
    first = run(tmp_path / "town.csv", work, plan, [0])
    both = run(tmp_path / "town.csv", work, plan, [0], towns=(2, 3))
    assert len(both) == 2 * len(first) == len(read_rows(tmp_path / "town.csv"))
    assert [row for row in both if row["town"] == "2"] == first


def key(row: Row) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in row.items() if name != "seconds")


def test_no_drive_is_for_training_and_for_tests(tmp_path: Path) -> None:
    drives = town_drives(tmp_path, [1, 3], [2])
    assert len({drive.out for drive in drives}) == len(drives)
    towns = {role: {drive.town for drive in drives if role in drive.out.name} for role in ("train", "query")}
    assert towns == {"train": {1, 3}, "query": {2}}


def test_another_table_is_refused(tmp_path: Path, work: Path, plan: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FramesError, match="has columns .'a', 'b'."):
        run(tmp_path / "other.csv", work, plan, [0])


def test_a_student_alone_can_teach_another(tmp_path: Path, work: Path, plan: Path) -> None:
    """It is trained once, and each table calls it what it is there."""
    student = yaml.safe_load((tmp_path / "student.yaml").read_text())
    (tmp_path / "lidar.yaml").write_text(yaml.safe_dump({**student, "distillation": None}))
    values = yaml.safe_load(plan.read_text())
    values["columns"]["two"] = {
        "title": "C -> B",
        "town": {**values["columns"]["one"]["town"], "teacher": "lidar.yaml"},
    }
    plan.write_text(yaml.safe_dump({**values, "columns": {"two": values["columns"]["two"]}}, sort_keys=False))
    rows = run(tmp_path / "town.csv", work, plan, [0])
    assert [row["method"] for row in rows if row["condition"] == "fog"] == [
        "teacher", "student alone", "student distilled"
    ]  # fmt: skip
    assert len(read_rows(tmp_path / "town.csv")) == 2 * (len(CONDITIONS) + 1)


def test_runs_of_a_data_set_stand_in_the_place_of_towns(tmp_path: Path, toy: dict[str, Path], plan: Path) -> None:
    values = yaml.safe_load(plan.read_text())
    values["columns"]["one"]["boreas"] = values["columns"]["one"].pop("town")
    plan.write_text(yaml.safe_dump(values, sort_keys=False))
    source = RunSource(
        tmp_path, "boreas", [toy["first"], toy["second"]], [], [toy["database"], toy["queries"]], radius_m=20.0
    )
    cells, out = cells_of([read_plan(plan)], "boreas", [0]), tmp_path / "boreas.csv"
    run_tables(cells, out, source, bar=False)
    found = rows_of(cells, read_rows(out), source)
    for cell, rows in found.items():
        methods = [row["method"] for row in rows]
        assert len(methods) == (3 if cell.row.method == "teacher" else 1)
        assert {row["condition"] for row in rows} == {PAIRS} and {row["evaluated"] for row in rows} == {"48"}
        assert source.recall(rows) == pytest.approx(100 * float(rows[0]["recall_at_1"]))
    written = out.read_text()
    run_tables(cells, out, source, bar=False)
    assert out.read_text() == written
    with pytest.raises(FramesError, match="for training and for tests at once"):
        RunSource(tmp_path, "boreas", [toy["first"]], [], [toy["first"], toy["second"]], 20.0)
    with pytest.raises(FramesError, match="give frames folders to train on with --frames"):
        RunSource(tmp_path, "boreas", [], [], [toy["first"], toy["second"]], 20.0)
