"""Tables as text: ours beside the paper's, where the order of the methods differs, and what is still to be made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from scipy.stats import kendalltau, rankdata

from vpr_core.evaluation.evaluate import table_text
from vpr_core.experiments.cells import Cell
from vpr_core.experiments.cost import cost_text
from vpr_core.experiments.data_sets import drives_text
from vpr_core.experiments.paper import RECALL, Entry, groups_of
from vpr_core.experiments.plans import FIGURES, Plan
from vpr_core.experiments.results import tables_text
from vpr_core.experiments.sources import Row, Source

ABSENT = "-"
"""In a cell that has no figure."""


def report(
    plans: Sequence[Plan],
    rows: Mapping[Cell, Sequence[Row]],
    source: Source,
    details: bool = False,
) -> str:
    """Every table of the plans. details: also recall by town and condition, and gains run by run."""
    parts = [f"ours: {source.says};\nspread: its standard deviation over the seeds; of the paper AR@1, or R@1 [%]"]
    for plan in plans:
        of_plan = {cell: found for cell, found in rows.items() if cell.plan is plan}
        if plan.shows == "recall":
            parts += _of_recall(plan, of_plan, source, details)
        else:
            map_drive = source.drives.described[0]
            shown = drives_text(source) if plan.shows == "drives" else cost_text(plan, list(of_plan), map_drive)
            parts.append("\n".join(filter(None, [f"{plan.path.stem}, {plan.title}", shown, plan.note])))
    return "\n\n".join(parts)


def _of_recall(plan: Plan, rows: Mapping[Cell, Sequence[Row]], source: Source, details: bool) -> list[str]:
    parts = []
    for title, entries in groups_of(plan, rows, source).items():
        conditions = by_condition(entries) if plan.by_condition else ""
        heading = ", ".join(dict.fromkeys((plan.path.stem, plan.title, title)))
        shown = [heading, beside_paper(entries, plan.figures), conditions, plan.note]
        parts.append("\n".join(filter(None, shown)))
        of_group = {cell: found for cell, found in rows.items() if _is_of(cell, entries)}
        if command := missing_command(plan, entries, of_group, source):
            parts.append(f"What is missing: {command}")
        if details and (found := list({tuple(row.items()): row for rows in of_group.values() for row in rows})):
            parts.append(tables_text([dict(row) for row in found]))
    return parts


def _is_of(cell: Cell, entries: Iterable[Entry]) -> bool:
    return any((cell.column, cell.row) == (entry.column, entry.row) for entry in entries)


def beside_paper(entries: Sequence[Entry], figures: Sequence[str] = (RECALL,)) -> str:
    """One group: its table, and a sentence on the order for each table of the paper.

    figures: of plans.FIGURES; cells are ranked by Recall@1.
    """
    ranked = [entry for entry in entries if entry.is_ranked]
    tables = list(dict.fromkeys(table for entry in entries for table in entry.paper))
    ours = {entry.name: entry.mean() for entry in ranked if entry.ours}
    papers = {table: _of_table(table, ranked) for table in tables}
    ranks = {"ours": _ranks(ours), **{table: _ranks(values) for table, values in papers.items()}}
    lines = [
        {
            "row": entry.name,
            "seeds": f"{len(entry.ours)} of {entry.seeds}" if entry.seeds else ABSENT,
            "ours": _shown(entry.mean()),
            "spread": _shown(entry.spread()),
            **{FIGURES[figure]: _shown(entry.mean(figure)) for figure in figures[1:]},
            **{_titled(table, figures): _paper_cell(entry, table, figures) for table in tables},
            **({"samples, paper": _shown(_of_paper(entry, "samples_weighed"))} if "samples_weighed" in figures else {}),
            **{f"rank, {table}": str(of.get(entry.name, ABSENT)) for table, of in ranks.items()},
        }
        for entry in entries
    ]
    sentences = [order_sentence(table, ours, values) for table, values in papers.items()]
    return "\n".join([table_text(lines, list(lines[0])), *filter(None, sentences)])


def _of_table(table: str, entries: Sequence[Entry]) -> dict[str, float]:
    """The paper's Recall@1 by the name of the entry."""
    return {entry.name: value for entry in entries if (value := entry.recall_of(table)) is not None}


def _titled(table: str, figures: Sequence[str]) -> str:
    """With the figures that stand in its column, "MSLS val R@1 / R@5 / R@10", where there are several."""
    names = [FIGURES[figure] for figure in figures if figure.startswith("recall")]
    return table if len(names) == 1 else f"{table} {' / '.join(names)}"


def _paper_cell(entry: Entry, table: str, figures: Sequence[str]) -> str:
    of_entry = entry.paper.get(table)
    shown = [_shown((of_entry or {}).get(figure, math.nan)) for figure in figures if figure.startswith("recall")]
    return " / ".join(shown) if of_entry else ABSENT


def _of_paper(entry: Entry, figure: str) -> float:
    return next((figures[figure] for figures in entry.paper.values() if figure in figures), math.nan)


def by_condition(entries: Sequence[Entry]) -> str:
    """Recall@1 of each entry under each condition, the mean over its seeds."""
    names = list(dict.fromkeys(name for entry in entries for of in entry.conditions.values() for name in of))
    lines = [
        {"row": entry.name, **{name: _shown(_mean([of[name] for of in entry.conditions.values() if name in of]))
                               for name in names}}
        for entry in entries if entry.conditions
    ]  # fmt: skip
    return "R@1 by condition of the queries, the map at noon\n" + table_text(lines, list(lines[0])) if lines else ""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _shown(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.1f}"


def _ranks(values: Mapping[str, float]) -> dict[str, int]:
    """1 for the highest; equals share the better rank."""
    ranks = rankdata([-value for value in values.values()], method="min") if values else []
    return {name: int(rank) for name, rank in zip(values, ranks, strict=True)}


def order_sentence(table: str, ours: Mapping[str, float], paper: Mapping[str, float]) -> str:
    """Whether the rows that both have come in the same order; empty where those are fewer than two."""
    both = [name for name in paper if name in ours]
    if len(both) < 2:
        return ""
    tau = float(kendalltau([ours[name] for name in both], [paper[name] for name in both]).statistic)
    if tau == 1:
        return f"Order as in {table}, over {len(both)} rows."
    apart = "all rows are equal here or there" if math.isnan(tau) else f"Kendall tau {tau:.2f}"
    return (
        f"Order differs from {table}: {apart}, over {len(both)} rows.\n"
        f"  ours:        {_ordered(both, ours)}\n  the paper's: {_ordered(both, paper)}"
    )


def _ordered(names: Sequence[str], values: Mapping[str, float]) -> str:
    """The highest first, "a > b = c"."""
    names = sorted(names, key=lambda name: -values[name])
    signs = (" = " if values[one] == values[other] else " > " for one, other in zip(names, names[1:], strict=False))
    return names[0] + "".join(sign + name for sign, name in zip(signs, names[1:], strict=True))


def missing_command(
    plan: Plan,
    entries: Sequence[Entry],
    rows: Mapping[Cell, Sequence[Row]],
    source: Source,
) -> str:
    """The command that makes what the entries lack; empty where they lack nothing."""
    missing = [entry for entry in entries if len(entry.ours) < entry.seeds]
    if not missing:
        return ""
    options: dict[str, Iterable[object]] = {
        "columns": dict.fromkeys(entry.column.name for entry in missing),
        "methods": dict.fromkeys(entry.row.method for entry in missing if entry.seeds),
        "seeds": dict.fromkeys(cell.network.recipe.seed for cell in rows),
    }
    words = [f"--{name} {' '.join(map(str, values))}" for name, values in options.items()]
    return " ".join(["vpr-distill tables", str(plan.path), *words, source.options])
