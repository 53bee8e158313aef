"""The table of what distillation gives: every network once, resumed from its file, means and gains by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from vpr_core.errors import FramesError, RecipeError
from vpr_core.experiments.networks import comparison
from vpr_core.experiments.tables import COLUMNS, Row, gains, margins, read_rows, run_tables, summary
from vpr_core.experiments.town import CONDITIONS, OPPOSITE, Towns, town_drives
from vpr_core.training.recipe import as_json

METHODS = {"teacher", "teacher cloud half", "teacher image half", "student alone", "student distilled"}


@pytest.fixture
def recipes(tmp_path: Path, toy_recipe: Callable[..., Any]) -> dict[str, Path]:
    """A teacher and a LiDAR student that train for four steps."""

    def write(name: str, modality: str, **options: object) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(as_json(toy_recipe(modality, **options))))
        return path

    return {
        "teacher": write("teacher", "fused"),
        "student": write("student", "lidar", distillation={"method": "SC"}),
        "other": write("other", "lidar", distillation={"method": "rkd"}),
    }


@pytest.fixture
def work(tmp_path: Path, make_drive: Callable[..., Path]) -> Path:
    """Toy drives where those of town 1, to train on, and of towns 2 and 3, to test in, are expected."""
    towns = Towns.planned(tmp_path / "work" / "frames", [1], [2, 3])
    tests = [drive for town in towns.tests for drive in town.drives]
    for seed, folder in enumerate([*towns.train, *towns.validation, *tests]):
        make_drive(folder, range(0, 12) if folder in towns.train else range(20, 32), seed)
    return tmp_path / "work"


def run(out: Path, work: Path, recipes: dict[str, Path], seeds: list[int], towns: Sequence[int] = (2,)) -> list[Row]:
    return run_tables(out, work, teacher=recipes["teacher"], students=[recipes["student"]], seeds=seeds,
                      train_towns=[1], test_towns=towns, bar=False)  # fmt: skip


def test_every_finished_network_stands_in_the_file_and_is_not_trained_again(
    tmp_path: Path, work: Path, recipes: dict[str, Path]
) -> None:
    out = tmp_path / "tables" / "town.csv"
    rows = run(out, work, recipes, [0])
    queries = (*CONDITIONS, OPPOSITE)
    assert {(row["method"], row["condition"]) for row in rows} == {(m, c) for m in METHODS for c in queries}
    assert all(0 <= float(row["recall_at_1"]) <= float(row["recall_at_5"]) <= 1 for row in rows)
    written = out.read_text()
    checkpoints = {path: path.stat().st_mtime_ns for path in work.rglob("checkpoint.json")}
    assert run(out, work, recipes, [0]) == rows and out.read_text() == written
    assert {path: path.stat().st_mtime_ns for path in work.rglob("checkpoint.json")} == checkpoints

    lines = written.splitlines(keepends=True)
    out.write_text("".join(line for line in lines if "distilled" not in line))
    again = run(out, work, recipes, [0])
    assert sorted(map(key, again)) == sorted(map(key, rows))
    assert len(out.read_text().splitlines()) == len(lines)  # the teacher, needed once more, is not written twice


def test_another_town_adds_its_rows_and_no_other(tmp_path: Path, work: Path, recipes: dict[str, Path]) -> None:
    first = run(tmp_path / "town.csv", work, recipes, [0])
    both = run(tmp_path / "town.csv", work, recipes, [0], towns=(2, 3))
    assert len(both) == 2 * len(first) == len(read_rows(tmp_path / "town.csv"))
    assert [row for row in both if row["town"] == "2"] == first


def key(row: Row) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in row.items() if name != "seconds")


def test_two_recipes_share_the_student_alone(recipes: dict[str, Path]) -> None:
    networks = comparison(recipes["teacher"], [recipes["student"], recipes["other"]], 3)
    assert [network.method for network in networks] == ["teacher", "alone", "distilled", "distilled"]
    assert {network.alone.hash for network in networks[1:]} == {networks[1].hash}
    assert {network.recipe.seed for network in networks} == {3}
    assert [n.hash for n in comparison(recipes["teacher"], [recipes["student"]], 4)] == [n.hash for n in networks[:3]]


def test_a_shorter_run_keeps_the_shares_of_its_steps(tmp_path: Path, toy_recipe: Callable[..., Any]) -> None:
    options = {"steps": 300, "validate_every": 60, "distillation": {"method": "SC", "warmup_steps": 90}}
    path = tmp_path / "student.yaml"
    path.write_text(yaml.safe_dump(as_json(toy_recipe("lidar", **options))))
    for network in comparison(path, [path], 0, steps=200):
        assert (network.recipe.steps, network.recipe.validate_every) == (200, 40)
    assert network.recipe.distillation and network.recipe.distillation.warmup_steps == 60


def test_what_is_no_recipe_or_no_table_is_refused(tmp_path: Path, work: Path, recipes: dict[str, Path]) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="holds no recipe"):
        comparison(tmp_path / "list.yaml", [recipes["student"]], 0)
    with pytest.raises(RecipeError, match="absent.yaml cannot be read"):
        comparison(tmp_path / "absent.yaml", [recipes["student"]], 0)
    with pytest.raises(RecipeError, match="no distillation"):
        comparison(recipes["teacher"], [recipes["teacher"]], 0)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FramesError, match="has columns .'a', 'b'."):
        run(tmp_path / "other.csv", work, recipes, [0])


def test_no_drive_is_for_training_and_for_tests(tmp_path: Path) -> None:
    drives = town_drives(tmp_path, [1, 3], [2])
    assert len({drive.out for drive in drives}) == len(drives)
    towns = {role: {drive.town for drive in drives if role in drive.out.name} for role in ("train", "query")}
    assert towns == {"train": {1, 3}, "query": {2}}


def test_means_spreads_and_gains_by_hand() -> None:
    def rows(method: str, seed: int, noon: float, others: float) -> list[Row]:
        values = {"noon": noon, "dusk": others - 0.1, "night": others, "fog": others + 0.1}
        fixed = dict.fromkeys(COLUMNS, "") | {"label": "r", "student": "s", "modality": "lidar", "town": "2"}
        return [
            {**fixed, "method": method, "seed": str(seed), "condition": name, "recall_at_1": str(value)}
            for name, value in values.items()
        ]

    table = [
        *rows("student alone", 0, 0.9, 0.5), *rows("student distilled", 0, 0.9, 0.6),
        *rows("student alone", 1, 0.7, 0.7), *rows("student distilled", 1, 0.9, 0.7),
    ]  # fmt: skip
    alone, distilled = summary(table)
    assert (alone["noon"], alone["others"]) == (pytest.approx(0.8), pytest.approx(0.6))
    assert alone["spread"] == pytest.approx(0.2 / 2**0.5) and distilled["seeds"] == 2
    (gain,) = gains(table)
    assert gain["mean"] == pytest.approx(0.05) and gain["spread"] == pytest.approx(0.1 / 2**0.5)
    assert (gain["runs"], gain["above 0"], gain["largest"]) == (2, "1 of 2", pytest.approx(0.1))

    taught = [*table, *rows("teacher", 1, 1.0, 0.8), *rows("teacher cloud half", 1, 0.9, 0.75)]
    assert [(row["difference"], row["runs"], round(row["mean"], 6)) for row in margins(taught)] == [
        ("teacher over its cloud half", 1, 0.05),
        ("teacher over the lidar student alone", 1, 0.1),
    ]
