"""A drive seen from above with the loops that were closed, and those that were not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from vpr_core.evaluation.loop_closures import Judged, LoopEvaluation
from vpr_core.evaluation.svg import BAR, INK, OFF, RIGHT, WIDTH_IN, WRONG, blank, styled
from vpr_core.retrieval.loop_closure import LoopAnswer


def draw_loops(found: Sequence[LoopAnswer], evaluation: LoopEvaluation, title: str, path: Path) -> Path:
    """Write the picture: the way, accepted closures as lines from query to place, and loops that none was accepted for.

    found: every answer of the drive, with poses. path: ends in .svg or .png.
    """
    way_m = np.array([answer.pose.position_m[:2] for answer in found if answer.pose is not None]).reshape(-1, 2)
    extent_m = np.ptp(way_m, axis=0) if len(way_m) else np.ones(2)
    with styled():
        figure, axes = blank(float(np.clip(WIDTH_IN * extent_m[1] / max(extent_m[0], 1.0), 2.0, 1.3 * WIDTH_IN)) + 0.8)
        axes.plot(*way_m.T, color=BAR, linewidth=2.0)
        kinds = _kinds(evaluation)
        for name, (colour, marker) in {"right": (RIGHT, "."), "wrong": (WRONG, "x"), "missed": (OFF, "o")}.items():
            _draw(axes, kinds[name], colour, marker, name, joined=name != "missed")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xlabel="x [m]", ylabel="y [m]")
        axes.set_title(title, color=INK, fontsize=10.0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
        figure.savefig(path, dpi=150)
    return path


def _kinds(evaluation: LoopEvaluation) -> dict[str, list[Judged]]:
    accepted = [one for one in evaluation.judged if one.accepted]
    return {
        "right": [one for one in accepted if one.right],
        "wrong": [one for one in accepted if not one.right],
        "missed": [one for one in evaluation.judged if not one.accepted and one.first_hit >= 0],
    }


def _draw(axes: Axes, judged: list[Judged], colour: str, marker: str, name: str, joined: bool) -> None:
    queries_m = [one.answer.pose.position_m[:2] for one in judged if one.answer.pose is not None]
    for one, query_m in zip(judged, queries_m, strict=True):
        match = one.answer.recognition.accepted
        if joined and match is not None and match.pose is not None:
            place_m = match.pose.position_m
            axes.plot([query_m[0], place_m[0]], [query_m[1], place_m[1]], color=colour, linewidth=0.8)
    points_m = np.array(queries_m).reshape(-1, 2)
    hollow = "none" if marker == "o" else "full"
    axes.plot(*points_m.T, marker, color=colour, markersize=5, fillstyle=hollow, label=f"{name} ({len(judged)})")
