"""The report on an evaluation: what was asked, how well it was answered, where it failed, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.evaluation.cards import bundle_rows, drive_rows
from vpr_core.evaluation.comparison import averages
from vpr_core.evaluation.evaluate import Evaluation, by_method
from vpr_core.evaluation.latency import TimedBundle
from vpr_core.evaluation.precision_recall import precision_recall
from vpr_core.evaluation.report import Section, write_report
from vpr_core.evaluation.sections import latency_section, method_sections, titles


def write_evaluation_report(
    path: Path, evaluations: Sequence[Evaluation], timed: TimedBundle | None = None, folder: Path | None = None
) -> Path:
    """Write the report on the first method of `evaluations`, the others beside it in tables and as references.

    timed, folder: where that method is a bundle, what measured it and where it lies.
    """
    own, *others = by_method(evaluations).values()
    references = [evaluation for group in others for evaluation in group]
    drives = list({drive.folder: drive for found in own for drive in (found.database, found.queries)}.values())
    seen_by = timed.bundle.modality if timed else _modality(drives)
    threshold = timed.bundle.accept_similarity if timed and own[0].metric == "cosine" else None
    sections = [
        Section("Figures", FIGURES_TEXT, rows=figure_rows(evaluations)),
        *method_sections(own, references, seen_by, threshold),
        *(_latency(own, timed) if timed else []),
        Section("Drives", DRIVES_TEXT, rows=drive_rows(drives)),
        *([Section("Model", MODEL_TEXT, rows=bundle_rows(folder, timed.bundle))] if timed and folder else []),
    ]
    title = f"Place recognition with {folder.resolve().name if folder else own[0].method}"
    return write_report(path, title, summary(own, seen_by), sections, headline(own))


def _modality(drives: Sequence[Frames]) -> str:
    """What all drives have pictures of; empty where there are none."""
    if all(drive.has_images for drive in drives):
        return "camera"
    return "lidar" if all(frame.cloud for drive in drives for frame in drive.frames) else ""


def _latency(evaluations: Sequence[Evaluation], timed: TimedBundle) -> list[Section]:
    times_ms = timed.query_ms([evaluation.queries for evaluation in evaluations])
    return [latency_section({"Time to describe and search": times_ms}, LATENCY_TEXT + timed.conditions + ".")]


FIGURES_TEXT = (
    "Average precision, PR AUC and recall at 100 % precision are of best matches by their similarity; AUROC is how "
    "well it tells right from wrong ones. docs/metrics.md defines each figure."
)
LATENCY_TEXT = "From a decoded image or cloud to its ranked places, one query at a time, on "
DRIVES_TEXT = "As ingested: length, duration and what was left out, by reason."
MODEL_TEXT = "What the bundle's manifest and the card of its training say."


def summary(evaluations: Sequence[Evaluation], modality: str) -> str:
    """What was asked, and what counts as right."""
    known = list(dict.fromkeys(evaluation.database.session for evaluation in evaluations))
    places = sum({evaluation.database.folder: len(evaluation.database) for evaluation in evaluations}.values())
    queries = sum(len(evaluation.queries) for evaluation in evaluations)
    skipped = sum(evaluation.result.skipped for evaluation in evaluations)
    looked_at = {"camera": "images", "lidar": "clouds"}.get(modality, "frames")
    where = f"the {places} places of {known[0]}" if len(known) == 1 else f"each other, {len(known)} drives in turn"
    left_out = (
        f"{skipped} queries without any place within that distance are skipped in recall, and wrong if accepted."
        if skipped
        else "Every query has a place within that distance."
    )
    return (
        f"{queries} {looked_at} of {_counted(evaluations)} were looked up among {where}. A match is right if the place "
        f"lies within {evaluations[0].limits_text()} of the query, in x and y. {left_out}"
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
    curve = precision_recall(similarity, first_hit)
    if not curve.absent:
        shares.append(("Average precision", curve.average_precision))
        shares.append(("Recall at 100 % precision", curve.recall_at_100_precision))
    counted = [(f"{len(with_place)}", "queries"), (f"{len(first_hit) - len(with_place)}", "skipped")]
    return [(f"{value:.3f}", name) for name, value in shares] + counted


def figure_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Every figure of each method and pair of drives, and the averages where each drive was the map of the others."""
    rows = [evaluation.row() for evaluation in evaluations]
    named = [{**row, "queries": name} for row, name in zip(rows, titles(evaluations), strict=True)]
    if len({evaluation.database.folder for evaluation in evaluations}) > 1:
        named += averages(evaluations)
    return [{title: _shown(row[name]) for name, title in FIGURES.items()} for row in named]


FIGURES = {
    "queries": "queries", "method": "method", "metric": "metric", "recall_at_1": "R@1", "recall_at_5": "R@5",
    "recall_at_10": "R@10", "recall_at_1_percent": "R@1 %", "average_precision": "average precision",
    "pr_auc": "PR AUC", "recall_at_100_precision": "recall at 100 % precision", "auroc": "AUROC",
    "evaluated": "evaluated", "skipped": "skipped",
}  # fmt: skip
"""Columns of a row, by what the report calls them."""


def _shown(value: Any) -> Any:
    return value.replace("_", " ") if isinstance(value, str) else value
