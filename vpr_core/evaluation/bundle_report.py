"""The report on one bundle: what was asked, how well it answered, where it failed, and what it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.evaluation.cards import bundle_rows, drive_rows
from vpr_core.evaluation.evaluate import Evaluation
from vpr_core.evaluation.latency import TimedBundle
from vpr_core.evaluation.precision_recall import precision_recall
from vpr_core.evaluation.report import Section, write_report
from vpr_core.evaluation.sections import (
    latency_section,
    map_section,
    pair_sections,
    precision_recall_section,
    recall_section,
    titles,
)


def write_bundle_report(
    path: Path, folder: Path, timed: TimedBundle, evaluations: Sequence[Evaluation], references: Sequence[Evaluation]
) -> Path:
    """Write the report on the bundle in `folder`, whose evaluations were measured by `timed`.

    references: a simple method's evaluations of the same drives, to compare with.
    """
    bundle = timed.bundle
    times_ms = timed.query_ms([evaluation.queries for evaluation in evaluations])
    drives = list({drive.folder: drive for found in evaluations for drive in (found.database, found.queries)}.values())
    sections = [
        Section("Figures", rows=figure_rows([*evaluations, *references])),
        map_section(evaluations),
        *pair_sections(evaluations, bundle.modality),
        precision_recall_section(evaluations, references, bundle.accept_similarity),
        recall_section(evaluations, references),
        latency_section({"Time to describe and search": times_ms}, LATENCY_TEXT + timed.conditions + "."),
        Section("Drives", DRIVES_TEXT, rows=drive_rows(drives)),
        Section("Model", MODEL_TEXT, rows=bundle_rows(folder, bundle)),
    ]
    title = f"Place recognition with {folder.resolve().name}"
    return write_report(path, title, summary(evaluations, bundle.modality), sections, headline(evaluations))


LATENCY_TEXT = "From a decoded image or cloud to its ranked places, one query at a time, on "
DRIVES_TEXT = "As ingested: length, duration and what was left out, by reason."
MODEL_TEXT = "What the bundle's manifest and the card of its training say."


def summary(evaluations: Sequence[Evaluation], modality: str) -> str:
    """What was asked, and what counts as right."""
    known = list(dict.fromkeys(evaluation.database.session for evaluation in evaluations))
    places = sum({evaluation.database.folder: len(evaluation.database) for evaluation in evaluations}.values())
    queries = sum(len(evaluation.queries) for evaluation in evaluations)
    skipped = sum(evaluation.result.skipped for evaluation in evaluations)
    looked_at = "images" if modality == "camera" else "clouds"
    where = f"the {places} places of {known[0]}" if len(known) == 1 else f"each other, {len(known)} drives in turn"
    left_out = (
        f"{skipped} queries without any place within that distance are skipped in recall, and wrong if accepted."
        if skipped
        else "Every query has a place within that distance."
    )
    return (
        f"{queries} {looked_at} of {_counted(evaluations)} were looked up among {where}. A match is right if the place "
        f"lies within {evaluations[0].radius_m:g} m of the query in x and y. {left_out}"
    )


def _counted(evaluations: Sequence[Evaluation]) -> str:
    drives = len({evaluation.queries.folder for evaluation in evaluations})
    return "one query drive" if drives == 1 else f"{drives} query drives"


def headline(evaluations: Sequence[Evaluation]) -> list[tuple[str, str]]:
    """Figures of all query drives together: every query counts the same."""
    first_hit = np.concatenate([evaluation.result.first_hit for evaluation in evaluations])
    similarity = np.concatenate([evaluation.result.best_similarity for evaluation in evaluations])
    with_place = first_hit[first_hit >= 0]
    if not len(with_place):
        return [("\u2013", "no query has a place in the map")]
    shares = [(f"Recall@{k}", float(((with_place >= 1) & (with_place <= k)).mean())) for k in evaluations[0].result.at]
    shares.append(("Average precision", precision_recall(similarity, first_hit).average_precision))
    counted = [(f"{len(with_place)}", "queries"), (f"{len(first_hit) - len(with_place)}", "skipped")]
    return [(f"{value:.3f}", name) for name, value in shares] + counted


def figure_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Recall and average precision of each method and pair of drives."""
    names = titles(evaluations)
    return [
        {
            "queries": name,
            "method": evaluation.method.replace("_", " "),
            **{f"R@{k}": _or_none(value) for k, value in evaluation.result.at.items()},
            "average precision": _or_none(evaluation.precision_recall.average_precision),
            "evaluated": evaluation.result.evaluated,
            "skipped": evaluation.result.skipped,
        }
        for name, evaluation in zip(names, evaluations, strict=True)
    ]


def _or_none(share: float) -> float | None:
    return None if np.isnan(share) else share
