"""Plans: every one of config/tables gives networks that are whole, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vpr_core.cli import _values, build_parser, main
from vpr_core.errors import RecipeError
from vpr_core.experiments.cells import Cell, cells_of, distillation_of, entry_of
from vpr_core.experiments.networks import Network, comparison, read_recipe
from vpr_core.experiments.paper import paper_of
from vpr_core.experiments.plans import Data, choose, data_of, read_plan, read_plans
from vpr_core.experiments.tables import read_rows
from vpr_core.training.distillation import Distillation
from vpr_core.training.objective import Distiller
from vpr_core.training.recipe import as_json

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "config" / "tables"
PLANS = read_plans(sorted(FOLDER.glob("table*.yaml")))
STRUCTVPR = read_plans(sorted(FOLDER.glob("structvpr_*.yaml")))
ELEVEN = ["alone", "kd", "afd", "epc_net", "rkd", "csd", "lsd_net", "mkd", "S", "C", "SC"]


def cells(name: str, data: Data = "town", seed: int = 0) -> list[Cell]:
    return cells_of([read_plan(FOLDER / f"{name}.yaml")], data, [seed])


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.path.stem)
def test_every_cell_has_a_figure_in_the_paper_and_recipes_for_its_data(plan: Any) -> None:
    for table, figures in paper_of(plan).items():
        assert {(column.title, row.title) for column in plan.columns for row in plan.rows} == set(figures), table
        data: Data = "oxford" if "Oxford" in table else "boreas"
        assert all(data in column.pairings and "town" in column.pairings for column in plan.columns)
    for data in ("town", "boreas"):
        for cell in cells_of([plan], data, [3]):
            assert cell.network.recipe.seed == 3
            if cell.network.recipe.distillation:
                Distiller(cell.network.recipe.distillation, 8, 12)


def test_the_tables_are_all_there() -> None:
    assert [plan.path.stem for plan in PLANS] == ["table1_2", "table3", "table4", "table5", "table6"]
    assert [row.method for row in PLANS[0].rows] == [row.method for row in PLANS[1].rows] == ["teacher", *ELEVEN]
    assert len(cells("table1_2", "oxford")) == 48


@pytest.mark.parametrize("plan", STRUCTVPR, ids=lambda plan: plan.path.stem)
def test_structvpr_s_rows_are_those_of_the_paper(plan: Any) -> None:
    tables = paper_of(plan)
    assert bool(tables) == (plan.path.stem not in ("structvpr_table1", "structvpr_figure6"))
    for figures in tables.values():
        ours = {"GeM", "RGB"} if plan.path.stem == "structvpr_table2" else set[str]()
        assert {row.title for row in plan.rows} - ours == {row for _, row in figures}
    for cell in cells_of([plan], "town_labels", [3]):
        assert {network.recipe.seed for network in (cell.network, *cell.network.after)} == {3}
        if cell.network.recipe.distillation:
            Distiller(cell.network.recipe.distillation, 448, 480)


def test_structvpr_s_students_have_their_weights_from_one_stage_i() -> None:
    networks = {cell.row.method: cell.network for cell in cells_of(STRUCTVPR, "town_labels", [0])}
    assert networks["alone"].recipe == read_recipe(ROOT / "config" / "structvpr" / "town_rgb.yaml")
    taught = {method: network for method, network in networks.items() if network.weighing}
    assert len({network.hash for network in taught.values()}) == len({n.name for n in taught.values()}) == len(taught)
    for method, network in taught.items():
        assert network.weighing and network.teacher and network.after == (network.teacher, networks["alone"])
        branch = networks[f"seg_{method}"] if f"seg_{method}" in networks else networks["teacher"]
        assert (network.teacher.name, network.teacher.hash) == (branch.name, branch.hash)
    weighing = networks["D1"].weighing
    assert weighing and (weighing.scheme, weighing.groups, weighing.n_t) == ("all", ("D1",), 30)
    assert {network.weighing.n_t for network in taught.values() if network.weighing} == {30}
    assert networks["paper"].recipe == networks["D1"].recipe == networks["three"].recipe
    assert networks["seg_three"].recipe.label_encoding == "three"


def test_the_data_of_plans_is_the_town_they_have_recipes_for() -> None:
    assert (data_of(PLANS), data_of(STRUCTVPR)) == ("town", "town_labels")


def test_plans_of_a_paper_go_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name, plans in (("distilvpr", PLANS), ("structvpr", STRUCTVPR)):
        assert [plan.path.name for plan in read_plans([Path(name)])] == [plan.path.name for plan in plans]


def test_methods_differ_in_distillation_only() -> None:
    for cell in cells("table1_2"):
        alone = next(other for other in cells("table1_2") if (other.column, other.row.method) == (cell.column, "alone"))
        if cell.row.method != "teacher":
            assert cell.network.alone.hash == alone.network.hash
    by_method = {cell.row.method: cell.network.recipe.distillation for cell in cells("table3")[:12]}
    own = read_recipe(ROOT / "config" / "distill" / "town_camera_from_big.yaml").distillation
    assert own and by_method["SC"] == own
    for method in ELEVEN[1:]:
        found = by_method[method]
        assert found and (found.method, found.warmup_steps, found.teacher_modality) == (method, 100, "camera")
    assert as_json(cells("table3")[9].network.recipe)["distillation"] == {**own.as_json(), "method": "S"}


def test_rows_that_stand_in_the_table_are_used() -> None:
    """Those trained before there were plans, and all of the camera student's methods at their weights."""
    there = {row["recipe"]: (row["label"], row["method"]) for row in read_rows(ROOT / "tables" / "town.csv")}
    of_columns = {(cell.column.name, cell.row.method): cell.network for cell in cells("table1_2")}
    for sensor in ("camera", "lidar"):
        assert there[of_columns[sensor, "alone"].hash] == (f"town_{sensor}", "student alone")
        assert there[of_columns[sensor, "SC"].hash] == (f"town_{sensor}", "student distilled")
    assert {of_columns["camera", method].hash for method in ELEVEN} <= set(there)
    students = [ROOT / "config" / "distill" / "town_camera.yaml"]
    networks = comparison(ROOT / "config" / "teacher" / "town.yaml", students, 0)
    assert [network.name for network in networks] == [
        of_columns["camera", method].name for method in ("teacher", "alone", "SC")
    ]


def test_one_network_stands_in_several_tables() -> None:
    def hashes(name: str, **which: str) -> dict[str, str]:
        return {cell.row.method: cell.network.hash for cell in cells(name) if cell.column.name in which.values()}

    third = hashes("table3", column="camera_from_lidar")
    assert third["alone"] == hashes("table1_2", column="camera")["alone"]
    assert third["teacher"] == hashes("table1_2", column="lidar")["alone"]
    fourth = {cell.row.method: cell.network.hash for cell in cells("table4")}
    assert {name: fourth[name] for name in ("alone", "S", "C", "SC")} == {
        name: third[name] for name in ("alone", "S", "C", "SC")
    }
    fifth = {cell.row.title: cell.network for cell in cells("table5")}
    assert {name: fifth[f"{name} euc+cos+hyp"].hash for name in ("S", "C", "SC")} == {
        name: third[name] for name in ("S", "C", "SC")
    }
    assert len({network.hash for network in fifth.values()}) == len({n.name for n in fifth.values()}) == 21
    sixth = [cell.network.hash for cell in cells("table6") if cell.row.method == "SC"]
    assert sixth[:2] == [hashes("table1_2", column="camera")["SC"], third["SC"]]


def test_a_teacher_of_one_sensor_is_the_student_alone() -> None:
    (teacher,) = (
        c.network for c in cells("table3") if (c.column.name, c.row.method) == ("camera_from_lidar", "teacher")
    )
    alone = next(c.network for c in cells("table1_2") if (c.column.name, c.row.method) == ("lidar", "alone"))
    assert teacher.name == alone.name and (teacher.method, alone.method) == ("teacher", "alone")


def test_columns_and_methods_are_chosen_by_name() -> None:
    (plan,) = choose(PLANS, ["camera_from_big"], ["kd", "SC"], "town")[:1]
    assert ([c.name for c in plan.columns], [r.method for r in plan.rows]) == (["camera_from_big"], ["kd", "SC"])
    assert {plan.path.stem for plan in choose(PLANS, [], ["tt_ts"], "town")} == {"table4"}
    with pytest.raises(RecipeError, match="no plan has the method kdd: known are C,"):
        choose(PLANS, [], ["kdd"], "town")
    with pytest.raises(RecipeError, match="no plan has a column for oxford"):
        choose(PLANS, [], ["tt_ts"], "oxford")


def test_the_command_takes_plans() -> None:
    options = _values(build_parser().parse_args(["tables", "a.yaml", "b.yaml", "--methods", "kd"])["tables"])
    assert (options["plans"], options["methods"]) == ([Path("a.yaml"), Path("b.yaml")], ["kd"])
    assert _values(build_parser().parse_args(["tables"])["tables"])["plans"] == [Path("distilvpr")]


def test_the_command_says_what_is_missing_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = str(FOLDER / "table4.yaml"), tmp_path / "none.csv"
    main(["tables", plan, "--train", "false", "--seeds", "5", "--out", str(out), "--test_towns", "3"])
    printed = capsys.readouterr().out
    assert printed.count("0 of 1  -     -") == 5 and not out.exists()
    command = printed.split("What is missing: ")[1].strip()
    assert command == (
        f"vpr-distill tables {plan} --columns camera_from_lidar --methods alone S C tt_ts SC --seeds 5 "
        "--train_towns 1 --test_towns 3"
    )
    options = _values(build_parser().parse_args(command.split()[1:])["tables"])
    assert (options["methods"], options["test_towns"]) == (["alone", "S", "C", "tt_ts", "SC"], [3])


def test_the_paper_s_data_needs_its_folders(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tables", str(FOLDER / "table4.yaml"), "--train", "false", "--data", "boreas"])
    assert "boreas: give frames folders to train on with --frames" in capsys.readouterr().err


def test_a_distillation_keeps_what_its_student_s_recipe_says() -> None:
    own = Distillation(method="SC", warmup_steps=7, weight_self=3.0, curvature=0.2, teacher_modality="lidar")
    row = PLANS[0].rows[2]

    def of(method: str, entry: dict[str, Any], **changes: Any) -> Distillation:
        return distillation_of(own, type(row)("row", method, changes), entry, Path("m.yaml"))

    assert of("kd", {"weight": 4.0, "options": {"temperature": 2.0}}) == Distillation(
        method="kd", weight=4.0, warmup_steps=7, teacher_modality="lidar", options={"temperature": 2.0}
    )
    ours = of("S", {"weight": 2.0}, manifolds=["euc"])
    assert (ours.method, ours.weight, ours.weight_self, ours.curvature) == ("S", 2.0, 3.0, 0.2)
    assert ours.manifolds == ("euc",)
    with pytest.raises(RecipeError, match="m.yaml: row row: a distillation has no wieght"):
        of("kd", {"wieght": 4.0})
    with pytest.raises(RecipeError, match="m.yaml: nine has method nine, expected one of S,"):
        of("nine", {})
    with pytest.raises(RecipeError, match="m.yaml has no method kd, which the row row asks for; there are"):
        entry_of(type(row)("row", "kd", {}), {}, Path("m.yaml"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": {"x": 3}}, "row x is 3, expected a method"),
        ({"colums": {}}, "a plan has title, columns, rows, colums; expected columns, rows, title"),
        ({"columns": {"c": {"town": {}}}}, "column c: a column has town; expected title"),
        ({"columns": {"c": {"title": "A -> B", "town": {"teacher": "t.yaml"}}}}, "its town has teacher; expected"),
        ({"compare": "cells"}, "compare is 'cells', expected rows or columns"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "columns": {}, "rows": {}} | change, sort_keys=False))
    with pytest.raises(RecipeError, match=said):
        read_plan(path)


def test_files_that_are_no_plans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no plan in"):
        read_plans([tmp_path])
    with pytest.raises(RecipeError, match="absent.yaml cannot be read"):
        read_plans([tmp_path / "absent.yaml"])
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="holds neither a plan nor methods"):
        read_plan(tmp_path / "list.yaml")


def test_a_network_is_named_after_what_makes_it_special() -> None:
    names = [cell.network.label for cell in cells("table5")[:2]] + [cells("table4")[3].network.label]
    assert names == [
        "town_camera_from_lidar_S_euc", "town_camera_from_lidar_C_euc", "town_camera_from_lidar_tt_ts"
    ]  # fmt: skip
    assert isinstance(cells("table4")[0].network, Network)
