"""The map of a report: where the queries were, and what they were taken for."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from vpr_core.evaluation.evaluate import Evaluation, rounded
from vpr_core.evaluation.report import Chart
from vpr_core.evaluation.svg import BAR, INK, OFF, RIGHT, WIDTH_IN, WRONG, blank, inline_svg, styled

MAX_MARKS = 1000
"""Of each kind on a map; of more, evenly chosen ones are drawn."""
MAX_ROWS = 40
"""Of the table behind a map."""


def match_map(evaluation: Evaluation, title: str) -> Chart:
    """Places of the map and the queries, a wrong one joined by a line to the place it was taken for.

    The table behind it lists the wrong ones, the most similar first.
    """
    extent_m = np.ptp(np.vstack([evaluation.database.positions_m, evaluation.queries.positions_m])[:, :2], axis=0)
    with styled():
        figure, axes = blank(float(np.clip(WIDTH_IN * extent_m[1] / max(extent_m[0], 1.0), 1.2, 1.3 * WIDTH_IN)))
        draw_matches(axes, evaluation)
    counts = {name: int(chosen.sum()) for name, chosen in _kinds(evaluation).items()}
    text = f"{counts['right']} right, {counts['wrong']} wrong, {counts['off']} without a place in the map"
    if max(counts.values()) > MAX_MARKS:
        text += f"; of each at most {MAX_MARKS} are drawn"
    svg = inline_svg(figure, f"Map of {title}: {text}")
    return Chart(title, svg, _wrong_rows(evaluation), text)


def draw_matches(axes: Axes, evaluation: Evaluation) -> None:
    """Draw the map of `match_map` with a bar of scale."""
    kinds, best = _kinds(evaluation), evaluation.result.best
    places_m, queries_m = evaluation.database.positions_m, evaluation.queries.positions_m
    axes.plot(*_with_gaps(places_m[:, :2]).T, color=BAR, linewidth=2.5, solid_capstyle="round")
    wrong = kinds["wrong"]
    for query, place in zip(_marks(queries_m, wrong), _marks(places_m[best], wrong), strict=True):
        axes.plot([query[0], place[0]], [query[1], place[1]], color=WRONG, linewidth=0.6)
    axes.plot(*_marks(queries_m, kinds["right"]).T, ".", color=RIGHT, markersize=4)
    axes.plot(*_marks(queries_m, kinds["off"]).T, "^", color=OFF, markersize=5, fillstyle="none")
    axes.plot(*_marks(queries_m, wrong).T, "x", color=WRONG, markersize=5, markeredgewidth=1.5)
    axes.set_aspect("equal", adjustable="datalim")
    axes.axis("off")
    _scale_bar(axes, float(np.ptp(np.vstack([places_m, queries_m])[:, :2], axis=0).max()))


def _kinds(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """bool [M] each: which queries are right, wrong, and off the map."""
    right, off = evaluation.result.first_hit == 1, evaluation.result.first_hit < 0
    return {"right": right, "wrong": ~right & ~off, "off": off}


def _with_gaps(line_m: np.ndarray) -> np.ndarray:
    """The points [N, 2] with NaN between neighbours that are no neighbours in the drive."""
    step_m = np.linalg.norm(np.diff(line_m, axis=0), axis=1)
    jumps = np.flatnonzero(step_m > max(8.0 * float(np.median(step_m)) if len(step_m) else 0.0, 20.0))
    return np.insert(line_m, jumps + 1, np.nan, axis=0)


def _marks(points_m: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    points = points_m[chosen, :2]
    return points[:: max(-(-len(points) // MAX_MARKS), 1)]


def _scale_bar(axes: Axes, extent_m: float) -> None:
    """A bar of about a fifth of the map, in a round number of metres."""
    power = 10.0 ** np.floor(np.log10(max(extent_m, 5.0) / 5))
    length_m = power * max(step for step in (1, 2, 5) if step * power <= max(extent_m, 5.0) / 5 * 1.001)
    left, (bottom, top) = axes.get_xlim()[0], axes.get_ylim()
    y = bottom - 0.03 * (top - bottom)
    axes.plot([left, left + length_m], [y, y], color=INK, linewidth=1.2, solid_capstyle="butt")
    axes.annotate(
        f"{length_m:g} m", (left + length_m, y), (4, 0), textcoords="offset points", va="center", fontsize=9.0
    )


def _wrong_rows(evaluation: Evaluation) -> list[dict[str, object]]:
    result = evaluation.result
    queries = np.flatnonzero(_kinds(evaluation)["wrong"])
    queries = queries[np.argsort(-result.best_similarity[queries], kind="stable")][:MAX_ROWS]
    gap_m = evaluation.queries.positions_m[queries, :2] - evaluation.database.positions_m[result.best[queries], :2]
    return [
        {"wrong query": int(query), "taken for place": int(result.best[query]), "metres away": round(float(away), 1),
         "similarity": rounded(float(result.best_similarity[query])), "first right rank": int(result.first_hit[query])
         or None}
        for query, away in zip(queries, np.linalg.norm(gap_m, axis=1), strict=True)
    ]  # fmt: skip
