"""The demo's report: teacher and students compared, and each student as `evaluate --report` shows a bundle."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.evaluation.breakdown import recall_of_all
from vpr_core.evaluation.cards import bundle_rows, drive_rows
from vpr_core.evaluation.charts import share_bars
from vpr_core.evaluation.evaluate import Evaluation
from vpr_core.evaluation.figures import overview, rendered
from vpr_core.evaluation.latency import machine
from vpr_core.evaluation.report import Section, write_report
from vpr_core.evaluation.sections import latency_section, method_sections, titles
from vpr_core.experiments.demo_figures import MODALITIES, by_condition
from vpr_core.retrieval.bundle import Bundle

STUDENT = "student distilled"
BASELINES = {"camera": "thumbnail", "lidar": "scan context"}
"""By modality, the simple method to compare with."""
SHOWN = ("dusk", "night", "fog", "rain", "winter")
"""Conditions of the overview; where the drives are others, all are."""
Evaluations = Mapping[tuple[str, str], Sequence[Evaluation]]
"""By modality and method, in the order of the conditions."""


@dataclass(frozen=True)
class Results:
    """What a demo found."""

    evaluations: Evaluations
    table: Sequence[dict[str, Any]]
    """As `table_rows` gives it."""
    bundles: dict[str, Path]
    """Of the distilled students, by modality."""
    live: Sequence[dict[str, Any]]
    """`live_figures` of each student; empty where the live part was left out."""
    records: dict[str, list[dict[str, Any]]]
    """Their live matches, as `vpr_core.retrieval.records` defines them."""
    seconds: dict[str, float]
    """By stage."""


def write_demo_report(folder: Path, results: Results) -> Path:
    """Write report.html and overview.jpg into `folder`; returns the report's path."""
    camera = results.evaluations["camera", STUDENT]
    shown = [found for name, found in zip(titles(camera), camera, strict=True) if name in SHOWN]
    picture = rendered(overview(shown or camera), "jpg")
    (folder / "overview.jpg").write_bytes(picture)
    sections = [
        Section(
            "Queries, and the places they were matched to",
            picture=f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}",
            picture_text="One query image of each drive above the image of the place it was matched to, and a map",
        ),
        Section("Teacher and students", _explain(camera[0]), rows=by_condition(list(results.table))),
        *(_comparison(results.evaluations, modality) for modality in MODALITIES),
        *_live(results),
        *(section for modality in MODALITIES for section in _student(results.evaluations, modality)),
        Section("Drives", rows=drive_rows([camera[0].database, *(evaluation.queries for evaluation in camera)])),
        *(Section(f"Model: {name}", rows=bundle_rows(at, Bundle.load(at))) for name, at in results.bundles.items()),
        Section("Seconds by stage", rows=[results.seconds]),
    ]
    return write_report(folder / "report.html", "Place recognition in a made-up town", SUMMARY, sections)


def _comparison(evaluations: Evaluations, modality: str) -> Section:
    """Recall@1 of every method, a chart for each condition."""
    methods = {name: found for (of, name), found in evaluations.items() if of in ("fused", modality)}
    charts = [
        share_bars(title, [recall_of_all(found[number], name) for name, found in methods.items()], highlight=STUDENT)
        for number, title in enumerate(titles(evaluations[modality, STUDENT]))
    ]
    return Section(f"Recall@1 by condition: {modality}", charts=charts)


def _student(evaluations: Evaluations, modality: str) -> list[Section]:
    found, baseline = evaluations[modality, STUDENT], evaluations[modality, BASELINES[modality]]
    return method_sections(found, baseline, modality, name=modality)


def _live(results: Results) -> list[Section]:
    """What the localizer node answered, and how long it took."""
    if not results.live:
        return []
    times_ms = {
        modality: np.array([record["processing_ms"] for record in records if record["processing_ms"] is not None])
        for modality, records in results.records.items()
    }
    measured = {modality: times for modality, times in times_ms.items() if len(times)}
    sections = [Section("Live, over ROS 2", LIVE_TEXT, rows=results.live)]
    if measured:
        sections.append(latency_section(measured, f"{LATENCY_TEXT} {machine()}.", "Live latency"))
    return sections


SUMMARY = (
    "A teacher with camera and LiDAR and students with one of the two were trained on one town, the students alone and "
    "with the teacher's help, for the same number of steps. They are tried in another town: a place map made of a "
    "drive at noon, and queries of other drives through the same streets, with other parked cars and in other light."
)
LIVE_TEXT = (
    "A bag of a drive at dusk, partly off the map, was replayed to the localizer node in a process of its own, once "
    "for each distilled student. hit_rate: of the frames that have a place within 10 m, the share whose best match is "
    "one; precision: of the accepted matches, the share that is right."
)
LATENCY_TEXT = (
    "From the start of decoding to the end of the search, in the localizer node. The replayed stamps are those of the "
    "recording, so they do not say how old a match was when it arrived. Measured on"
)


def _explain(evaluation: Evaluation) -> str:
    return (
        f"Recall@1: a best match within {evaluation.radius_m:g} m is right; a query without any place within that "
        "distance is skipped. Others: the mean of the conditions that the map was not made under, driven in its own "
        "direction; no network was trained on low_sun. Opposite: the same streets driven the other way. The teacher's "
        "halves are its own cloud and image descriptors. Untrained is the student before its first step, the "
        "camera's with ImageNet weights; thumbnail a 16x12 grey picture, Scan Context a classical LiDAR method. One "
        "run says little about what distillation gives: `vpr-distill tables` repeats it over seeds and towns."
    )
