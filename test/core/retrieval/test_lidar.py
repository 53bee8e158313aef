"""A LiDAR bundle, its map and its recognizer, on a real drive's clouds; what is refused, and with which words."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.data.bag import BagReader
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.errors import BagError, BundleError, FramesError, InputError, MapError
from vpr_core.evaluation.evaluate import bundle_describer, evaluate
from vpr_core.files import sha256_bytes
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.lidar_bundle import LidarBundle
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.query import query_bag
from vpr_core.retrieval.recognizer import PlaceRecognizer

SECOND_NS = 1_000_000_000
RANGE_M = 60.0


@pytest.fixture(scope="module")
def recognizer(lidar_bundle: Path, lidar_map: Path) -> PlaceRecognizer:
    return PlaceRecognizer.load(lidar_bundle, lidar_map)


@pytest.fixture(scope="module")
def drive(frames: Path) -> Frames:
    return Frames.load(frames)


def test_every_cloud_of_the_map_finds_itself(recognizer: PlaceRecognizer, drive: Frames) -> None:
    assert recognizer.modality == "lidar" and recognizer.has_poses
    for index, frame in enumerate(drive.frames):
        found = recognizer.recognize(drive.cloud(index), frame.stamp_ns)
        assert found.matches[0].place_id == index and found.accepted == found.matches[0]
        assert found.matches[0].similarity == pytest.approx(1.0, abs=1e-5)
        assert found.matches[0].pose == frame.pose and found.stamp_ns == frame.stamp_ns


def test_a_descriptor_does_not_depend_on_its_batch(lidar_bundle: Path, drive: Frames) -> None:
    bundle = Bundle.load(lidar_bundle)
    clouds = [drive.cloud(index) for index in (0, 3, 5)]
    together = bundle.encode(clouds)
    assert together.shape == (3, bundle.dim) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for row, cloud in zip(together, clouds, strict=True):
        np.testing.assert_allclose(bundle.encode([cloud])[0], row, atol=1e-5)


def test_only_what_is_within_range_counts_in_any_order(lidar_bundle: Path, drive: Frames) -> None:
    bundle = Bundle.load(lidar_bundle)
    cloud = drive.cloud(2)
    (expected,) = bundle.encode([cloud])
    far = np.array([[RANGE_M + 1, 0, 0, 0], [1e30, 1e30, 0, 0], [np.nan, 0, 0, 0]], np.float32)
    shuffled = np.random.default_rng(0).permutation(np.vstack([cloud, far, cloud[:100]]))
    for same in (shuffled, shuffled.astype(">f4"), shuffled.astype(np.float64), shuffled[:, :3]):
        np.testing.assert_array_equal(bundle.encode([same])[0], expected)
    near = cloud[np.linalg.norm(cloud[:, :3], axis=1) < 10]
    assert np.abs(bundle.encode([near])[0] - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("cloud", "kind", "words"),
    [
        (np.empty((0, 4), np.float32), "empty", "no finite point among its 0"),
        (np.full((500, 4), np.nan, np.float32), "empty", "no finite point among its 500"),
        (np.tile(np.float32([99, 0, 0, 0]), (7, 1)), "range", "none of the cloud's 7 points lies within 60 m.* 99.0 m"),
        (np.zeros((16384, 4), np.float32), "sparse", "16384 points occupy 1 voxels of 1 m, expected 10 or more"),
        (np.zeros((240, 320, 3), np.uint8), "refused", r"point cloud is uint8 \[240, 320, 3\], expected"),
        (np.zeros((5, 2), np.float32), "refused", r"float32 \[5, 2\], expected"),
    ],
    ids=["empty", "NaN", "far", "one voxel", "an image", "flat"],
)  # fmt: skip
def test_a_cloud_that_shows_no_place_is_refused_with_figures(
    recognizer: PlaceRecognizer, cloud: np.ndarray, kind: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        recognizer.recognize(cloud, 1)
    assert caught.value.kind == kind


def test_coordinates_that_no_voxel_grid_holds_are_refused(lidar_bundle: Path, drive: Frames, tmp_path: Path) -> None:
    unlimited = change(lidar_bundle, tmp_path / "bundle", max_range_m=None)
    cloud = drive.cloud(0)
    cloud[0, 0] = 1e9
    with pytest.raises(InputError, match="voxels of 1.0 m from the origin"):
        Bundle.load(unlimited).encode([cloud])


def test_a_cloud_is_no_image(bundle: Path, place_map: Path, drive: Frames) -> None:
    with pytest.raises(InputError, match="expected RGB uint8"):
        PlaceRecognizer.load(bundle, place_map).recognize(drive.cloud(0), 1)


def test_a_map_of_the_other_sensor_is_refused(
    bundle: Path, place_map: Path, lidar_bundle: Path, lidar_map: Path, recognizer: PlaceRecognizer
) -> None:
    with pytest.raises(MapError, match="is a lidar map, the bundle is a camera bundle"):
        PlaceRecognizer.load(bundle, lidar_map)
    with pytest.raises(MapError, match="is a camera map, the bundle is a lidar bundle"):
        PlaceRecognizer.load(lidar_bundle, place_map)
    with pytest.raises(MapError, match="is a camera map"):
        recognizer.with_map(place_map)
    assert PlaceMap.load(lidar_map).image_size is None and PlaceMap.load(place_map).image_size == (320, 240)


def test_a_camera_map_that_does_not_name_its_sensor_is_read(bundle: Path, place_map: Path, tmp_path: Path) -> None:
    """As maps were before there were those of clouds."""
    copy = shutil.copytree(place_map, tmp_path / "map")
    manifest = json.loads((copy / "map.json").read_text())
    del manifest["modality"]
    (copy / "map.json").write_text(json.dumps(manifest))
    loaded = PlaceRecognizer.load(bundle, copy)
    assert (loaded.place_map.modality, loaded.place_map.image_size) == ("camera", (320, 240))
    assert loaded.map_hash == PlaceMap.load(place_map).hash


def change(bundle: Path, copy: Path, weights: bytes | None = None, **entries: object) -> Path:
    """A copy of a bundle with other weights or other entries in its manifest."""
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "bundle.json").read_text()) | entries
    if weights is not None:
        manifest["encoder"] = f"weights-{sha256_bytes(weights)[:12]}.pt"
        (copy / manifest["encoder"]).write_bytes(weights)
    (copy / "bundle.json").write_text(json.dumps(manifest))
    return copy


def test_another_input_is_another_model(lidar_bundle: Path, lidar_map: Path, tmp_path: Path) -> None:
    coarser = change(lidar_bundle, tmp_path / "coarser", voxel_size_m=2.0)
    with pytest.raises(MapError, match="was made with model .* cannot be compared"):
        PlaceRecognizer.load(coarser, lidar_map)


def test_a_bundle_that_makes_no_network_is_refused_in_one_line(lidar_bundle: Path, tmp_path: Path) -> None:
    spec = json.loads((lidar_bundle / "bundle.json").read_text())["model"]
    for name, words, changes in (
        ("wider", "size mismatch", {"model": {**spec, "options": {**spec["options"], "dim": 64}}}),
        ("option", "no option 'depth'", {"model": {**spec, "options": {"depth": 3}}}),
        ("unknown", "unknown model 'radar'", {"model": {**spec, "name": "radar"}}),
        ("sensor", "is a radar bundle, this version runs camera and lidar", {"modality": "radar"}),
    ):
        with pytest.raises(BundleError, match=words) as caught:
            Bundle.load(change(lidar_bundle, tmp_path / name, **changes))
        assert "\n" not in str(caught.value)


class Harmful:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("harm"),)


def test_weights_that_would_run_code_are_refused(
    lidar_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harmful = change(lidar_bundle, tmp_path / "bundle", weights=pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(BundleError, match="are no state dict") as caught:
        Bundle.load(harmful)
    assert "weights_only" not in str(caught.value) and not (tmp_path / "harm").exists()


def test_damaged_weights_and_missing_devices_are_refused(lidar_bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(lidar_bundle, tmp_path / "bundle")
    (weights,) = copy.glob("weights-*.pt")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(copy)
    with pytest.raises(BundleError, match="device is 'tpu'"):
        Bundle.load(lidar_bundle, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(BundleError, match="finds no GPU"):
            Bundle.load(lidar_bundle, device="cuda")


def test_the_bundle_says_what_it_is(lidar_bundle: Path) -> None:
    bundle = Bundle.load(lidar_bundle)
    assert isinstance(bundle, LidarBundle) and bundle.modality == "lidar"
    assert (bundle.dim, bundle.accept_similarity, bundle.card) == (32, None, {"seed": 0})
    assert (bundle.encoder.voxel_size_m, bundle.encoder.max_range_m) == (1.0, RANGE_M)
    assert not bundle.encoder.model.training


def test_a_bag_s_clouds_are_answered_and_what_cannot_be_used_is_counted(
    recognizer: PlaceRecognizer, bag: Path, drive: Frames, tmp_path: Path
) -> None:
    records = list(query_bag(recognizer, bag))
    with BagReader(bag) as reader:
        assert len(records) == reader.count(["/lidar/points"]) >= len(drive)
    stamps = {record["stamp_ns"]: record["matches"][0]["place_id"] for record in records}
    clouds = {frame.cloud_stamp_ns: frame.index for frame in drive.frames}
    assert {stamp: stamps[stamp] for stamp in clouds} == clouds

    with BagWriter(tmp_path / "bag") as writer:
        for second, cloud in enumerate((drive.cloud(1), drive.cloud(1)[:0], np.full((9, 4), np.nan, np.float32))):
            writer.cloud("/points", second * SECOND_NS + 1, "lidar", cloud)
    drops: Counter[str] = Counter()
    (record,) = query_bag(recognizer, tmp_path / "bag", "/points", drops)
    assert (record["stamp_ns"], record["matches"][0]["place_id"]) == (1, 1)
    assert sorted(drops) == [
        "point cloud has no finite point among its 0",
        "point cloud has no finite point: all 9 have a NaN or infinite coordinate",
    ]


def test_a_bag_without_the_sensor_is_refused(
    recognizer: PlaceRecognizer, bundle: Path, place_map: Path, drive: Frames, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "clouds") as writer:
        writer.cloud("/points", 1, "lidar", drive.cloud(0))
    with BagWriter(tmp_path / "images") as writer:
        writer.image_jpeg("/image", 1, "camera", (drive.folder / str(drive.frames[0].image)).read_bytes())
    with pytest.raises(BagError, match="no topic of sensor_msgs/msg/PointCloud2, which a lidar bundle needs"):
        list(query_bag(recognizer, tmp_path / "images"))
    with pytest.raises(BagError, match="/image in .* expected sensor_msgs/msg/PointCloud2"):
        list(query_bag(recognizer, tmp_path / "images", "/image"))
    with pytest.raises(BagError, match="which a camera bundle needs"):
        list(query_bag(PlaceRecognizer.load(bundle, place_map), tmp_path / "clouds"))


def test_a_lidar_bundle_is_evaluated_like_a_camera_one(lidar_bundle: Path, drive: Frames) -> None:
    (row,) = evaluate("lidar", bundle_describer(lidar_bundle), drive, [drive])
    assert row.result.at[1] == 1.0 and row.row()["method"] == "lidar"


def test_drives_that_cannot_be_described_are_named(lidar_bundle: Path, frames: Path, tmp_path: Path) -> None:
    blind = shutil.copytree(frames, tmp_path / "blind")
    np.save(blind / "clouds" / "000003.npy", np.zeros((40, 4), np.float32))
    with pytest.raises(InputError, match="blind, frames 0 to .*: the cloud's 40 points occupy 1 voxels"):
        build_map(lidar_bundle, blind, tmp_path / "map")
    without = shutil.copytree(frames, tmp_path / "without")
    lines = (without / "frames.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines]
    (without / "frames.csv").write_text("\n".join([lines[0], *(",".join([*c[:3], "", "", *c[5:]]) for c in cells[1:])]))
    with pytest.raises(FramesError, match="has no cloud"):
        build_map(lidar_bundle, without, tmp_path / "map")
    assert not (tmp_path / "map").exists()


def test_clouds_of_the_bag_are_those_of_the_frames(bag: Path, drive: Frames) -> None:
    """So that a map made of frames answers live clouds."""
    stamp_ns = drive.frames[2].cloud_stamp_ns
    with BagReader(bag) as reader:
        decoded = map(reader.decode, reader.raw_messages(["/lidar/points"]))
        message = next(m for m in decoded if m.header.stamp.sec * SECOND_NS + m.header.stamp.nanosec == stamp_ns)
    np.testing.assert_array_equal(cloud_from_message(message), drive.cloud(2))
