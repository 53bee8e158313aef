"""Bundle, map and recognizer together, on a real drive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError, InputError, MapError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.query import query_bag
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.types import Reason


def test_every_frame_of_the_map_finds_itself(bundle: Path, place_map: Path, frames: Path) -> None:
    recognizer = PlaceRecognizer.load(bundle, place_map, min_similarity=0.99)
    drive = Frames.load(frames)
    for index, frame in enumerate(drive.frames):
        found = recognizer.recognize(drive.image(index), frame.stamp_ns)
        best = found.matches[0]
        assert (best.place_id, best.reason, found.accepted) == (index, Reason.ACCEPTED, best)
        assert best.similarity == pytest.approx(1.0, abs=1e-5)
        assert best.pose == frame.pose and best.place_stamp_ns == frame.stamp_ns == found.stamp_ns
        assert [match.similarity for match in found.matches] == sorted(
            (match.similarity for match in found.matches), reverse=True
        )


def test_a_picture_of_another_size_but_the_same_shape_is_recognised(
    bundle: Path, place_map: Path, frames: Path
) -> None:
    import cv2

    recognizer = PlaceRecognizer.load(bundle, place_map)
    drive = Frames.load(frames)
    larger = cv2.resize(drive.image(4), None, fx=2, fy=2)
    assert recognizer.recognize(larger, 1).matches[0].place_id == 4
    with pytest.raises(InputError, match="image is 320x200, the map was made with images of 320x240"):
        recognizer.recognize(np.ascontiguousarray(drive.image(4)[:200]), 1)
    with pytest.raises(InputError, match="expected RGB uint8"):
        recognizer.recognize(drive.image(4)[..., 0], 1)
    with pytest.raises(InputError, match="expected RGB uint8"):
        recognizer.recognize(np.zeros((0, 0, 3), np.uint8), 1)


def test_as_many_places_as_asked_for(bundle: Path, place_map: Path, frames: Path) -> None:
    recognizer, image = PlaceRecognizer.load(bundle, place_map, top_k=3), Frames.load(frames).image(0)
    asked = {None: 3, 1: 1, 4: 4, 10_000: recognizer.num_places}
    assert {top_k: len(recognizer.recognize(image, 1, top_k).matches) for top_k in asked} == asked
    for top_k in (0, -1):
        with pytest.raises(InputError, match=f"top_k is {top_k}, expected 1 or more"):
            recognizer.recognize(image, 1, top_k)
    with pytest.raises(InputError, match="top_k is 0, expected 1 or more"):
        PlaceRecognizer.load(bundle, place_map, top_k=0).recognize(image, 1)


def test_a_map_of_another_model_is_refused(bundle: Path, place_map: Path, other_map: Path) -> None:
    with pytest.raises(MapError, match="was made with model .* cannot be compared"):
        PlaceRecognizer.load(bundle, other_map)
    recognizer = PlaceRecognizer.load(bundle, place_map)
    with pytest.raises(MapError, match="was made with model"):
        recognizer.with_map(other_map)
    assert recognizer.with_map(place_map).map_hash == recognizer.map_hash


def test_pictures_not_worth_a_query_are_left_out_of_a_bag_s_answers_and_counted(
    bundle: Path, place_map: Path, frames: Path, tmp_path: Path
) -> None:
    pictures = [(frames / str(frame.image)).read_bytes() for frame in Frames.load(frames).frames[:3]]
    black = cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))[1].tobytes()
    with BagWriter(tmp_path / "bag") as bag:
        for second, data in enumerate([*pictures, black, black, *[pictures[0]] * 4], start=1):
            bag.image_jpeg("/camera", second * 10**9, "camera", data)
    recognizer, drops = PlaceRecognizer.load(bundle, place_map), Counter[str]()
    records = list(query_bag(recognizer, tmp_path / "bag", drops=drops))
    assert [record["stamp_ns"] // 10**9 for record in records] == [1, 2, 3, 6, 7]
    assert drops == {"image is dark": 2, "image is frozen": 2}
    assert len(list(query_bag(recognizer, tmp_path / "bag", refuse=()))) == 9


def test_a_map_keeps_its_identity_through_the_disk(bundle: Path, place_map: Path, frames: Path, tmp_path: Path) -> None:
    again = build_map(bundle, frames, tmp_path / "map")
    assert again.hash == PlaceMap.load(place_map).hash
    assert again.map_frame == "map" and again.has_poses and again.image_size == (320, 240)


@pytest.mark.parametrize("name", ["descriptors-*.npy", "places-*.csv"])
def test_a_damaged_map_is_refused(bundle: Path, frames: Path, tmp_path: Path, name: str) -> None:
    build_map(bundle, frames, tmp_path / "map")
    (file,) = (tmp_path / "map").glob(name)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(MapError, match="damaged"):
        PlaceMap.load(tmp_path / "map")
    file.unlink()
    with pytest.raises(MapError, match="cannot be read"):
        PlaceMap.load(tmp_path / "map")


def test_folders_that_are_something_else_are_refused(bundle: Path, place_map: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        PlaceRecognizer.load(tmp_path / "nothing", place_map)
    with pytest.raises(BundleError, match="expected a folder with bundle.json"):
        PlaceRecognizer.load(place_map, place_map)
    with pytest.raises(MapError, match="expected a folder with map.json"):
        PlaceRecognizer.load(bundle, bundle)
    with pytest.raises(BundleError, match="device is 'tpu'"):
        Bundle.load(bundle, device="tpu")
