"""Sections of a report on evaluations of one method."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from vpr_core.evaluation.breakdown import (
    OPPOSITE_DEG,
    SAME_DEG,
    direction_rows,
    pooled,
    pooled_direction_rows,
    recall_by_direction,
    recall_by_distance,
    recall_of_all,
)
from vpr_core.evaluation.charts import latency_chart, precision_recall_chart, share_bars
from vpr_core.evaluation.evaluate import Evaluation, by_method
from vpr_core.evaluation.maps import match_map
from vpr_core.evaluation.pictures import BIRDS_EYE_M, SHOW, right_pairs, wrong_pairs
from vpr_core.evaluation.report import Section

MAX_DRIVES = 8
"""Pairs of drives that are drawn one by one; of more, those with the lowest recall."""
WRONG, RIGHT = 3, 1
"""Pairs shown of each pair of drives."""


def titles(evaluations: Sequence[Evaluation]) -> list[str]:
    """Short names of the pairs of drives: the words in which the sessions differ.

    Of town2_query_noon and town2_query_fog these are noon and fog. Where several drives were the map, it is named.
    """
    queries = _short([evaluation.queries.session for evaluation in evaluations])
    if len({evaluation.database.folder for evaluation in evaluations}) == 1:
        return queries
    known = _short([evaluation.database.session for evaluation in evaluations])
    return [f"{asked} on {name}" for asked, name in zip(queries, known, strict=True)]


def _short(names: Sequence[str]) -> list[str]:
    """The names without the words, between underscores, that all of them begin with."""
    if len(set(names)) < 2:
        return list(names)
    begin = os.path.commonprefix(list(names)).rpartition("_")
    return [name[len(begin[0] + begin[1]) :] or name for name in names]


def drawn(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, str]]:
    """The evaluations that are drawn one by one, with their titles."""
    named = list(zip(evaluations, titles(evaluations), strict=True))
    if len(named) <= MAX_DRIVES:
        return named
    return sorted(named, key=lambda pair: np.nan_to_num(pair[0].result.at[1], nan=2.0))[:MAX_DRIVES]


def _which(evaluations: Sequence[Evaluation]) -> str:
    if len(evaluations) <= MAX_DRIVES:
        return ""
    return f" Of {len(evaluations)} pairs of drives, the {MAX_DRIVES} with the lowest Recall@1."


def method_sections(
    evaluations: Sequence[Evaluation],
    references: Sequence[Evaluation],
    modality: str,
    threshold: float | None = None,
    name: str = "",
) -> list[Section]:
    """How well a method answered and where it failed, beside references. name: told after every title.

    modality: a key of SHOW; without it there are no pictures of pairs. threshold: from which a match is accepted.
    """
    ending = f": {name}" if name else ""
    return [
        map_section(evaluations, f"Map and matches{ending}"),
        *(pair_sections(evaluations, modality, ending) if modality else []),
        precision_recall_section(evaluations, references, threshold, f"Precision and recall{ending}"),
        recall_section(evaluations, references, f"Recall by drive, direction and distance{ending}"),
    ]


def map_section(evaluations: Sequence[Evaluation], title: str) -> Section:
    """Each query drive on the map."""
    charts = [match_map(evaluation, name) for evaluation, name in drawn(evaluations)]
    text = "Every query where its vehicle was; seen from above, x to the right." + _which(evaluations)
    return Section(title, text, charts=charts, legend=True)


def pair_sections(evaluations: Sequence[Evaluation], modality: str, ending: str) -> list[Section]:
    """Wrong and right best matches as pictures; none of a kind that does not occur."""
    show, chosen = SHOW[modality], [evaluation for evaluation, _ in drawn(evaluations)]
    wrong = [pair for evaluation in chosen for pair in wrong_pairs(evaluation, show, WRONG)]
    right = [pair for evaluation in chosen for pair in right_pairs(evaluation, show, RIGHT)]
    seen = CLOUD_TEXT if modality == "lidar" else ""
    sections = [
        Section(f"Wrong matches{ending}", WRONG_TEXT + seen, pairs=wrong),
        Section(f"Right matches{ending}", RIGHT_TEXT + seen, pairs=right),
    ]
    return [section for section in sections if section.pairs]


WRONG_TEXT = (
    "Of each drive the wrong best matches with the highest similarity, at different places: the query, the place it "
    "was taken for, and the place nearest to where it was."
)
RIGHT_TEXT = "Of each drive one right best match, from its middle."
CLOUD_TEXT = (
    f" Clouds are seen from above, forward is up, {2 * BIRDS_EYE_M:g} m wide; brighter is higher, and the white mark "
    "is the sensor."
)


def precision_recall_section(
    evaluations: Sequence[Evaluation],
    references: Sequence[Evaluation],
    threshold: float | None,
    title: str,
) -> Section:
    """A curve for each query drive; the reference's of the same drives in grey."""
    name_of_other, group = _first(evaluations, [found for found in references if found.has_scores])
    others = {_drives(reference): reference for reference in group}
    charts = []
    for evaluation, name in drawn(evaluations):
        other = others.get(_drives(evaluation))
        curve = other.precision_recall if other else None
        charts.append(precision_recall_chart(name, evaluation.precision_recall, curve, threshold))
    text = PR_TEXT
    if name_of_other:
        text += f" Grey is {name_of_other}."
    if threshold is not None:
        text += f" The ring is the threshold stored in the bundle, {threshold:.3f}."
    return Section(title, text + _which(evaluations), charts=charts)


def _first(evaluations: Sequence[Evaluation], references: Sequence[Evaluation]) -> tuple[str, list[Evaluation]]:
    """The first method of the references, the one that is drawn, and its name; an empty name where there is none."""
    _, *others = by_method([*evaluations, *references]).items()
    name, group = others[0] if others else ("", [])
    return name.replace("_", " "), group


PR_TEXT = (
    "By the similarity from which a best match is accepted. Recall is of the queries that have a place in the map, so "
    "a curve ends at Recall@1; a query without a place costs precision where its match is accepted."
)


def _drives(evaluation: Evaluation) -> tuple[object, object]:
    return evaluation.database.folder, evaluation.queries.folder


def recall_section(evaluations: Sequence[Evaluation], references: Sequence[Evaluation], title: str) -> Section:
    """Recall@1 by query drive, by direction and by distance."""
    shares = [
        recall_of_all(evaluation, name) for evaluation, name in zip(evaluations, titles(evaluations), strict=True)
    ]
    name_of_other, group = _first(evaluations, references)
    others = {_drives(reference): reference.row()["recall_at_1"] for reference in group}
    ticks = [others.get(_drives(evaluation)) for evaluation in evaluations]
    text = f"The tick is {name_of_other}." if name_of_other else ""
    direction = pooled([recall_by_direction(evaluation) for evaluation in evaluations])
    charts = [share_bars("By query drive", shares, ticks, text), share_bars("By direction", direction)]
    distance = pooled([recall_by_distance(evaluation) for evaluation in evaluations])
    if sum(share.queries > 0 for share in distance) > 1:
        charts.append(share_bars("By distance to the nearest place of the map", distance))
    return Section(title, RECALL_TEXT, rows=_by_direction([*evaluations, *references]), charts=charts)


def _by_direction(evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    """The figures of each direction, of pairs of runs all together."""
    if len({evaluation.database.folder for evaluation in evaluations}) > 1:
        rows = [row for group in by_method(evaluations).values() for row in pooled_direction_rows(group)]
    else:
        named = zip(titles(evaluations), evaluations, strict=True)
        rows = [{**row, "queries": name} for name, evaluation in named for row in direction_rows(evaluation)]
    return [
        {"queries": row.pop("queries"), **{name: value for name, value in row.items() if name != "database"}}
        for row in rows
    ]


RECALL_TEXT = (
    "Each query drive has its own condition. Direction is the difference between the headings of a query and of the "
    f"nearest place: up to {SAME_DEG:g} degrees the same, from {OPPOSITE_DEG:g} opposite, between them across. The "
    "number of queries is in brackets; those without a place in the map have no direction."
)


def latency_section(times_ms: Mapping[str, np.ndarray], text: str, title: str = "Latency") -> Section:
    """A histogram of each named series of times; the text says what was timed, and where."""
    return Section(title, text, charts=[latency_chart(name, times) for name, times in times_ms.items()])
