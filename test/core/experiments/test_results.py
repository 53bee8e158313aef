"""Means, spreads and gains by hand; ours beside the paper's; and what is said of the order."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr_core.errors import RecipeError
from vpr_core.experiments.cells import Cell, cells_of
from vpr_core.experiments.paper import groups_of, read_paper
from vpr_core.experiments.plans import Plan, read_plan
from vpr_core.experiments.results import gains, margins, summary
from vpr_core.experiments.sources import COLUMNS, Row, TownSource
from vpr_core.experiments.table_picture import gains_of, write_picture
from vpr_core.experiments.table_report import order_sentence, report
from vpr_core.experiments.town import CONDITIONS, OPPOSITE

ROOT = Path(__file__).parents[3]
SOURCE = TownSource(Path("runs"), [1], [2, 4])


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


@pytest.fixture
def plan() -> Plan:
    return read_plan(ROOT / "config" / "tables" / "table4.yaml")


def measured(plan: Plan, recall: dict[str, list[float]]) -> dict[Cell, list[Row]]:
    """Rows of both towns by method, with a figure for each seed; the second town is 0.1 above the first."""
    return {
        cell: [
            dict.fromkeys(COLUMNS, "")
            | {"town": str(town), "condition": condition, "method": "student alone"}
            | {"recall_at_1": str(recall[cell.row.method][seed] + (0.1 if town == 4 else 0.0))}
            for town in SOURCE.test_towns
            for condition in (*CONDITIONS, OPPOSITE)
        ]
        if (seed := cell.network.recipe.seed) < len(recall.get(cell.row.method, []))
        else []
        for cell in cells_of([plan], "town", [0, 1])
    }


def test_ours_stand_beside_the_paper_s(plan: Plan) -> None:
    rows = measured(plan, {"alone": [0.5, 0.6], "S": [0.7, 0.7], "C": [0.6, 0.6], "SC": [0.4]})
    (entries,) = groups_of(plan, rows, SOURCE).values()
    ours = {entry.row.method: (round(entry.mean(), 6), len(entry.ours)) for entry in entries if entry.ours}
    assert ours == {"alone": (60, 2), "S": (75, 2), "C": (65, 2), "SC": (45, 1)}
    assert entries[0].spread() == pytest.approx(10 / 2**0.5)
    assert entries[0].paper == {"Table 4, Boreas": {"recall_at_1": 59.3}}
    text = report([plan], rows, SOURCE)
    lines = {line.split("  ")[0]: line.split()[-7:] for line in text.splitlines() if "of 2" in line}
    assert lines["L_tt-ss (3)"] == ["of", "2", "75.0", "0.0", "61.3", "1", "3"]
    assert lines["L_tt-ts (5)"] == ["of", "2", "-", "-", "60.6", "-", "4"]
    assert lines["L_tt-ss + L_ts-ss"] == ["of", "2", "45.0", "-", "68.2", "4", "1"]
    assert "Order differs from Table 4, Boreas: Kendall tau -0.33, over 4 rows." in text
    assert (
        f"What is missing: vpr-distill tables {plan.path} --columns camera_from_lidar --methods tt_ts SC --seeds 0 1"
        in text
    )


def test_several_figures_and_data_sets_stand_side_by_side() -> None:
    plan = read_plan(ROOT / "config" / "tables" / "structvpr_table5.yaml")
    source, recall = TownSource(Path("runs"), [1], [2, 4], labelled=True), {"alone": [0.5, 0.7], "D1": [0.8, 0.8]}
    rows: dict[Cell, list[Row]] = {
        cell: [
            dict.fromkeys(source.columns, "")
            | {"town": str(town), "condition": condition, "method": "student alone"}
            | {f"recall_at_{k}": str(values[cell.network.recipe.seed] + k / 100) for k in (1, 5, 10)}
            | ({"samples_weighed": "0.04"} if cell.row.method == "D1" else {})
            for town in source.test_towns
            for condition in (*CONDITIONS, OPPOSITE)
        ]
        if (values := recall.get(cell.row.method))
        else []
        for cell in cells_of([plan], "town_labels", [0, 1])
    }
    lines = {line.split("  ")[0]: line.split("  ") for line in report([plan], rows, source).splitlines()}
    cells = {row: [cell.strip() for cell in line if cell] for row, line in lines.items()}
    assert cells["row"][:7] == ["row", "seeds", "ours", "spread", "R@5", "R@10", "samples"]
    assert cells["None"] == [
        "None", "2 of 2", "61.0", "14.1", "65.0", "70.0", "-", "75.8 / 85.3 / 87.3", "55.1 / 71.9 / 76.4", "0.0", "2",
        "8", "8",
    ]  # fmt: skip
    assert cells["D1 {x<=N_t<y}"][2:7] == ["81.0", "0.0", "85.0", "90.0", "4.0"]
    assert cells["All"][1:7] == ["0 of 2", "-", "-", "-", "-", "-"]


def test_conditions_stand_in_the_place_of_data_sets() -> None:
    plan = read_plan(ROOT / "config" / "tables" / "structvpr_table2.yaml")
    source, others = TownSource(Path("runs"), [1], [2], labelled=True), {"dusk": "0.5", "noon": "0.9"}
    rows: dict[Cell, list[Row]] = {
        cell: [
            {
                "town": "2",
                "condition": condition,
                "method": "student alone",
                "recall_at_1": others.get(condition, "0.3"),
            }
            for condition in (*CONDITIONS, OPPOSITE)
        ]
        for cell in cells_of([plan], "town_labels", [0])
    }
    text = report([plan], rows, source)
    (heads, *cells) = text.split("R@1 by condition of the queries, the map at noon\n")[1].splitlines()[:5]
    assert heads.split() == ["row", *CONDITIONS, OPPOSITE]
    assert [cell.split("  ")[0] for cell in cells] == ["NetVLAD", "GeM", "RGB", "StructVPR (A)"]
    assert cells[2].split() == ["RGB", "90.0", "50.0", *["30.0"] * 6]
    assert "SFRS" in text and "its table it is 24.8" in text


def test_the_order_is_said_plainly() -> None:
    paper = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.0}
    assert order_sentence("T", {"a": 0.3, "b": 0.2, "c": 0.1}, paper) == "Order as in T, over 3 rows."
    said = order_sentence("T", {"a": 0.2, "b": 0.3, "c": 0.1}, paper)
    assert said.splitlines()[0] == "Order differs from T: Kendall tau 0.33, over 3 rows."
    assert said.splitlines()[1:] == ["  ours:        b > a > c", "  the paper's: a > b > c"]
    assert order_sentence("T", {"a": 0.2}, paper) == ""
    equal = order_sentence("T", dict.fromkeys("abc", 0.5), paper)
    assert "all rows are equal here or there" in equal and "ours:        a = b = c" in equal


def test_the_picture_shows_gains_over_the_same_seeds(plan: Plan, tmp_path: Path) -> None:
    rows = measured(plan, {"alone": [0.5, 0.6], "S": [0.7, 0.7], "SC": [0.4]})
    (entries,) = groups_of(plan, rows, SOURCE).values()
    found = gains_of(entries)
    assert list(found) == ["L_tt-ss (3)", "L_tt-ss + L_ts-ss"]
    assert found["L_tt-ss (3)"]["ours"] == pytest.approx([20, 10])
    assert found["L_tt-ss + L_ts-ss"]["ours"] == pytest.approx([-10])
    assert found["L_tt-ss (3)"]["Table 4, Boreas"] == pytest.approx([2.0])
    write_picture(tmp_path / "gains.svg", [plan], rows, SOURCE)
    assert "L_tt-ss" in (tmp_path / "gains.svg").read_text()
    with pytest.raises(RecipeError, match="nothing to draw"):
        write_picture(tmp_path / "none.svg", [plan], measured(plan, {}), SOURCE)


def test_tables_of_the_paper_are_read_and_others_refused(tmp_path: Path) -> None:
    paths = sorted((ROOT / "tables" / "paper").glob("distilvpr_table*.csv"))
    tables = [table for path in paths for table in read_paper(path).values()]
    assert list(map(len, tables)) == [48, 48, 48, 5, 21, 6]
    assert tables[1]["MinkLoc++ -> MinkLoc++2D", "DistilVPR-SC"] == {"recall_at_1": 67.2}
    groups = read_paper(ROOT / "tables" / "paper" / "structvpr_table5.csv")
    assert {name: len(table) for name, table in groups.items()} == {"MSLS val": 10, "MSLS challenge": 10}
    assert groups["MSLS val"]["", "D4 {x>N_t}"] == {
        "recall_at_1": 71.6, "recall_at_5": 83.7, "recall_at_10": 85.1, "samples_weighed": 30.45
    }  # fmt: skip
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RecipeError, match="no table of a paper"):
        read_paper(tmp_path / "bad.csv")
