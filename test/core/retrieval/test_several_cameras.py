"""Several sensors of one vehicle as queries of one answer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import InputError
from vpr_core.retrieval.recognizer import PlaceRecognizer


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
