"""How StructVPR's Figs. 1, 5 and 6 are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vpr_core.data.frames import Frames
from vpr_core.evaluation.svg import ACCENT, BAR, INK, MUTED, OFF, RIGHT, WRONG, styled
from vpr_core.experiments.labelled import CLASS_TABLE
from vpr_core.experiments.paper import Entry
from vpr_core.structvpr.partition import GROUP_NAMES, group_masks
from vpr_core.structvpr.slme import GROUPS, IGNORED, class_table

GROUP_COLORS = dict(zip(GROUP_NAMES, (ACCENT, RIGHT, OFF, WRONG), strict=True))
LABEL_COLORS = ("#4b8b3b", "#c2362b", "#9cc9e8", "#9a9a9a", "#8c6d4f", "#e0b040")
"""Of slme.GROUPS, in their order; what belongs to none is black."""
BINS = 10
"""Of ranks, for a factor of ten, beyond those up to N_t, which have one each."""
PANEL_IN = 5.2


@dataclass(frozen=True)
class Ranks:
    """What two branches make of the same samples."""

    title: str
    teacher: np.ndarray
    """x [S] by the segmentation branch, infinite where never retrieved."""
    student: np.ndarray
    """y [S] by the RGB branch."""
    n_t: int


@dataclass(frozen=True)
class Choice:
    """A query and what two networks took it for."""

    queries: Frames
    query: int
    database: Frames
    best: tuple[int, int]
    """Rows of the database: by the RGB branch, by the student."""
    right: tuple[bool, bool]


def ranks_figure(panels: Sequence[Ranks]) -> Figure:
    """Fig. 1: who wins where. Squares grow with the number of samples of these two ranks, coloured by D1 to D4."""
    with styled():
        figure = Figure(figsize=(PANEL_IN * len(panels), PANEL_IN + 0.3), layout="constrained")
        for axes, panel in zip(np.ravel(figure.subplots(1, len(panels), squeeze=False)), panels, strict=True):
            _draw_ranks(axes, panel)
    return figure


def _draw_ranks(axes: Axes, panel: Ranks) -> None:
    ranks = np.concatenate([panel.teacher, panel.student])
    largest = int(np.max(ranks[np.isfinite(ranks)], initial=panel.n_t + 1))
    edges = rank_edges(largest, panel.n_t)
    columns, rows = (np.digitize(branch, edges) - 1 for branch in (panel.teacher, panel.student))
    masks = group_masks(panel.teacher, panel.student, panel.n_t)
    counts = {name: _counted(columns[masks[name]], rows[masks[name]], len(edges)) for name in GROUP_NAMES}
    most = max(1, *(int(count.max()) for count in counts.values()))
    cell_pt = 0.75 * 72 * PANEL_IN / len(edges)
    for name, count in counts.items():
        row, column = np.nonzero(count)
        side_pt = cell_pt * (0.2 + 0.7 * np.sqrt(count[row, column] / most))
        axes.scatter(column, row, side_pt**2, marker="s", color=GROUP_COLORS[name], linewidths=0)
    for line in (axes.axhline, axes.axvline):
        line(panel.n_t - 0.5, color=MUTED, linewidth=0.8, linestyle="--")
    _mark_ranks(axes, edges, panel.n_t, largest, bool(np.isinf(ranks).any()))
    axes.set_title(f"{panel.title} ({len(columns)})", fontsize=10)
    shares = [Patch(color=GROUP_COLORS[name], label=f"{name}: {masks[name].mean():.1%}") for name in GROUP_NAMES]
    axes.legend(handles=shares, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False)


def _mark_ranks(axes: Axes, edges: np.ndarray, n_t: int, largest: int, has_never: bool) -> None:
    """The same ticks on both axes."""
    shown = sorted(rank for rank in {1, 10, n_t, 100, 1000} if rank <= largest)
    ticks = [int(np.digitize(rank, edges)) - 1 for rank in shown] + [len(edges) - 1] * has_never
    names = [f"N_t = {rank}" if rank == n_t else str(rank) for rank in shown] + ["never"] * has_never
    axes.set(xlabel="rank by the segmentation branch, x", ylabel="rank by the RGB branch, y", aspect="equal")
    axes.set(xlim=(-1, len(edges)), ylim=(-1, len(edges)))
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)


def rank_edges(largest: int, n_t: int) -> np.ndarray:
    """Where bins of ranks begin: each rank up to n_t has one, then they widen; the last is of what comes never."""
    steps = n_t * 10 ** (np.arange(1, 10 * BINS) / BINS)
    wide = np.unique(np.round(steps[steps <= max(largest, n_t + 1)]))
    return np.array([*range(1, n_t + 1), n_t + 1, *wide[wide > n_t + 1], np.inf])


def _counted(columns: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """int [size, size]: how many samples lie in each pair of bins, by row and column."""
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


def pairs_figure(choices: Sequence[Choice]) -> Figure:
    """Fig. 5: each query beside its label map, and what the RGB branch and the student took it for, right or wrong."""
    heads = ("query", "its label map", "RGB alone", "student (KD)")
    with styled():
        figure = Figure(figsize=(8.4, 1.75 * max(len(choices), 1) + 0.7), dpi=110, layout="constrained")
        grid = figure.subplots(max(len(choices), 1), len(heads), squeeze=False)
        for row, choice in zip(grid, choices, strict=False):
            row[0].imshow(choice.queries.image(choice.query))
            row[0].set_ylabel(choice.queries.session.replace("_query_", ",\n"), fontsize=9, color=INK)
            row[1].imshow(groups_of_labels(choice.queries.label(choice.query)), cmap=_palette(), vmin=0, vmax=6)
            for axes, best, right in zip(row[2:], choice.best, choice.right, strict=True):
                axes.imshow(choice.database.image(best))
                _frame(axes, RIGHT if right else WRONG, f"place {best}, {'right' if right else 'wrong'}")
        for axes, head in zip(grid[0], heads, strict=True):
            axes.set_title(head, fontsize=10)
        for axes in grid.ravel():
            axes.set(xticks=[], yticks=[])
        patches = [Patch(color=color, label=name) for name, color in zip(GROUPS, LABEL_COLORS, strict=True)]
        figure.legend(handles=patches, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def _frame(axes: Axes, color: str, text: str) -> None:
    for side in axes.spines.values():
        side.set(visible=True, color=color, linewidth=3.0)
    axes.set_xlabel(text, fontsize=8, color=color)


def groups_of_labels(labels: np.ndarray) -> np.ndarray:
    """uint8 [H, W]: the number of each pixel's group, 6 where it has none."""
    table = np.full(IGNORED + 1, len(GROUPS), np.uint8)
    table[: len(class_table(CLASS_TABLE).groups)] = [GROUPS.index(group) for group in class_table(CLASS_TABLE).groups]
    return table[labels]


def _palette() -> ListedColormap:
    return ListedColormap([*LABEL_COLORS, "#000000"])


def label_map_bars(entries: Sequence[Entry]) -> Figure:
    """Fig. 6: Recall@1 by label map, of the segmentation branch and of its student, with the spread of the seeds.

    Entries are called "SEG: six groups", "KD: six groups"; what has not been measured has no bar.
    """
    named = {entry.name: entry for entry in entries if entry.ours}
    maps = list(dict.fromkeys(name.partition(": ")[2] for name in named))
    series = {"SEG": ("the segmentation branch alone", BAR), "KD": ("the RGB student that learns from it", ACCENT)}
    with styled():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for number, (kind, (title, color)) in enumerate(series.items()):
            found = [(place, named[f"{kind}: {name}"]) for place, name in enumerate(maps) if f"{kind}: {name}" in named]
            places = [place + (number - 0.5) * 0.4 for place, _ in found]
            means, spreads = [entry.mean() for _, entry in found], [np.nan_to_num(e.spread()) for _, e in found]
            axes.bar(places, means, 0.38, color=color, label=title)
            axes.errorbar(places, means, spreads, fmt="none", ecolor=INK, capsize=2, linewidth=0.9)
            for place, mean, spread in zip(places, means, spreads, strict=True):
                axes.annotate(
                    f"{mean:.1f}", (place, mean + spread), (0, 3), textcoords="offset points", ha="center", fontsize=8
                )
        axes.set(ylabel="Recall@1 [%]", ylim=(0, 100))
        axes.set_xticks(range(len(maps)), maps)
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    return figure
