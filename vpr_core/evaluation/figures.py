"""Pictures as files of their own: precision over recall, and an overview of what was matched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpr_core.evaluation.evaluate import Evaluation, by_method
from vpr_core.evaluation.maps import draw_matches
from vpr_core.evaluation.precision_recall import PrecisionRecall, precision_recall
from vpr_core.evaluation.report import Section, write_report
from vpr_core.files import write_atomic

STYLES = ("-", "--", ":", "-.")
MAX_CURVES = 8


def precision_recall_figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Precision over recall, a colour for each pair of drives and a line style for each method.

    Of more than MAX_CURVES evaluations, those of one method make one curve: all their queries under one threshold.
    """
    figure = Figure(figsize=(7, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    pairs = list(dict.fromkeys(_drives(evaluation) for evaluation in evaluations))
    for number, (method, own) in enumerate(by_method(evaluations).items()):
        if len(evaluations) > MAX_CURVES:
            _draw_curve(axes, _together(own), f"{method}, {len(own)} pairs together", f"C{number}", "-")
            continue
        for evaluation in own:
            color, style = f"C{pairs.index(_drives(evaluation))}", STYLES[number % len(STYLES)]
            _draw_curve(axes, evaluation.precision_recall, f"{method}: {_title(evaluation, pairs)}", color, style)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _together(evaluations: Sequence[Evaluation]) -> PrecisionRecall:
    results = [evaluation.result for evaluation in evaluations]
    similarity = np.concatenate([result.best_similarity for result in results])
    return precision_recall(similarity, np.concatenate([result.first_hit for result in results]))


def _drives(evaluation: Evaluation) -> tuple[str, str]:
    return evaluation.database.session, evaluation.queries.session


def _title(evaluation: Evaluation, pairs: Sequence[tuple[str, str]]) -> str:
    database, queries = _drives(evaluation)
    several = len({known for known, _ in pairs}) > 1
    return f"{queries} on {database}" if several else queries


def _draw_curve(axes: Axes, curve: PrecisionRecall, title: str, color: str, style: str) -> None:
    if curve.absent:
        axes.plot([], [], style, color=color, label=f"{title}\n{curve.absent}")
        return
    recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[0], curve.precision)
    axes.plot(recall, precision, style, color=color, linewidth=1.4, drawstyle="steps-pre",
              label=f"{title}\nAP {curve.average_precision:.3f}")  # fmt: skip


def write_precision_recall(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write `precision_recall_figure` as .svg, .png, or .html with the figures in a table under it."""
    if path.suffix == ".html":
        rows = [evaluation.row() for evaluation in evaluations]
        svg = base64.b64encode(rendered(precision_recall_figure(evaluations), "svg")).decode()
        picture = f"data:image/svg+xml;base64,{svg}"
        section = Section(PR_TITLE, picture=picture, picture_text=PR_TITLE, rows=rows)
        write_report(path, "Precision and recall of best matches", PR_SUMMARY, [section])
        return
    write_atomic(path, rendered(precision_recall_figure(evaluations), path.suffix[1:]))


PR_TITLE = "By the similarity from which a match is accepted"
PR_SUMMARY = (
    "A best match within the radius of the query is right. A query without a place in the map has no right match: "
    "accepting its best one costs precision. Recall is the share of the other queries."
)


def overview(evaluations: Sequence[Evaluation]) -> Figure:
    """One query of each drive above the place it was matched to, and beside them the map with every right match.

    The query is the one in the middle of those that are right, so the picture shows success;
    `pictures.wrong_pairs` shows the rest.
    """
    figure = Figure(figsize=(2.4 * len(evaluations) + 3.9, 3.9), dpi=100, layout="constrained")
    grid = figure.add_gridspec(2, len(evaluations) + 2)
    for column, evaluation in enumerate(evaluations):
        right = np.flatnonzero(evaluation.result.first_hit == 1)
        query = int(right[len(right) // 2]) if len(right) else 0
        best = int(evaluation.result.best[query])
        title = f"{evaluation.queries.session}: R@1 {evaluation.result.at[1]:.2f}"
        for row, (drive, index, text) in enumerate(
            ((evaluation.queries, query, title), (evaluation.database, best, f"place {best}"))
        ):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(drive.image(index))
            axes.set_title(text, fontsize=8)
            axes.axis("off")
    draw_matches(figure.add_subplot(grid[:, -2:]), evaluations[-1])
    return figure


def rendered(figure: Figure, format: str) -> bytes:
    """The figure as the bytes of a file; the same bytes for the same figure."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else None
    with rc_context({"svg.hashsalt": "figure"}):
        figure.savefig(buffer, format=format, metadata=metadata)
    return buffer.getvalue()
