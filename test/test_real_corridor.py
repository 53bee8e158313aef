"""A real robot's camera driving an indoor loop twice: lap 2 is recognised in a map of lap 1, without any pose."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.ingest import ingest
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.query import query_bag
from vpr_core.retrieval.recognizer import PlaceRecognizer

LAP_1, LAP_2 = range(1, 41), range(41, 85)
SECOND_NS = 1_000_000_000
IMAGE_TOPIC = "/camera/image/compressed"


@pytest.fixture(scope="module")
def loop(shared: Path) -> Path:
    folder = shared / "data" / "rtabmap_corridor_loop"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


@pytest.fixture(scope="module")
def laps(loop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both laps as bags of one image a second; the stamp of an image is its number in seconds."""
    folder = tmp_path_factory.mktemp("corridor")
    for name, numbers in (("lap1", LAP_1), ("lap2", LAP_2)):
        with BagWriter(folder / name) as bag:
            for number in numbers:
                data = next(loop.rglob(f"{number:03d}.jpg")).read_bytes()
                bag.image_jpeg(IMAGE_TOPIC, number * SECOND_NS, "camera_optical", data)
    return {name: folder / name for name in ("lap1", "lap2")}


@pytest.fixture(scope="module")
def truth(loop: Path) -> dict[int, set[int]]:
    """For each image of lap 2 the images of lap 1 that show the same place."""
    with (loop / "loop_ground_truth.csv").open() as file:
        rows = {int(row[0]): {int(cell) for cell in row[1].split()} for row in list(csv.reader(file))[1:]}
    return {number: rows[number] & set(LAP_1) for number in LAP_2}


def recall_at(k: int, records: list[dict], truth: dict[int, set[int]]) -> float:
    """Share of lap 2 with a true image of lap 1 among the first k; place_id counts lap 1 from 0."""
    hits = []
    for record in records:
        true = truth[record["stamp_ns"] // SECOND_NS]
        if true:
            hits.append(any(match["place_id"] + LAP_1[0] in true for match in record["matches"][:k]))
    assert len(hits) >= 40
    return float(np.mean(hits))


@pytest.fixture(scope="module")
def maps(
    laps: dict[str, Path],
    trained: Path,
    make_bundle: Callable[[Path, Path, bool], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, Path]]:
    """Bundle and map of lap 1 for the network trained on the town and for one with random weights."""
    folder = tmp_path_factory.mktemp("corridor_maps")
    frames = ingest(laps["lap1"], folder / "frames")
    bundles = {"trained": trained, "random": make_bundle(folder / "random", frames, False)}
    for name, bundle in bundles.items():
        built = build_map(bundle, frames, folder / f"{name}_map")
        assert len(built) == 40 and not built.has_poses
    return {name: (bundle, folder / f"{name}_map") for name, bundle in bundles.items()}


def test_lap_2_is_recognised_in_lap_1(
    laps: dict[str, Path], maps: dict[str, tuple[Path, Path]], truth: dict[int, set[int]], figures: list[str]
) -> None:
    recall = {}
    for name, folders in maps.items():
        records = list(query_bag(PlaceRecognizer.load(*folders), laps["lap2"]))
        assert len(records) == 44 and all(match["position"] is None for match in records[0]["matches"])
        recall[name] = {k: recall_at(k, records, truth) for k in (1, 5)}
        figures.append(f"corridor loop, lap 2 on lap 1, {name}: R@1 {recall[name][1]:.3f}, R@5 {recall[name][5]:.3f}")
    assert recall["trained"][5] > recall["random"][5]


def test_the_live_node_gives_the_same_places_and_no_pose(
    laps: dict[str, Path], maps: dict[str, tuple[Path, Path]], truth: dict[int, set[int]], tmp_path: Path,
    figures: list[str],
) -> None:  # fmt: skip
    pytest.importorskip("rclpy")
    from vpr_core.experiments.live import run_live

    records = run_live(*maps["trained"], laps["lap2"], IMAGE_TOPIC, rate=5.0, folder=tmp_path)
    offline = {record["stamp_ns"]: record for record in query_bag(PlaceRecognizer.load(*maps["trained"]), laps["lap2"])}
    assert len(records) >= 0.9 * len(offline)
    for record in records:
        expected = offline[record["stamp_ns"]]["matches"]
        assert [match["place_id"] for match in record["matches"]] == [match["place_id"] for match in expected]
        assert all(match["position"] is None for match in record["matches"])
    figures.append(f"corridor loop over DDS: {len(records)} of 44 images, R@5 {recall_at(5, records, truth):.3f}")
