"""Several sensors of one vehicle as queries of one answer."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.camera_sets import ImageSet
from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import BagError, InputError
from vpr_core.retrieval.query import query_cameras
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.several_cameras import Cameras, turn
from vpr_core.synthetic.camera import jpeg
from vpr_core.types import Pose


@pytest.fixture(scope="module")
def recognizer(bundle: Path, place_map: Path) -> PlaceRecognizer:
    return PlaceRecognizer.load(bundle, place_map, min_similarity=0.9)


@pytest.fixture(scope="module")
def drive(frames: Path) -> Frames:
    return Frames.load(frames)


def test_one_camera_is_recognised_as_alone(recognizer: PlaceRecognizer, drive: Frames) -> None:
    alone = recognizer.recognize(drive.image(6), 5)
    together, cameras = recognizer.recognize_many([drive.image(6)], 5)
    assert [match.place_id for match in together.matches] == [match.place_id for match in alone.matches]
    assert [match.reason for match in together.matches] == [match.reason for match in alone.matches]
    np.testing.assert_allclose([match.similarity for match in together.matches],
                               [match.similarity for match in alone.matches], atol=1e-6)  # fmt: skip
    assert cameras == (0,) * len(alone.matches) and together.stamp_ns == 5


def test_the_camera_that_sees_a_place_speaks_for_it(recognizer: PlaceRecognizer, drive: Frames) -> None:
    behind = np.random.default_rng(0).integers(0, 256, drive.image(6).shape, np.uint8)
    for observations, expected in (((behind, drive.image(6)), 1), ((drive.image(6), behind), 0)):
        found, cameras = recognizer.recognize_many(observations, 1)
        best = found.matches[0]
        assert (best.place_id, cameras[0]) == (6, expected) and best is found.accepted
        assert best.similarity == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(found.descriptor, recognizer.recognize(drive.image(6), 1).descriptor, atol=1e-5)
    assert recognizer.recognize(behind, 1).accepted is None, "what the other camera sees is no place of the map"


def test_every_place_is_as_similar_as_one_of_them_says(recognizer: PlaceRecognizer, drive: Frames) -> None:
    observations = [drive.image(2), drive.image(14)]
    found, cameras = recognizer.recognize_many(observations, 1, top_k=recognizer.num_places)
    alone = [recognizer.recognize(image, 1, recognizer.num_places).matches for image in observations]
    each = [{match.place_id: match.similarity for match in matches} for matches in alone]
    for match, camera in zip(found.matches, cameras, strict=True):
        assert match.similarity == pytest.approx(max(one[match.place_id] for one in each), abs=1e-5)
        assert match.similarity == pytest.approx(each[camera][match.place_id], abs=1e-5)
    assert {match.place_id for match in found.matches[:2]} == {2, 14} and set(cameras[:2]) == {0, 1}


def test_what_cannot_be_recognised_is_refused(
    recognizer: PlaceRecognizer, drive: Frames, bundle: Path, place_map: Path, frames: Path, tmp_path: Path
) -> None:
    from vpr_core.retrieval.place_features import store_features

    with pytest.raises(InputError, match="no observation came"):
        recognizer.recognize_many([], 1)
    with pytest.raises(InputError, match="expected RGB uint8"):
        recognizer.recognize_many([drive.image(0), drive.image(1)[..., 0]], 1)
    with pytest.raises(InputError, match="top_k is 0"):
        recognizer.recognize_many([drive.image(0)], 1, 0)
    folder = Path(shutil.copytree(place_map, tmp_path / "map"))
    store_features(folder, frames, "orb")
    reranking = PlaceRecognizer.load(bundle, folder, rerank=5)
    with pytest.raises(InputError, match="re-ranking compares one picture"):
        reranking.recognize_many([drive.image(0)], 1)
    assert replace(reranking, reranker=None).recognize_many([drive.image(0)], 1)[0].matches[0].place_id == 0


def message(image: np.ndarray, stamp_ns: int = 1) -> Any:
    stamp = SimpleNamespace(sec=0, nanosec=stamp_ns)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), image=image)


def test_a_camera_that_shows_nothing_does_not_stop_the_other(recognizer: PlaceRecognizer, drive: Frames) -> None:
    cameras = Cameras(("/front", "/rear"), lambda message: message.image)
    dark, narrow = np.zeros_like(drive.image(6)), drive.image(6)[:, :100]
    for number, useless in enumerate((dark, narrow)):
        seen = cameras.recognize(recognizer, ImageSet(7, {0: message(useless), 1: message(drive.image(6))}, 0.0))
        assert (seen.recognition.matches[0].place_id, seen.recognition.stamp_ns) == (6, 7)
        assert set(seen.cameras) == {1} and sum(cameras.refused.values()) == number + 1
    assert cameras.refused[0, "dark"] == 1 and "/front: image is 100x240" in cameras.complaints[0]
    with pytest.raises(InputError, match="/front: image is dark") as error:
        cameras.recognize(recognizer, ImageSet(8, {0: message(dark), 1: message(dark)}, 0.0))
    assert error.value.kind == "dark"


def test_each_camera_is_judged_by_its_own_images(recognizer: PlaceRecognizer, drive: Frames) -> None:
    """The same picture from two cameras in turn is not a frozen one."""
    cameras = Cameras(("/front", "/rear"), lambda message: message.image)
    for second in range(4):
        stamp_ns, image = second * 10**9 + 1, drive.image(second)
        seen = cameras.recognize(
            recognizer, ImageSet(stamp_ns, {camera: timed(image, stamp_ns) for camera in (0, 1)}, 0.0)
        )
        assert seen.recognition.matches[0].place_id == second
    for second in range(4, 8):
        held, moving = (timed(drive.image(which), second * 10**9 + 1) for which in (0, second))
        cameras.recognize(recognizer, ImageSet(second, {0: held, 1: moving}, 0.0))
    assert cameras.refused[0, "frozen"] > 0 and not cameras.refused[1, "frozen"]


def timed(image: np.ndarray, stamp_ns: int) -> Any:
    made = message(image)
    made.header.stamp.sec, made.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return made


OPTICAL = Pose((0.0, 0.0, 0.0), (-0.5, 0.5, -0.5, 0.5))


@pytest.mark.parametrize("mounted", [OPTICAL, Pose((0.0, 0.0, 0.0))], ids=["optical", "as the vehicle"])
@pytest.mark.parametrize("yaw_rad", [0.0, 0.5 * math.pi, -0.5 * math.pi, math.pi, 2.0])
def test_a_vehicle_stands_so_that_its_camera_sees_what_the_map_s_did(yaw_rad: float, mounted: Pose) -> None:
    front = compose(Pose((1.5, 0.1, 1.6)), mounted)
    other = compose(Pose((-0.5, 0.4, 1.6), Pose.from_xy_yaw(0, 0, yaw_rad).quaternion_xyzw), mounted)
    place = Pose.from_xy_yaw(30.0, -20.0, 1.0)
    vehicle = compose(place, turn(front, other))
    assert math.dist(compose(vehicle, other).position_m, compose(place, front).position_m) < 1e-9
    apart = compose(inverse(compose(vehicle, other)), compose(place, front)).quaternion_xyzw
    assert abs(apart[3]) == pytest.approx(1.0)


def test_a_vehicle_stays_upright_and_on_its_road() -> None:
    down = Pose((0.0, 0.0, 2.5), (0.0, math.sin(0.1), 0.0, math.cos(0.1)))
    turned = turn(Pose((1.0, 0.0, 1.0)), compose(Pose.from_xy_yaw(-1.0, 0.0, math.pi), down))
    assert turned.position_m == pytest.approx((0.0, 0.0, 0.0)) and abs(turned.yaw_rad) == pytest.approx(math.pi)
    assert turned.quaternion_xyzw[:2] == (0.0, 0.0)


def test_a_bag_of_several_cameras_is_recognised_moment_by_moment(
    recognizer: PlaceRecognizer, drive: Frames, bundle: Path, place_map: Path, tmp_path: Path
) -> None:
    strange = np.random.default_rng(0).integers(0, 256, (8, *drive.image(6).shape), np.uint8)
    start_ns, step_ns = 1_700_000_000_000_000_000, 200_000_000
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(8):
            stamp_ns = start_ns + number * step_ns
            if number < 6:
                bag.image_jpeg("/rear", stamp_ns, "rear", jpeg(drive.image(number)))
            bag.image_jpeg("/front", stamp_ns + 10_000_000, "front", jpeg(strange[number]))
            bag.image_jpeg("/left", stamp_ns + 100_000_000, "left", jpeg(strange[number]))
    drops: Counter[str] = Counter()
    records = list(query_cameras(recognizer, tmp_path / "bag", ["/front", "/rear", "/left"], drops))
    assert [record["stamp_ns"] for record in records] == [start_ns + n * step_ns + 10_000_000 for n in range(8)]
    best = [record["matches"][0] for record in records]
    assert [(match["place_id"], match["camera"]) for match in best[:6]] == [(n, "/rear") for n in range(6)]
    assert all(match["camera"] == "/front" for record in records[6:] for match in record["matches"])
    assert drops == {"/left: no image of /front within 0.05 s": 8}
    command = ["--bundle", bundle, "--map", place_map, "--bag", tmp_path / "bag", "--out", tmp_path / "out.jsonl"]
    asked = [sys.executable, "-m", "vpr_core", "query", *map(str, command), "--image_topic", "/front", "/rear"]
    result = subprocess.run(asked, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and "8 sets of images, " in result.stdout, result.stderr
    written = [json.loads(line)["matches"][0] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(match["place_id"], match["camera"]) for match in written[:6]] == [(n, "/rear") for n in range(6)]


def test_a_bag_that_cannot_be_asked_with_several_cameras_is_refused(
    recognizer: PlaceRecognizer, lidar_bundle: Path, lidar_map: Path, bag: Path
) -> None:
    topic = "/camera/image/compressed"
    with pytest.raises(InputError, match="the bundle is a lidar bundle"):
        next(query_cameras(PlaceRecognizer.load(lidar_bundle, lidar_map), bag, [topic, "/rear"]))
    with pytest.raises(InputError, match="name each once"):
        next(query_cameras(recognizer, bag, [topic, topic]))
    with pytest.raises(BagError, match="/rear"):
        next(query_cameras(recognizer, bag, [topic, "/rear"]))
