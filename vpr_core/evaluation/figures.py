"""Pictures for reports: the map with its matches, recall by condition, precision, queries beside their matches."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from vpr_core.evaluation.evaluate import Evaluation
from vpr_core.evaluation.precision_recall import PrecisionRecall, precision_recall
from vpr_core.evaluation.report import Section, write_report
from vpr_core.files import write_atomic

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend has to be chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

RIGHT, WRONG, PLACE, OFF_MAP = "#2a7f3f", "#c0392b", "#9aa5b1", "#d9a441"
STYLES = ("-", "--", ":", "-.")
MAX_CURVES = 8


def match_map(evaluation: Evaluation) -> str:
    """The places of the map and where each query was, joined by a line to a wrong best match; an SVG as a data URI.

    Green: the best match is within the radius. Red: it is not. Amber: the query has no place in the map.
    """
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    _draw_matches(axes, evaluation)
    return data_uri(figure)


def _draw_matches(axes: Axes, evaluation: Evaluation) -> None:
    result, places, queries = evaluation.result, evaluation.database.positions_m, evaluation.queries.positions_m
    axes.plot(places[:, 0], places[:, 1], ".", color=PLACE, markersize=4, label="places of the map")
    for name, color, chosen in (
        ("right", RIGHT, result.first_hit == 1),
        ("wrong", WRONG, (result.first_hit != 1) & (result.first_hit >= 0)),
        ("no place in the map", OFF_MAP, result.first_hit < 0),
    ):
        if not chosen.any():
            continue
        axes.plot(*queries[chosen, :2].T, "o", color=color, markersize=3, label=f"{name} ({int(chosen.sum())})")
        if color == WRONG:
            for query, place in zip(queries[chosen], places[result.best[chosen]], strict=True):
                axes.plot([query[0], place[0]], [query[1], place[1]], color=color, linewidth=0.5, alpha=0.4)
    axes.set(aspect="equal", xlabel="x [m]", ylabel="y [m]")
    axes.set_title(f"{evaluation.queries.session}: best matches", fontsize=9)
    axes.legend(loc="best", fontsize=7, framealpha=0.9)


def recall_bars(rows: Sequence[dict[str, object]]) -> str:
    """Recall@1 of each method by condition, as grouped bars; rows with the keys method, condition and recall."""
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    conditions = list(dict.fromkeys(str(row["condition"]) for row in rows))
    value = {
        (row["method"], row["condition"]): float(row["recall"])  # type: ignore[arg-type]
        for row in rows
        if row["recall"] is not None
    }
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        heights = [value.get((method, condition), float("nan")) for condition in conditions]
        bars = axes.bar(np.arange(len(conditions)) + number * width, heights, width * 0.92, label=method)
        axes.bar_label(bars, fmt="%.2f", fontsize=6)
    axes.set_xticks(np.arange(len(conditions)) + width * (len(methods) - 1) / 2, conditions)
    axes.set(ylim=(0, 1.08), ylabel="Recall@1")
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.24), frameon=False)
    return data_uri(figure)


def precision_recall_curves(evaluations: Sequence[Evaluation]) -> str:
    """`precision_recall_figure` as an SVG data URI."""
    return data_uri(precision_recall_figure(evaluations))


def precision_recall_figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Precision over recall, a colour for each pair of drives and a line style for each method.

    Of more than MAX_CURVES evaluations, those of one method make one curve: all their queries under one threshold.
    """
    figure, axes = plt.subplots(figsize=(7, 5), dpi=150, layout="constrained")
    pairs = list(dict.fromkeys(_drives(evaluation) for evaluation in evaluations))
    for number, method in enumerate(dict.fromkeys(evaluation.method for evaluation in evaluations)):
        own = [evaluation for evaluation in evaluations if evaluation.method == method]
        if len(evaluations) > MAX_CURVES:
            _draw_curve(axes, _together(own), f"{method}, {len(own)} pairs together", f"C{number}", "-")
            continue
        for evaluation in own:
            color, style = f"C{pairs.index(_drives(evaluation))}", STYLES[number % len(STYLES)]
            _draw_curve(axes, evaluation.precision_recall, _title(evaluation, pairs), color, style)
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
    return f"{evaluation.method}: {queries} on {database}" if several else f"{evaluation.method}: {queries}"


def _draw_curve(axes: Axes, curve: PrecisionRecall, title: str, color: str, style: str) -> None:
    if np.isnan(curve.average_precision):
        axes.plot([], [], style, color=color, label=f"{title}\nno query has a place in the map")
        return
    recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[0], curve.precision)
    axes.plot(recall, precision, style, color=color, linewidth=1.4, drawstyle="steps-pre",
              label=f"{title}\nAP {curve.average_precision:.3f}")  # fmt: skip


def write_precision_recall(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write `precision_recall_figure` as .svg, .png, or .html with the figures in a table under it."""
    if path.suffix == ".html":
        rows = [evaluation.row() for evaluation in evaluations]
        section = Section(PR_TITLE, picture=precision_recall_curves(evaluations), rows=rows)
        write_report(path, "Precision and recall of best matches", PR_SUMMARY, [section])
        return
    write_atomic(path, _rendered(precision_recall_figure(evaluations), path.suffix[1:]))


PR_TITLE = "By the similarity from which a match is accepted"
PR_SUMMARY = (
    "A best match within the radius of the query is right. A query without a place in the map has no right match: "
    "accepting its best one costs precision. Recall is the share of the other queries."
)


def overview(evaluations: Sequence[Evaluation]) -> Figure:
    """One query of each drive above the place it was matched to, and beside them the map with every right match.

    The query is the one in the middle of those that are right, so the picture shows success; `match_pairs` shows both.
    """
    figure = plt.figure(figsize=(11, 3.9), layout="constrained")
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
    _draw_matches(figure.add_subplot(grid[:, -2:]), evaluations[-1])
    return figure


def match_pairs(evaluation: Evaluation, right: bool, count: int = 3) -> list[tuple[str, str]]:
    """Evenly chosen queries whose best match is right, or wrong, each as (JPEG data URI query | match, caption)."""
    hits = evaluation.result.first_hit
    chosen = np.flatnonzero(hits == 1 if right else (hits >= 0) & (hits != 1))
    count = min(count, len(chosen))
    chosen = chosen[((np.arange(count) + 0.5) * len(chosen) / max(count, 1)).astype(int)]
    return [_pair(evaluation, int(index)) for index in chosen]


def _pair(evaluation: Evaluation, index: int) -> tuple[str, str]:
    best = int(evaluation.result.best[index])
    query, match = evaluation.queries.image(index), evaluation.database.image(best)
    match = cv2.resize(match, query.shape[1::-1], interpolation=cv2.INTER_AREA)
    gap = np.full((query.shape[0], 6, 3), 255, np.uint8)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.hstack([query, gap, match]), cv2.COLOR_RGB2BGR))[1]
    distance = np.linalg.norm(evaluation.queries.positions_m[index, :2] - evaluation.database.positions_m[best, :2])
    caption = (
        f"{evaluation.queries.session}, frame {index}: place {best}, {distance:.1f} m away, "
        f"similarity {evaluation.result.best_similarity[index]:.3f}"
    )
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}", caption


def data_uri(figure: Figure) -> str:
    """The figure as an SVG that a page can hold; the figure is closed."""
    return f"data:image/svg+xml;base64,{base64.b64encode(_rendered(figure, 'svg')).decode()}"


def _rendered(figure: Figure, format: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format)
    plt.close(figure)
    return buffer.getvalue()
