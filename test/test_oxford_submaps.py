"""Real LiDAR submaps of Oxford, two traversals eight months apart: each is recognised in a map of the other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from vpr_core.data.datasets import oxford_robotcar
from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.data.places import within
from vpr_core.data.prepare import write_plan
from vpr_core.evaluation.evaluate import Evaluation, bundle_describer, evaluate
from vpr_core.evaluation.pairs import evaluate_pairs
from vpr_core.evaluation.scan_context import retrieve_scan_contexts, scan_context_describer
from vpr_core.models.factory import build_model
from vpr_core.retrieval.lidar_bundle import write_lidar_bundle
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import model_spec
from vpr_core.types import Pose

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "bundles" / "town_lidar"
MARCH, NOVEMBER = "2015-03-10-14-18-10", "2015-11-13-10-28-08"
RADIUS_M = 25.0
SEEDS = 5
SUBMAP_RANGE_M = 25.0
"""The submaps end about 20 m from their centre; Scan Context's own 80 m would leave three rings in four empty."""
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def source(shared: Path) -> Path:
    folder = shared / "data" / "oxford_robotcar_submaps_dh3d"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


@pytest.fixture(scope="module")
def rows(source: Path) -> dict[str, list[dict[str, str]]]:
    """Of each traversal its submaps, as submaps.csv has them."""
    with (source / "submaps.csv").open() as file:
        found = list(csv.DictReader(file))
    return {run: [row for row in found if row["run"] == run] for run in (MARCH, NOVEMBER)}


@pytest.fixture(scope="module")
def runs(source: Path, rows: dict[str, list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory) -> list[Frames]:
    """Both traversals as frames folders with poses in UTM, their clouds where they are."""
    folder = tmp_path_factory.mktemp("oxford")
    return [_frames_folder(folder / run, source / run, submaps) for run, submaps in rows.items()]


def _frames_folder(folder: Path, clouds: Path, submaps: list[dict[str, str]]) -> Frames:
    folder.mkdir()
    (folder / "clouds").symlink_to(clouds.resolve(), target_is_directory=True)
    frames = []
    for index, row in enumerate(submaps):
        stamp_ns = int(row["id"]) * SECOND_NS
        pose = Pose((float(row["easting"]), float(row["northing"]), 0.0))
        frames.append(Frame(index, stamp_ns, None, f"clouds/{Path(row['file']).name}", stamp_ns, pose))
    card = {"session": folder.name, "bag": "submaps.csv", "map_frame": "utm", "image_size": None,
            "cloud_layout": {"dtype": "<f4", "columns": 3}}  # fmt: skip
    write_index(folder, frames, {**card, "counts": {"frames": len(frames)}, "drops": {}})
    drive = Frames.load(folder)
    assert [len(drive.cloud(index)) for index in range(3)] == [int(row["num_points"]) for row in submaps[:3]]
    return drive


def test_prepared_as_pointnetvlad_has_them(
    source: Path, rows: dict[str, list[dict[str, str]]], tmp_path: Path, figures: list[str]
) -> None:
    """4096 points in [-1, 1], asked for inside PointNetVLAD's boxes: 24 and 17 of 50 submaps lie there."""
    for run, submaps in rows.items():
        _as_pointnetvlad(tmp_path / "root" / run, source, submaps)
    options = oxford_robotcar.Options(sensors=("cloud",), train_runs=(MARCH,), test_runs=(MARCH, NOVEMBER))
    plan = oxford_robotcar.plan(tmp_path / "root", options)
    absent = {"no pointcloud_locations_20m_10overlap.csv", "no pointcloud_20m_10overlap/*.bin"}
    assert {reason for reason in plan.missing if "10overlap" in reason} == absent
    folders = write_plan(plan, tmp_path / "out", "vpr-distill prepare oxford_robotcar", {})
    drives = [Frames.load(folders[f"test/{run}"]) for run in (MARCH, NOVEMBER)]
    assert [int(drive.queries.sum()) for drive in drives] == [24, 17]
    describe = scan_context_describer(max_range_m=1.0, ground_z_m=None)
    found = evaluate_pairs("Scan Context on 4096 points", describe, drives, RADIUS_M, retrieve_scan_contexts)
    assert [len(pair.database) for pair in found] == [50, 50]
    for pair, drive in zip(found, reversed(drives), strict=True):
        asked = pair.result.evaluated + pair.result.skipped
        assert asked == len(pair.queries) == drive.queries.sum() and pair.result.evaluated >= 10
        assert pair.result.at[5] > chance_at_5(pair) + 0.2
    figures += [line_of([pair]) for pair in found]


def _as_pointnetvlad(run: Path, source: Path, submaps: list[dict[str, str]]) -> None:
    (run / "pointcloud_20m").mkdir(parents=True)
    lines = ["timestamp,northing,easting"]
    for row in submaps:
        points = np.fromfile(source / row["file"], "<f4").reshape(-1, 3)
        drawn = points[np.random.default_rng(0).choice(len(points), 4096, replace=False)] / SUBMAP_RANGE_M
        stamp_us = int(row["id"]) * SECOND_NS // 1000
        drawn.clip(-1, 1).astype(np.float64).tofile(run / "pointcloud_20m" / f"{stamp_us}.bin")
        lines.append(f"{stamp_us},{row['northing']},{row['easting']}")
    (run / "pointcloud_locations_20m.csv").write_text("\n".join(lines) + "\n")


def network_input() -> dict[str, Any]:
    """What the shipped network is and takes; where none is shipped, what the town's LiDAR recipe makes."""
    if SHIPPED.is_dir():
        manifest = json.loads((SHIPPED / "bundle.json").read_text())
        return {name: manifest[name] for name in ("model", "voxel_size_m", "max_range_m", "dim")}
    recipe = Recipe.from_json(yaml.safe_load((ROOT / "config" / "distill" / "town_lidar.yaml").read_text()))
    spec, _ = model_spec(recipe)
    sizes = {"voxel_size_m": recipe.voxel_size_m, "max_range_m": recipe.max_range_m}
    return {"model": spec, **sizes, "dim": spec["options"]["dim"]}


def untrained(folder: Path, seed: int) -> Path:
    """A bundle of that network with random weights."""
    torch.manual_seed(seed)
    made_of = network_input()
    weights = io.BytesIO()
    torch.save(build_model(made_of["model"]["name"], **made_of["model"]["options"]).state_dict(), weights)
    return write_lidar_bundle(folder, weights.getvalue(), **made_of, accept_similarity=None, card={})


def test_scan_context_gives_the_recall_that_is_known_of_it(runs: list[Frames], figures: list[str]) -> None:
    """20 rings, 60 sectors, 25 m, heights above the lowest point: R@1 0.65 and 0.66, R@5 0.73 and 0.71."""
    describe = scan_context_describer(max_range_m=SUBMAP_RANGE_M, ground_z_m=None)
    found = evaluate_pairs("Scan Context", describe, runs, RADIUS_M, retrieve_scan_contexts)
    counts = [(pair.queries.session, pair.result.evaluated, pair.result.skipped) for pair in found]
    assert counts == [(NOVEMBER, 37, 13), (MARCH, 38, 12)]
    for pair, at_1, at_5 in zip(found, (0.65, 0.66), (0.73, 0.71), strict=True):
        assert pair.result.at[1] == pytest.approx(at_1, abs=0.03)
        assert pair.result.at[5] == pytest.approx(at_5, abs=0.03)
    figures += [line_of([pair]) for pair in found]


def test_random_weights_are_above_chance_and_below_scan_context(
    runs: list[Frames], tmp_path: Path, figures: list[str]
) -> None:
    """So that clouds and poses belong together; how far five draws lie apart is how little one of them says."""
    drawn = [
        evaluate_pairs("untrained network", bundle_describer(untrained(tmp_path / str(seed), seed)), runs, RADIUS_M)
        for seed in range(SEEDS)
    ]
    for queries in zip(*drawn, strict=True):
        figures.append(line_of(queries))
        assert np.mean([pair.result.at[5] for pair in queries]) > chance_at_5(queries[0]) + 0.1
        assert np.mean([pair.result.at[1] for pair in queries]) < 0.5


def chance_at_5(pair: Evaluation) -> float:
    """Recall@5 of places in random order."""
    places = len(pair.database)
    true = [len(found) for found in within(pair.database.positions_m, pair.queries.positions_m, RADIUS_M)]
    return float(np.mean([1 - comb(places - count, 5) / comb(places, 5) for count in true if count]))


@pytest.mark.skipif(not SHIPPED.is_dir(), reason=f"no bundle {SHIPPED.relative_to(ROOT)}")
def test_the_shipped_network_on_submaps_that_it_was_not_made_for(runs: list[Frames], figures: list[str]) -> None:
    """With the town's voxel size and range. What it is worth here is printed, not claimed."""
    found = evaluate_pairs("trained on the town", bundle_describer(SHIPPED), runs, RADIUS_M)
    figures += [line_of([pair]) for pair in found]
    assert [(pair.result.evaluated, pair.result.skipped) for pair in found] == [(37, 13), (38, 12)]
    again = evaluate("itself", bundle_describer(SHIPPED), runs[0], runs[:1], RADIUS_M)
    assert again[0].result.at[1] == 1.0


def line_of(pairs: Sequence[Evaluation]) -> str:
    """Recall of one pair of runs, as the mean of several draws with their extremes."""
    shares = []
    for k in (1, 5):
        values = [pair.result.at[k] for pair in pairs]
        extremes = f" ({min(values):.3f} to {max(values):.3f})" if len(pairs) > 1 else ""
        shares.append(f"R@{k} {np.mean(values):.3f}{extremes}")
    first = pairs[0]
    drives = f"{first.queries.session[:10]} on {first.database.session[:10]}"
    return f"Oxford submaps, {drives}, {first.method}: {', '.join(shares)}, {first.result.evaluated} queries"
