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

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError, RecipeError
from vpr_core.evaluation.evaluate import Evaluation, evaluate, table_text, thumbnail_describer
from vpr_core.evaluation.scan_context import retrieve_scan_contexts, scan_context_describer
from vpr_core.experiments.demo_figures import MODALITIES, by_condition, check_floors, live_figures
from vpr_core.experiments.demo_report import Results, write_demo_report
from vpr_core.experiments.live import installed_share, run_live
from vpr_core.experiments.networks import Network, comparison, untrained
from vpr_core.experiments.side_by_side import cores, evaluate_network, table_rows, train_networks
from vpr_core.experiments.town import TestTown, Towns, ingest_drives, town_drives
from vpr_core.export import export
from vpr_core.files import write_json
from vpr_core.retrieval.mapping import build_map
from vpr_core.synthetic.drive import CLOUD_TOPIC, IMAGE_TOPIC, Drive, record_drives

TRAIN_TOWN, TEST_TOWN = 1, 2
SEED = 0
LIVE_RATE = 4.0
"""So that two busy cores answer every frame, the camera's at 8 a second."""
LIVE = "live_dusk"
TOPICS = dict(zip(MODALITIES, (IMAGE_TOPIC, CLOUD_TOPIC), strict=True))
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
        return Drive(self.folder / "bags" / LIVE, TEST_TOWN, "dusk", "mixed", 40, labels=False, lidar_columns=512)

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
    for name in ("bags", "frames", "checkpoints", "bundles", "place_maps", "live"):
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
    bundles = {modality: demo.path("bundles", modality) for modality in TOPICS}
    return write_demo_report(demo.folder, Results(evaluations, table, bundles, live, records, demo.seconds))
