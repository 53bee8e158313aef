"""The demo: drives through made-up towns, a teacher, its students, and places recognised live in an unseen town."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.places import within
from vpr_core.errors import FramesError, RecipeError
from vpr_core.evaluation.evaluate import Evaluation, evaluate, table_text, thumbnail_describer
from vpr_core.evaluation.figures import (
    data_uri,
    match_map,
    match_pairs,
    overview,
    precision_recall_curves,
    recall_bars,
)
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M
from vpr_core.evaluation.report import Section, write_report
from vpr_core.evaluation.scan_context import retrieve_scan_contexts, scan_context_describer
from vpr_core.experiments.live import installed_share, run_live
from vpr_core.experiments.networks import (
    Network,
    comparison,
    cores,
    evaluate_network,
    table_rows,
    train_networks,
    untrained,
)
from vpr_core.experiments.town import MAP_CONDITION, TestTown, Towns, ingest_drives, town_drives
from vpr_core.export import export
from vpr_core.files import write_json
from vpr_core.retrieval.mapping import build_map
from vpr_core.synthetic.drive import CLOUD_TOPIC, IMAGE_TOPIC, Drive, record_drives

TRAIN_TOWN, TEST_TOWN = 1, 2
SEED = 0
LIVE_RATE = 8.0
LIVE = "live_dusk"
TOPICS = {"camera": IMAGE_TOPIC, "lidar": CLOUD_TOPIC}
"""Of each student."""
Evaluations = dict[tuple[str, str], list[Evaluation]]
"""By modality and method."""


@dataclass
class Demo:
    """Folders and figures of one run."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def towns(self) -> Towns:
        return Towns.planned(self.folder / "frames", [TRAIN_TOWN], [TEST_TOWN])

    @property
    def test(self) -> TestTown:
        return self.towns.tests[0]

    @property
    def live(self) -> Drive:
        """Partly through streets that the map does not have."""
        return Drive(self.folder / "bags" / LIVE, TEST_TOWN, "dusk", "mixed", 40)

    def path(self, kind: str, name: str) -> Path:
        return self.folder / kind / name

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what is being done, and keep how long it took."""
        print(f"[demo] {name} ...", flush=True)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        print(f"[demo] {name}: {self.seconds[name]} s", flush=True)


def run_demo(out: Path, steps: int, live: bool = True) -> Path:
    """Run everything and write `out`/report.html and `out`/demo.json; returns the report's path.

    steps: of every network. Raises FramesError where `out` holds something that is not an
    older demo, and RecipeError, when all is written, where a trained network stays below a floor.
    """
    networks = demo_networks(steps)
    _clear(out)
    demo = Demo(out)
    with demo.stage("drives"):
        drives = [*town_drives(out / "bags", [TRAIN_TOWN], [TEST_TOWN]), demo.live]
        record_drives(drives, workers=cores(), bar=True)
    with demo.stage("ingest"):
        ingest_drives(drives, out / "frames", every_frame=[LIVE])
    with demo.stage("train"):
        train_networks(list(networks.values()), out / "checkpoints", demo.towns)
    with demo.stage("map"):
        for modality in TOPICS:
            _bundle_and_map(demo, modality, networks[modality, "distilled"])
    with demo.stage("evaluate"):
        evaluations = _evaluate(demo, networks)
    records: dict[str, list[dict[str, Any]]] = {}
    if live:
        with demo.stage("live"):
            records = {modality: _live(demo, modality) for modality in TOPICS}
    with demo.stage("report"):
        report = _report(demo, evaluations, records)
    print(f"[demo] {report}")
    if missed := [
        floor["floor"] for floor in json.loads((out / "demo.json").read_text())["floors"] if not floor["met"]
    ]:
        raise RecipeError(f"below its floor: {', '.join(missed)}; {report} shows where, more --steps may help")
    return report


def demo_networks(steps: int) -> dict[tuple[str, str], Network]:
    """By modality and method, the networks of the recipes in config/ for the town."""
    config = installed_share() / "config"
    students = [config / "distill" / f"town_{modality}.yaml" for modality in TOPICS]
    networks = comparison(config / "teacher" / "town.yaml", students, SEED, steps)
    found = {(str(network.recipe.modality), network.method): network for network in networks}
    return found | {(modality, "untrained"): untrained(found[modality, "alone"]) for modality in TOPICS}


def _clear(out: Path) -> None:
    """Make room for a demo, removing an older one and nothing else."""
    marker = out / ".vpr-distill-demo"
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not marker.is_file():
        raise FramesError(f"{out} holds something that is not a demo: choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()
    for name in ("bags", "frames", "checkpoints", "bundles", "place_map", "live"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("report.html", "demo.json", "overview.jpg"):
        (out / name).unlink(missing_ok=True)


def _bundle_and_map(demo: Demo, modality: str, network: Network) -> None:
    bundle = export(demo.path("checkpoints", network.name), demo.test.database, demo.path("bundles", modality))
    build_map(bundle, demo.test.database, demo.path("place_maps", modality))


def _evaluate(demo: Demo, networks: dict[tuple[str, str], Network]) -> Evaluations:
    evaluations: Evaluations = {}
    for (modality, _), network in networks.items():
        found = evaluate_network(network, demo.folder / "checkpoints", demo.test)
        evaluations |= {(modality, method): of_method for method, of_method in found.items()}
    database, *queries = (Frames.load(drive) for drive in demo.test.drives)
    evaluations["camera", "thumbnail"] = evaluate("thumbnail", thumbnail_describer(), database, queries)
    evaluations["lidar", "scan context"] = evaluate(
        "scan context", scan_context_describer(), database, queries, retrieve=retrieve_scan_contexts
    )
    return evaluations


def _live(demo: Demo, modality: str) -> list[dict[str, Any]]:
    return run_live(
        demo.path("bundles", modality),
        demo.path("place_maps", modality),
        demo.live.out,
        TOPICS[modality],
        LIVE_RATE,
        demo.path("live", modality),
        modality,
    )


def live_figures(
    records: list[dict[str, Any]], drive: Frames, places_m: np.ndarray, modality: str = "camera"
) -> dict[str, Any]:
    """What the live matches of images or clouds were worth, by the drive's true poses.

    A frame has a place where one lies within DEFAULT_RADIUS_M. `hit_rate`: of the frames that have a place, the share
    that was answered with one of those first; `precision`: of the accepted matches, the share that is right;
    `accepted_off_map`: accepted matches of frames without a place.
    """
    near = within(places_m, drive.positions_m, DEFAULT_RADIUS_M)
    stamps = [frame.stamp_ns if modality == "camera" else frame.cloud_stamp_ns for frame in drive.frames]
    truth = dict(zip(stamps, near, strict=True))
    answered = [record for record in records if record["stamp_ns"] in truth and record["matches"]]
    right = [record["matches"][0]["place_id"] in truth[record["stamp_ns"]] for record in answered]
    accepted = [record["accepted"] for record in answered]
    off_map = [not len(truth[record["stamp_ns"]]) for record in answered]
    with_place = sum(len(found) > 0 for found in near)
    return {
        "frames": len(drive),
        "answered": len(answered),
        "with_place": with_place,
        "hit_rate": round(sum(right) / with_place, 4) if with_place else None,
        "accepted": sum(accepted),
        "precision": round(sum(np.logical_and(right, accepted)) / sum(accepted), 4) if any(accepted) else None,
        "accepted_off_map": int(sum(np.logical_and(off_map, accepted))),
        "median_processing_ms": round(float(np.median([r["processing_ms"] for r in answered])), 2)
        if answered
        else None,
    }


def check_floors(rows: list[dict[str, Any]], live: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What trained networks must reach in this town; untrained ones do not."""
    measured = []
    for modality, (at_noon, of_others, _) in FLOORS.items():
        recall = {
            row["condition"]: row["recall"]
            for row in rows
            if (row["modality"], row["method"]) == (modality, "student distilled")
        }
        noon = recall.pop(MAP_CONDITION)
        measured += [
            (f"{modality} student, Recall@1 noon to noon", noon, at_noon),
            (
                f"{modality} student, Recall@1 mean of the other conditions",
                float(np.mean([*recall.values()])),
                of_others,
            ),
        ]
    measured += [
        (f"{row['modality']} student, live hit rate", row["hit_rate"] or 0.0, FLOORS[row["modality"]][2])
        for row in live
    ]
    return [
        {"floor": name, "at_least": floor, "measured": round(value, 4), "met": value >= floor}
        for name, value, floor in measured
    ]


FLOORS = {"camera": (0.9, 0.5, 0.7), "lidar": (0.5, 0.5, 0.5)}
"""Recall@1 at the map's condition and in the mean of the others, and the live hit rate."""


def _report(demo: Demo, evaluations: Evaluations, records: dict[str, list[dict[str, Any]]]) -> Path:
    table = [
        row
        for (modality, method), found in evaluations.items()
        for row in table_rows(found, modality, None if method in ("thumbnail", "scan context") else SEED, demo.test)
    ]
    print(table_text(by_condition(table), list(by_condition(table)[0])))
    live = []
    if records:
        drive, places_m = Frames.load(demo.path("frames", LIVE)), Frames.load(demo.test.database).positions_m
        live = [{"modality": name, **live_figures(found, drive, places_m, name)} for name, found in records.items()]
        print(table_text(live, list(live[0])))
    floors = check_floors(table, live)
    print(table_text(floors, list(floors[0])))
    rates = {row["modality"]: row["hit_rate"] for row in live}
    write_json(
        demo.folder / "demo.json",
        {
            "table": table,
            "live_hit_rate": rates.get("camera"),
            "live": live,
            "floors": floors,
            "seconds": demo.seconds,
        },
    )
    return _write_pages(demo, evaluations, table, live)


def by_condition(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recall@1 with a column for each condition, and the mean of those that the map was not made under.

    The teacher comes first, then the camera's methods and the LiDAR's.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table:
        key = (row["modality"], row["method"])
        found.setdefault(key, {"modality": key[0], "method": key[1]})[row["condition"]] = round(row["recall"], 3)
    for row in found.values():
        others = [value for name, value in row.items() if name not in ("modality", "method", MAP_CONDITION)]
        row["others"] = round(float(np.mean(others)), 3)
    return sorted(found.values(), key=lambda row: ("fused", *TOPICS).index(row["modality"]))


def _write_pages(demo: Demo, evaluations: Evaluations, table: list[dict[str, Any]], live: list[dict[str, Any]]) -> Path:
    students = {modality: evaluations[modality, "student distilled"] for modality in TOPICS}
    hardest = {
        modality: min(found, key=lambda evaluation: evaluation.result.at[1]) for modality, found in students.items()
    }
    picture = overview(students["camera"])
    picture.savefig(demo.folder / "overview.jpg", dpi=120)
    charts = [
        Section(
            f"Recall@1 by condition: {modality}",
            picture=recall_bars([row for row in table if row["modality"] in ("fused", modality)]),
        )
        for modality in TOPICS
    ]
    curves = [
        Section(f"Precision and recall: {modality} student distilled", PR_TEXT, precision_recall_curves(found))
        for modality, found in students.items()
    ]
    maps = [
        Section(f"Map and matches of the {modality} student: {found.queries.session}", picture=match_map(found))
        for modality, found in hardest.items()
    ]
    pairs = [
        Section(title, pairs=[pair for found in students["camera"] for pair in match_pairs(found, right, 2)], kind=kind)
        for title, right, kind in (("Right", True, "right"), ("Wrong", False, "wrong"))
    ]
    sections = [
        Section("Queries, and the places they were matched to", picture=data_uri(picture)),
        Section("Teacher and students", _explain(students["camera"][0]), rows=by_condition(table)),
        *charts,
        Section("Live, over ROS 2", LIVE_TEXT, rows=live),
        *curves,
        *maps,
        *pairs,
        Section("Seconds by stage", rows=[demo.seconds]),
    ]
    return write_report(demo.folder / "report.html", "Place recognition in a made-up town", SUMMARY, sections)


SUMMARY = (
    "A teacher with camera and LiDAR and students with one of the two were trained on one town, the students alone and "
    "with the teacher's help, for the same number of steps. They are tried in another town: a place map made of a "
    "drive at noon, and queries of other drives through the same streets, with other parked cars and in other light."
)
PR_TEXT = "By the similarity from which a best match is accepted; a query without a place costs precision if accepted."
LIVE_TEXT = (
    "A bag of a drive at dusk, partly off the map, was replayed to the localizer node in a process of its own, once "
    "for each distilled student. hit_rate: of the frames that have a place within 10 m, the share whose best match is "
    "one; precision: of the accepted matches, the share that is right."
)


def _explain(evaluation: Evaluation) -> str:
    return (
        f"Recall@1: a best match within {evaluation.radius_m:g} m is right; a query without any place within that "
        "distance is skipped. Others: the mean of the conditions that the map was not made under. The teacher's halves "
        "are its own cloud and image descriptors. Untrained is the student before its first step, the camera's with "
        "ImageNet weights; thumbnail a 16x12 grey picture, Scan Context a classical LiDAR method. One run says little "
        "about what distillation gives: `vpr-distill tables` repeats it over seeds and towns."
    )
