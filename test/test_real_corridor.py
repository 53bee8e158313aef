"""A real robot's camera driving an indoor loop twice: lap 2 is recognised in a map of lap 1, without any pose.

For the filter, which needs poses and odometry that these data do not have, they are made up: 40 images a lap, evenly
spaced along a circle, which is how the loop ground truth has it (image n + 40 shows what image n does).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.retrieval.filter_fit import fit_filter
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.query import query_bag
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.records import read_records
from vpr_core.types import Pose

SHIPPED = Path(__file__).parents[1] / "bundles" / "town_camera"
LAP_1, LAP_2 = range(1, 41), range(41, 85)
STEP_M = 5.0
"""From an image to the next on the circle: the two images on either side that count as the same place lie in 10 m."""
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


def on_circle(number: int, scale: float = 1.0, turning: float = 1.0) -> Pose:
    """Where an image was taken; scale and turning are the errors of an odometry that begins at image 0."""
    angle_rad = 2 * math.pi * number / len(LAP_1) * turning
    radius_m = STEP_M * len(LAP_1) / (2 * math.pi) * scale
    return Pose.from_xy_yaw(radius_m * math.sin(angle_rad), radius_m * (1 - math.cos(angle_rad)), angle_rad)


@pytest.fixture(scope="module")
def circuit(loop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A map of lap 1 on the circle, made by the shipped bundle, and a bag of lap 2 with odometry that drifts.

    The filter is fitted on every second image of lap 2.
    """
    folder = tmp_path_factory.mktemp("circuit")
    for name, numbers, errors in (("lap1", LAP_1, (1.0, 1.0)), ("lap2", LAP_2, (1.03, 1.01))):
        with BagWriter(folder / name) as bag:
            for number in numbers:
                data = next(loop.rglob(f"{number:03d}.jpg")).read_bytes()
                bag.image_jpeg(IMAGE_TOPIC, number * SECOND_NS, "camera_optical", data)
                pose = on_circle(number - numbers[0], *errors)
                bag.odometry("/odom", number * SECOND_NS, "map", "base_link", pose, STEP_M)
    for name in ("lap1", "lap2"):
        ingest(folder / name, folder / "frames" / name, pose_topic="/odom", keyframe_m=0.0)
    build_map(SHIPPED, folder / "frames" / "lap1", folder / "map")
    recognizer, lap = PlaceRecognizer.load(SHIPPED, folder / "map", threads=1), Frames.load(folder / "frames" / "lap2")
    fitted = range(0, len(LAP_2), 2)
    descriptors = [recognizer.recognize(lap.image(index), 1).descriptor for index in fitted]
    similarities = np.stack(descriptors) @ recognizer.place_map.descriptors.T
    stamps_ns = [LAP_2[index] * SECOND_NS for index in fitted]
    fit_filter(recognizer.place_map, similarities, [on_circle(index) for index in fitted], stamps_ns).save(
        folder / "map"
    )
    return folder / "map", folder / "lap2"


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


def test_along_odometry_nothing_wrong_is_accepted(
    circuit: tuple[Path, Path], truth: dict[int, set[int]], tmp_path: Path, figures: list[str]
) -> None:
    """Lap 2 through the localizer along odometry that is made up (see above), beside what single images say.

    The lap is driven again and again until each image has been answered; the first answer to it counts.
    """
    pytest.importorskip("rclpy")
    from vpr_core.experiments.live import Graph

    place_map, lap_2 = circuit
    alone, along = tmp_path / "matches.jsonl", tmp_path / "filtered.jsonl"
    with Graph(tmp_path) as graph:
        graph.start("localizer", bundle=SHIPPED, map=place_map, image_topic=IMAGE_TOPIC, odometry_topic="/odom")
        graph.start("match_recorder", out=alone, filtered_out=along)
        graph.wait_for_log("match_recorder", "recording")
        graph.start("bag_replay", bag=lap_2, rate=5.0, loop=True, wait_for_subscribers_s=60.0)
        graph.wait_until(lambda: len(first_answers(along)) == len(LAP_2), "an answer to each image", 300.0)
    counts = {}
    for name, path in (("alone", alone), ("along odometry", along)):
        told = {
            number: record["filtered"] if path == along else record["matches"][0]
            for number, record in first_answers(path).items()
        }
        right = {number: answer["place_id"] + LAP_1[0] in truth[number] for number, answer in told.items()}
        accepted = [number for number, answer in told.items() if answer["accepted"]]
        counts[name] = (sum(right.values()), len(accepted), sum(not right[number] for number in accepted))
    lines = [f"{name} {right} right, {accepted} accepted, {wrong} of them wrong"
             for name, (right, accepted, wrong) in counts.items()]  # fmt: skip
    figures.append(f"corridor loop over DDS, shipped bundle, {len(LAP_2)} images: {'; '.join(lines)}")
    assert counts["along odometry"][2] == 0 and counts["along odometry"][0] >= 0.3 * len(LAP_2)


def first_answers(path: Path) -> dict[int, dict]:
    """The first record of each image of lap 2, in whatever round of the replay; rounds are a second apart."""
    answers: dict[int, dict] = {}
    for record in read_records(path) if path.exists() else ():
        answers.setdefault(LAP_2[(record["stamp_ns"] // SECOND_NS - LAP_2[0]) % len(LAP_2)], record)
    return answers
