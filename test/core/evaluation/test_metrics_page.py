"""docs/metrics.md: its example is what the code computes, and it defines every figure of a row."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.evaluation.breakdown import direction_rows, nearest_places
from vpr_core.evaluation.comparison import Drives, evaluate_method
from vpr_core.evaluation.evaluate import Evaluation
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.recall import recall_of_ranks
from vpr_core.evaluation.search import SEARCH

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
MakeDrive = Callable[..., Frames]
Table = list[dict[str, str]]


def page_tables() -> list[Table]:
    """Every table of the page's example, in order."""
    example = PAGE.partition("## An example")[2].partition("\n## ")[0]
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", example, flags=re.MULTILINE):
        header, _, *lines = ([cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines())
        found.append([dict(zip(header, line, strict=True)) for line in lines])
    return found


@pytest.fixture
def example(make_drive: MakeDrive) -> list[Evaluation]:
    places, queries, *_ = page_tables()
    rows: dict[str, np.ndarray] = {}
    drives = []
    for name, table in (("map", places), ("drive", queries)):
        x_m, headings = ([float(row[column]) for row in table] for column in ("x [m]", "heading [deg]"))
        drives.append(make_drive(name, x_m, yaw_deg=headings))
        rows[name] = np.array([[float(cell) for cell in row["descriptor"].split(",")] for row in table], np.float32)
    method = Method("example", lambda drive: rows[drive.session])
    return evaluate_method(method, Drives(drives[0], (drives[1],)), 10.0, tuple(SEARCH)).evaluations


def shown(row: dict[str, object], columns: list[str]) -> dict[str, str]:
    """Cells as the page has them."""
    return {
        name: "-" if row[name] is None else row[name] if isinstance(row[name], str) else f"{row[name]:g}"
        for name in columns
    }


def test_the_example_s_figures(example: list[Evaluation]) -> None:
    _, _, figures, of_directions = page_tables()
    assert [shown(found.row(), list(figures[0])) for found in example] == figures and len(figures) == 2
    rows = [row for found in example for row in direction_rows(found)]
    assert [shown(row, list(of_directions[0])) for row in rows] == of_directions and len(of_directions) == 4


def test_the_example_s_ranks_and_nearest_places(example: list[Evaluation]) -> None:
    _, queries, *_ = page_tables()
    ranks = ["skipped" if rank < 0 else str(rank) for rank in example[0].result.first_hit]
    assert [row["rank of the true match (cosine)"] for row in queries] == ranks
    assert [row["nearest place"] for row in queries] == [str(place) for place in nearest_places(example[0])[1]]
    said = re.findall(r"\d\.\d{3}", PAGE.partition("By cosine the similarities")[2].partition(". In falling")[0])
    assert said == [f"{value:.3f}" for value in example[0].result.best_similarity]
    curve = example[0].precision_recall
    np.testing.assert_allclose(curve.precision, [1, 1, 2 / 3, 2 / 4, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 4, 2 / 4, 2 / 4, 2 / 4, 3 / 4])


def test_every_figure_is_defined(example: list[Evaluation]) -> None:
    defined = PAGE.partition("## An example")[0]
    for name in example[0].shares():
        words = name.replace("_", " ").replace("at 100 precision", "at 100 % precision")
        assert f"`{name}`" in defined or f"**{words}**" in defined or f"**{words.upper()}**" in defined, name


def test_the_rounding_rule() -> None:
    assert "k is 2 for 150 places and for 250" in PAGE.replace("\n", " ")
    rows = np.array([[0, 1, 2]])
    for places in (150, 250):
        of_second, of_third = (
            recall_of_ranks(np.zeros((1, 3)), rows, places, [np.array([true])]).at_one_percent for true in (1, 2)
        )
        assert (of_second, of_third) == (1.0, 0.0)
