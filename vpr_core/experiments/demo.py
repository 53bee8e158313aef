"""The demo: drives through a made-up town, a camera encoder trained on it, and places recognised live in another."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.places import within
from vpr_core.errors import FramesError, RecipeError
from vpr_core.evaluation.evaluate import (
    Evaluation,
    bundle_describer,
    evaluate,
    table_text,
    thumbnail_describer,
)
from vpr_core.evaluation.figures import data_uri, match_map, match_pairs, overview, recall_bars
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M
from vpr_core.evaluation.report import Section, write_report
from vpr_core.experiments.live import run_live
from vpr_core.export import export
from vpr_core.files import write_json
from vpr_core.retrieval.mapping import build_map
from vpr_core.synthetic.drive import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, Drive, record_drives
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

TRAIN_TOWN, TEST_TOWN = 1, 2
RECIPE = Recipe(steps=120, augment=False)  # in so few steps, augmentation costs more than it gives
LIVE_RATE = 8.0
TRAINING = ("noon", "dusk", "night", "fog")
QUERIES = ("noon", "dusk", "night", "fog")
VALIDATION = ("dusk", "night")
LIVE = "live_dusk"


def planned_drives(folder: Path) -> dict[str, Drive]:
    """Every drive of the demo by name: two towns, of which the second is never trained on."""

    def drive(name: str, town: int, condition: str, route: str, seed: int, length_m: float | None = None) -> Drive:
        return Drive(folder / name, town, condition, route, seed, length_m)

    drives = [
        *(drive(f"train_{name}", TRAIN_TOWN, name, "loop", seed) for seed, name in enumerate(TRAINING, 10)),
        drive("validation_map", TRAIN_TOWN, "noon", "offmap", 20, 350.0),
        *(
            drive(f"validation_{name}", TRAIN_TOWN, name, "offmap", seed, 500.0)
            for seed, name in enumerate(VALIDATION, 21)
        ),
        drive("map_noon", TEST_TOWN, "noon", "loop", 30),
        *(drive(f"query_{name}", TEST_TOWN, name, "loop", seed) for seed, name in enumerate(QUERIES, 31)),
        drive(LIVE, TEST_TOWN, "dusk", "mixed", 40),
    ]
    return {drive.out.name: drive for drive in drives}


@dataclass
class Demo:
    """Folders and figures of one run."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

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


def run_demo(out: Path, steps: int | None = None, live: bool = True) -> Path:
    """Run everything and write `out`/report.html and `out`/demo.json; returns the report's path.

    Raises FramesError where `out` holds something that is not an older demo, and RecipeError, when all is written,
    where the trained network stays below a floor.
    """
    _clear(out)
    demo = Demo(out)
    recipe = RECIPE if steps is None else replace(RECIPE, steps=steps)
    with demo.stage("drives"):
        (out / "bags").mkdir()
        drives = planned_drives(out / "bags")
        record_drives(list(drives.values()), bar=True)
    with demo.stage("ingest"):
        for name, drive in tqdm(drives.items(), desc="ingest", unit="bag"):
            keyframe_m = 0.0 if name == LIVE else 2.0
            ingest(drive.out, demo.path("frames", name), pose_topic=GROUND_TRUTH_TOPIC, keyframe_m=keyframe_m)
    with demo.stage("train"):
        _train(demo, "untrained", replace(recipe, steps=0))
        _train(demo, "trained", recipe)
    with demo.stage("map"):
        build_map(demo.path("bundles", "trained"), demo.path("frames", "map_noon"), demo.folder / "place_map")
    with demo.stage("evaluate"):
        evaluations = _evaluate(demo)
    records: list[dict[str, Any]] = []
    if live:
        with demo.stage("live"):
            records = _live(demo)
    with demo.stage("report"):
        report = _report(demo, evaluations, records)
    print(f"[demo] {report}")
    if missed := [
        floor["floor"] for floor in json.loads((out / "demo.json").read_text())["floors"] if not floor["met"]
    ]:
        raise RecipeError(f"below its floor: {', '.join(missed)}; {report} shows where, more --steps may help")
    return report


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


def _train(demo: Demo, name: str, recipe: Recipe) -> None:
    drives = [demo.path("frames", f"train_{condition}") for condition in TRAINING]
    validation = [demo.path("frames", f"validation_{name}") for name in ("map", *VALIDATION)]
    checkpoint = demo.path("checkpoints", name)
    with tqdm(total=recipe.steps, desc=name, unit="step", disable=recipe.steps == 0) as bar:

        def progress(_step: int, _total: int, figures: dict[str, float]) -> None:
            bar.set_postfix(loss=f"{figures['loss']:.3f}", refresh=False)
            bar.update(1)

        train_encoder(drives, checkpoint, recipe, validation, progress)
    export(checkpoint, drives[0], demo.path("bundles", name))


def _evaluate(demo: Demo) -> list[Evaluation]:
    database = Frames.load(demo.path("frames", "map_noon"))
    queries = [Frames.load(demo.path("frames", f"query_{name}")) for name in QUERIES]
    methods = {
        "trained": bundle_describer(demo.path("bundles", "trained")),
        "untrained": bundle_describer(demo.path("bundles", "untrained")),
        "thumbnail": thumbnail_describer(),
    }
    return [found for name, method in methods.items() for found in evaluate(name, method, database, queries)]


def _live(demo: Demo) -> list[dict[str, Any]]:
    return run_live(
        demo.path("bundles", "trained"),
        demo.folder / "place_map",
        demo.path("bags", LIVE),
        IMAGE_TOPIC,
        LIVE_RATE,
        demo.folder / "live",
    )


def live_figures(records: list[dict[str, Any]], drive: Frames, places_m: np.ndarray) -> dict[str, Any]:
    """What the live matches were worth, by the drive's true poses.

    A frame has a place where one lies within DEFAULT_RADIUS_M. `hit_rate`: of the frames that have a place, the share
    that was answered with one of those first; `precision`: of the accepted matches, the share that is right;
    `accepted_off_map`: accepted matches of frames without a place.
    """
    near = within(places_m, drive.positions_m, DEFAULT_RADIUS_M)
    truth = {frame.stamp_ns: found for frame, found in zip(drive.frames, near, strict=True)}
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


def check_floors(rows: list[dict[str, Any]], live: dict[str, Any]) -> list[dict[str, Any]]:
    """What the trained network must reach in this town; an untrained one does not."""
    recall = {row["queries"]: row["recall_at_1"] for row in rows if row["method"] == "trained"}
    noon = recall.pop("query_noon")
    measured = [
        ("Recall@1 noon to noon", noon, 0.9),
        ("Recall@1 mean of the other conditions", float(np.mean(list(recall.values()))), 0.5),
    ]
    if live:
        measured.append(("live hit rate", live["hit_rate"] or 0.0, 0.7))
    return [
        {"floor": name, "at_least": floor, "measured": round(value, 4), "met": value >= floor}
        for name, value, floor in measured
    ]


def _report(demo: Demo, evaluations: list[Evaluation], records: list[dict[str, Any]]) -> Path:
    rows = [evaluation.row() for evaluation in evaluations]
    columns = ("method", "queries", "recall_at_1", "recall_at_5", "recall_at_10", "evaluated", "skipped")
    table = [{name: row[name] for name in columns} for row in rows]
    print(table_text(table, columns))
    live: dict[str, Any] = {}
    if records:
        drive = Frames.load(demo.path("frames", LIVE))
        live = live_figures(records, drive, evaluations[0].database.positions_m)
        print(table_text([live], list(live)))
    floors = check_floors(rows, live)
    print(table_text(floors, list(floors[0])))
    write_json(
        demo.folder / "demo.json",
        {"table": rows, "live_hit_rate": live.get("hit_rate"), "live": live, "floors": floors, "seconds": demo.seconds},
    )
    trained = [evaluation for evaluation in evaluations if evaluation.method == "trained"]
    hardest = min(trained, key=lambda evaluation: evaluation.result.at[1])
    picture = overview(trained)
    picture.savefig(demo.folder / "overview.jpg", dpi=120)
    sections = [
        Section("Queries, and the places they were matched to", picture=data_uri(picture)),
        Section("Recall@1 by condition", _explain(evaluations[0]), recall_bars(rows), table),
        Section("Live, over ROS 2", LIVE_TEXT, rows=[live] if live else []),
        Section(f"Map and matches: {hardest.queries.session}", picture=match_map(hardest)),
        Section("Right", pairs=[pair for found in trained for pair in match_pairs(found, True, 2)], kind="right"),
        Section("Wrong", pairs=[pair for found in trained for pair in match_pairs(found, False, 2)], kind="wrong"),
        Section("Seconds by stage", rows=[demo.seconds]),
    ]
    return write_report(demo.folder / "report.html", "Place recognition in a made-up town", SUMMARY, sections)


SUMMARY = (
    "A camera encoder was trained on one town and is tried in another: a place map made of a drive at noon, and "
    "queries of other drives through the same streets, with other parked cars and in other light."
)
LIVE_TEXT = (
    "A bag of a drive at dusk, partly off the map, was replayed to the localizer node in a process of its own. "
    "hit_rate: of the frames that have a place within 10 m, the share whose best match is one; precision: of the "
    "accepted matches, the share that is right."
)


def _explain(evaluation: Evaluation) -> str:
    return (
        f"A best match within {evaluation.radius_m:g} m is right; a query without any place within that distance is "
        "skipped. Untrained is the same network with its ImageNet weights; thumbnail a 16x12 grey picture."
    )
