"""Precision-recall pictures: one line for each method and drive, in the three formats."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from vpr_core.data.frames import Frames
from vpr_core.evaluation.evaluate import Evaluation, evaluate
from vpr_core.evaluation.figures import precision_recall_figure, rendered, write_precision_recall
from vpr_core.evaluation.pairs import evaluate_pairs

MakeDrive = Callable[..., Frames]


@pytest.fixture
def found(make_drive: MakeDrive) -> list[Evaluation]:
    """Two methods on a drive over the map and one beside it."""
    x_m = np.arange(40) * 20.0
    drives = [make_drive("map", x_m), make_drive("noon", [*x_m, 5000.0]), make_drive("elsewhere", x_m + 9000)]

    def noisy(noise: float) -> Callable[[Frames], np.ndarray]:
        def describe(drive: Frames) -> np.ndarray:
            rng = np.random.default_rng(len(drive))
            angles = np.linspace(0, 1.5, 50)[: len(drive)] + rng.normal(0, noise, len(drive))
            return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

        return describe

    return [
        evaluation
        for method, noise in (("fine", 0.002), ("coarse", 0.05))
        for evaluation in evaluate(method, noisy(noise), drives[0], drives[1:])
    ]


def lines_of(figure: Figure) -> dict[str, np.ndarray]:
    """Each line's label and its points [K, 2]."""
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in figure.axes[0].get_lines()}


def test_one_line_for_each_method_and_drive(found: list[Evaluation]) -> None:
    lines = lines_of(precision_recall_figure(found))
    fine, off_map = found[0].precision_recall, "fine: elsewhere\nno query has a place in the map"
    name = f"fine: noon\nAP {fine.average_precision:.3f}"
    assert len(lines) == 4 and not len(lines[off_map])
    np.testing.assert_array_equal(lines[name][1:], np.stack([fine.recall, fine.precision], axis=1))
    first, second = (rendered(precision_recall_figure(found), "svg") for _ in range(2))
    assert first == second and b"dc:date" not in first


def test_many_pairs_make_one_line_for_each_method(make_drive: MakeDrive) -> None:
    drives = [make_drive(name, np.arange(4) * 50.0) for name in "abcd"]
    found = evaluate_pairs("same", lambda drive: np.eye(4, dtype=np.float32), drives)
    assert list(lines_of(precision_recall_figure(found))) == ["same, 12 pairs together\nAP 1.000"]
    assert "same: b on a\nAP 1.000" in lines_of(precision_recall_figure(found[:6]))


def test_the_picture_as_a_file(found: list[Evaluation], tmp_path: Path) -> None:
    for suffix in ("svg", "png", "html"):
        write_precision_recall(tmp_path / f"pr.{suffix}", found)
    assert b"<svg" in (tmp_path / "pr.svg").read_bytes()
    picture = cv2.imread(str(tmp_path / "pr.png"))
    assert picture.shape[1] > 800 and picture.std() > 5
    page = (tmp_path / "pr.html").read_text()
    assert "data:image/svg+xml;base64," in page and "recall at 100 precision" in page and "elsewhere" in page
    embedded = page.split("data:image/svg+xml;base64,")[1].split('"')[0]
    assert b"<svg" in base64.b64decode(embedded)
