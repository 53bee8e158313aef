"""Local features stored with a map, and a recognizer that re-ranks by them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError, InputError, MapError
from vpr_core.retrieval.local_features import OPENCV, load_features
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_features import FILE, PlaceFeatures, store_features
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.records import recognition_to_record
from vpr_core.retrieval.verify import verify
from vpr_core.types import Reason


@pytest.fixture
def make_map(place_map: Path, frames: Path, tmp_path: Path) -> Callable[[str], Path]:
    """make_map(features): a copy of the map, with these local features."""

    def make(features: str) -> Path:
        folder = tmp_path / f"map_{features}"
        shutil.copytree(place_map, folder)
        store_features(folder, frames, features)
        return folder

    return make


@pytest.fixture
def orb_map(make_map: Callable[[str], Path]) -> Path:
    return make_map("orb")


@pytest.mark.parametrize("name", OPENCV)
def test_what_is_stored_comes_back(make_map: Callable[[str], Path], frames: Path, name: str) -> None:
    folder, drive = make_map(name), Frames.load(frames)
    stored, kind = PlaceFeatures.load(folder, PlaceMap.load(folder).hash), load_features(name)
    assert (len(stored), stored.kind, stored.weights) == (len(drive), name, "")
    assert isinstance(stored.descriptors, np.memmap) and isinstance(stored.points, np.memmap)
    for index in (0, 3, len(drive) - 1):
        taken, read = kind.of(drive.image(index)), stored[index]
        np.testing.assert_array_equal(read.descriptors, taken.descriptors)
        np.testing.assert_allclose(read.points, taken.points, atol=1 / 128)
        np.testing.assert_allclose(read.scores, taken.scores, rtol=1e-3, atol=1e-4)
        assert (read.size, read.are_bits) == (taken.size, taken.are_bits)
        assert verify(taken, read) > 0.9 * len(taken)
    width = {"sift": 128, "akaze": 61, "orb": 32}[name]
    assert stored.bytes_per_place == pytest.approx((width + 6) * len(stored.points) / len(drive))
    assert (folder / FILE).stat().st_size < stored.bytes_per_place * len(drive) + 4 * len(drive) + 1024


def test_features_of_a_part_and_of_a_whole_that_were_changed_are_refused(orb_map: Path) -> None:
    path, map_hash = orb_map / FILE, PlaceMap.load(orb_map).hash
    whole = path.read_bytes()
    header = json.loads(whole.split(b"\n")[0])
    changed = whole.replace(b'"size": [320', b'"size": [640', 1)
    assert header["map_hash"] == map_hash and changed != whole
    for data in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole[:100], b"", b"[]\n", changed, whole + b"x"):
        path.write_bytes(data)
        with pytest.raises(MapError, match="features.bin is damaged.*make it again with"):
            PlaceFeatures.load(orb_map, map_hash)
    path.write_bytes(whole)
    assert len(PlaceFeatures.load(orb_map, map_hash)) == header["places"]


def test_features_of_another_map_are_refused(orb_map: Path, bundle: Path, frames: Path) -> None:
    known = PlaceMap.load(orb_map)
    dataclasses.replace(known, places=known.places[:4], descriptors=known.descriptors[:4]).save(orb_map)
    with pytest.raises(MapError, match=f"belongs to map {known.hash}, this one is .*: make it again"):
        PlaceRecognizer.load(bundle, orb_map, rerank=10)
    assert PlaceRecognizer.load(bundle, orb_map).num_places == 4
    with pytest.raises(MapError, match="was not made of .* alone"):
        store_features(orb_map, frames, "orb")


def test_a_map_without_features_is_recognised_without_re_ranking_alone(bundle: Path, place_map: Path) -> None:
    with pytest.raises(MapError, match="has no local features to re-rank with: make the map with .* set rerank to 0"):
        PlaceRecognizer.load(bundle, place_map, rerank=10)
    assert PlaceRecognizer.load(bundle, place_map, rerank=0).reranker is None
    with pytest.raises(InputError, match="rerank is -1, expected 0 or more"):
        PlaceRecognizer.load(bundle, place_map, rerank=-1)


def test_a_lidar_is_not_re_ranked(lidar_bundle: Path, lidar_map: Path, frames: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="re-ranking compares images, the bundle is a lidar bundle"):
        PlaceRecognizer.load(lidar_bundle, lidar_map, rerank=5)
    shutil.copytree(lidar_map, tmp_path / "map")
    with pytest.raises(MapError, match="is a map of clouds: local features are of images"):
        store_features(tmp_path / "map", frames, "orb")


def test_places_come_in_the_order_of_their_inliers(orb_map: Path, bundle: Path, frames: Path) -> None:
    drive = Frames.load(frames)
    plain = PlaceRecognizer.load(bundle, orb_map, top_k=8, min_similarity=0.99)
    ranked = PlaceRecognizer.load(bundle, orb_map, top_k=8, min_similarity=0.99, rerank=5)
    kind, stored = load_features("orb"), PlaceFeatures.load(orb_map, plain.map_hash)
    moved = 0
    for index in range(0, len(drive), 3):
        image = drive.image(index)
        before, after = plain.recognize(image, 7).matches, ranked.recognize(image, 7).matches
        shared = [verify(kind.of(image), stored[match.place_id]) for match in before[:5]]
        order = sorted(range(5), key=lambda rank: -shared[rank])
        assert [match.place_id for match in after[:5]] == [before[rank].place_id for rank in order]
        assert [match.inliers for match in after] == [*(shared[rank] for rank in order), None, None, None]
        assert [match.place_id for match in after[5:]] == [match.place_id for match in before[5:]]
        assert {match.inliers for match in before} == {None}
        by_place = {match.place_id: match.similarity for match in before}
        assert all(match.similarity == by_place[match.place_id] for match in after)
        assert (after[0].place_id, after[0].reason) == (index, Reason.ACCEPTED)
        moved += order != list(range(5))
    assert moved


def test_more_places_are_compared_than_are_asked_for(orb_map: Path, bundle: Path, frames: Path) -> None:
    """A place that the descriptors put last comes first, and the threshold still judges its similarity."""
    drive = Frames.load(frames)
    known = PlaceMap.load(orb_map)
    query = drive.image(4)
    worst = PlaceRecognizer.load(bundle, orb_map, top_k=len(known)).recognize(query, 1).matches[-1].place_id
    swapped = known.descriptors.copy()
    swapped[[4, worst]] = swapped[[worst, 4]]
    dataclasses.replace(known, descriptors=swapped).save(orb_map)
    _as_if_made_of_it(orb_map)
    recognizer = PlaceRecognizer.load(bundle, orb_map, top_k=1, min_similarity=0.999, rerank=100)
    (best,) = recognizer.recognize(query, 1).matches
    assert best.place_id == 4 and best.inliers is not None and best.inliers > 100
    assert best.reason is Reason.BELOW_SIMILARITY and best.similarity < 0.999
    assert PlaceRecognizer.load(bundle, orb_map, top_k=1).recognize(query, 1).matches[0].place_id == worst


def _as_if_made_of_it(folder: Path) -> None:
    """Features that say they belong to the map which lies there now."""
    from vpr_core.retrieval.place_features import write_features

    kind = load_features("orb")
    path = folder / FILE
    old_hash = json.loads(path.read_bytes().split(b"\n")[0])["map_hash"]
    stored, place_map = PlaceFeatures.load(folder, old_hash), PlaceMap.load(folder)
    assert place_map.image_size is not None
    found = [stored[row] for row in range(len(stored))]
    write_features(folder, place_map.hash, kind, place_map.image_size, found)


def test_another_map_brings_its_own_features(orb_map: Path, bundle: Path, place_map: Path, frames: Path) -> None:
    recognizer = PlaceRecognizer.load(bundle, orb_map, rerank=3)
    with pytest.raises(MapError, match="has no local features"):
        recognizer.with_map(place_map)
    again = recognizer.with_map(orb_map)
    image = Frames.load(frames).image(2)
    assert again.recognize(image, 1).matches == recognizer.recognize(image, 1).matches


def test_a_larger_picture_is_compared_at_the_size_of_the_map_s(orb_map: Path, bundle: Path, frames: Path) -> None:
    import cv2

    recognizer = PlaceRecognizer.load(bundle, orb_map, rerank=10)
    larger = cv2.resize(Frames.load(frames).image(5), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    best = recognizer.recognize(larger, 1).matches[0]
    assert best.place_id == 5 and best.inliers is not None and best.inliers > 100


def test_records_tell_inliers_of_re_ranked_places_alone(orb_map: Path, bundle: Path, frames: Path) -> None:
    recognizer = PlaceRecognizer.load(bundle, orb_map, top_k=4, rerank=2)
    recognition = recognizer.recognize(Frames.load(frames).image(0), 1)
    record = recognition_to_record(recognition, map_hash="m", model_hash="b")
    assert ["inliers" in match for match in record["matches"]] == [True, True, False, False]
    assert record["matches"][0]["inliers"] == recognition.matches[0].inliers


def test_weights_are_found_beside_the_features_and_told_where_they_are_not(
    bundle: Path, frames: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    feature = pytest.importorskip("kornia.feature")
    weights, folder = tmp_path / "disk.pt", tmp_path / "map"
    torch.manual_seed(0)
    torch.save(feature.DISK().state_dict(), weights)
    short = tmp_path / "frames"
    _first_frames(frames, short, 2)
    build_map(bundle, short, folder)
    store_features(folder, short, f"disk={weights}")
    image = Frames.load(short).image(1)
    assert PlaceRecognizer.load(bundle, folder, rerank=2).recognize(image, 1).matches[0].place_id == 1
    weights.rename(folder / "disk.pt")
    assert PlaceRecognizer.load(bundle, folder, rerank=2).recognize(image, 1).matches[0].place_id == 1
    torch.save(feature.DISK().state_dict(), folder / "disk.pt")
    with pytest.raises(MapError, match="holds other weights"):
        PlaceRecognizer.load(bundle, folder, rerank=2)
    (folder / "disk.pt").unlink()
    with pytest.raises(MapError, match="weights of disk are neither .*: copy them into the map's folder"):
        PlaceRecognizer.load(bundle, folder, rerank=2)


def _first_frames(frames: Path, out: Path, count: int) -> None:
    from vpr_core.data.frames import write_index

    drive = Frames.load(frames)
    shutil.copytree(frames / "images", out / "images")
    kept = [dataclasses.replace(frame, cloud=None, cloud_stamp_ns=None, label=None) for frame in drive.frames[:count]]
    card = {name: value for name, value in drive.card.items() if name != "schema"}
    write_index(out, kept, {**card, "counts": {**card["counts"], "frames": count}})
