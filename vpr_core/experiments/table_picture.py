"""What each method adds to the student alone, drawn beside what it adds in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpr_core.errors import RecipeError
from vpr_core.evaluation.figures import rendered
from vpr_core.experiments.cells import Cell
from vpr_core.experiments.paper import Entry, groups_of
from vpr_core.experiments.plans import ALONE, TEACHER, Plan
from vpr_core.experiments.sources import Row, Source
from vpr_core.files import write_atomic


def write_picture(path: Path, plans: Sequence[Plan], rows: Mapping[Cell, Sequence[Row]], source: Source) -> None:
    """Write `gain_figure` as .svg or .png."""
    groups = {
        f"{plan.path.stem}, {title}": entries
        for plan in plans
        if plan.shows == "recall"
        for title, entries in groups_of(plan, rows, source).items()
    }
    write_atomic(path, rendered(gain_figure(groups), path.suffix[1:]))


def gain_figure(groups: Mapping[str, Sequence[Entry]]) -> Figure:
    """A panel for each group whose student alone was measured, with bars for ours and every table of the paper.

    Raises RecipeError where there is none.
    """
    drawn = {title: gains for title, entries in groups.items() if (gains := gains_of(entries))}
    if not drawn:
        raise RecipeError(
            "there is nothing to draw: no column has figures of a student alone and of one with a teacher"
        )
    figure = Figure(figsize=(9, 3.6 * len(drawn)), dpi=120, layout="constrained")
    for axes, (title, gains) in zip(np.ravel(figure.subplots(len(drawn), squeeze=False)), drawn.items(), strict=True):
        _draw(axes, title, gains)
    return figure


Gains = dict[str, dict[str, np.ndarray]]
"""By method and by "ours" or table of the paper: points of recall over the student alone, of each seed."""


def gains_of(entries: Sequence[Entry]) -> Gains:
    """Ours by the seeds that both have; empty without a student alone, or with nothing beside it."""
    alone = next((entry for entry in entries if entry.row.method == ALONE), None)
    gains: Gains = {}
    for entry in entries:
        if alone is None or entry.row.method == TEACHER or entry is alone:
            continue
        own, without = entry.of(), alone.of()
        if seeds := [seed for seed in own if seed in without]:
            ours = np.array([own[seed] - without[seed] for seed in seeds])
            papers = {
                name: np.array([value - of_alone])
                for name in entry.paper
                if (value := entry.recall_of(name)) is not None and (of_alone := alone.recall_of(name)) is not None
            }
            gains[entry.name] = {"ours": ours, **papers}
    return gains


def _draw(axes: Axes, title: str, gains: Gains) -> None:
    sources = list(dict.fromkeys(name for of in gains.values() for name in of))
    width = 0.8 / len(sources)
    for number, source in enumerate(sources):
        values = [of.get(source, np.array([np.nan])) for of in gains.values()]
        places = np.arange(len(gains)) + (number - (len(sources) - 1) / 2) * width
        label = "ours, with the spread of the seeds" if source == "ours" else source
        axes.bar(places, [value.mean() for value in values], width, label=label, color=f"C{number}")
        if source == "ours":
            spread = [value.std(ddof=1) if len(value) > 1 else 0.0 for value in values]
            axes.errorbar(places, [value.mean() for value in values], spread, fmt="none", ecolor="black", capsize=2)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(gains)), list(gains), rotation=30, ha="right", fontsize=8)
    axes.set_ylabel("points over the student alone", fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7)
