"""Points in space stored with a map's features: what is stored comes back, and what does not belong is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames, write_index
from vpr_core.errors import FramesError, InputError, MapError
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.place_clouds import CloudOptions
from vpr_core.retrieval.place_features import PlaceFeatures, store_features
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.place_points import FILE, PlacePoints, PointSource, store_points
from vpr_core.retrieval.rigid import matrix_of, moved, pose_of
from vpr_core.synthetic.camera import Camera, pixel_passage
from vpr_core.synthetic.conditions import condition_named
from vpr_core.synthetic.drive import Drive, _Vehicle
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose

TOWN_CAMERA = Camera()
SOURCE = PointSource(
    CameraModel(tuple(TOWN_CAMERA.matrix.ravel()), (), TOWN_CAMERA.width, TOWN_CAMERA.height),
    pose_of(TOWN_CAMERA.T_base_camera),
    CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05),
)


@pytest.fixture(scope="module")
def folder(place_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(place_map, tmp_path_factory.mktemp("points") / "map")
    store_features(copy, frames, "sift")
    store_points(copy, frames, SOURCE)
    return copy


def read(folder: Path) -> PlacePoints:
    map_hash = PlaceMap.load(folder).hash
    return PlacePoints.load(folder, map_hash, PlaceFeatures.load(folder, map_hash))


def test_points_are_where_the_features_are_seen(folder: Path, frames: Path, figures: list[str]) -> None:
    """Projected back, and beside what the pixel's ray meets in the town.

    The camera nods by half a degree, which no pose tells: so depths along the road are off by 2 %.
    """
    points, drive = read(folder), Frames.load(frames)
    features = PlaceFeatures.load(folder, points.map_hash)
    vehicle = _Vehicle(Drive(Path("-"), 3, "noon", "loop", 1, 80.0), Town(3), condition_named("noon"))
    epoch_ns = Drive(Path("-"), 3, "noon", "loop", 1, 80.0).epoch_ns
    off = []
    for index in (1, 8):
        known = np.isfinite(points[index]).all(axis=1)
        ahead = moved(np.linalg.inv(TOWN_CAMERA.T_base_camera), points[index][known])
        seen = points.camera.pixels(ahead[:, :2] / ahead[:, 2:])
        np.testing.assert_allclose(seen, features[index].points[known], atol=0.1)
        time_s = (drive.frames[index].stamp_ns - epoch_ns) / 1e9
        passage = pixel_passage(TOWN_CAMERA, vehicle._scene.at(time_s), vehicle.trajectory.pose(time_s),
                                vehicle._condition, vehicle.trajectory.pitch(time_s))  # fmt: skip
        reach_m = passage.hits.distance_m.reshape(TOWN_CAMERA.height, TOWN_CAMERA.width)
        column, row = np.round(features[index].points[known]).astype(int).T
        true_m = reach_m[row, column]
        met = np.isfinite(true_m) & (true_m > 0)
        off += list(np.abs(np.linalg.norm(ahead[met], axis=1) / true_m[met] - 1))
    right = np.mean(np.array(off) < 0.05)
    figures.append(f"points in space of a town's features: {points.share:.2f} of them, {right:.2f} within 5 % of the "
                   f"true depth, {points.bytes_per_place / 1024:.1f} KiB a place")  # fmt: skip
    assert 0.25 < points.share < 0.8 and np.median(off) < 0.03 and right > 0.8


def test_what_is_stored_comes_back(folder: Path) -> None:
    points = read(folder)
    assert isinstance(points.points, np.memmap) and points.camera == SOURCE.camera
    np.testing.assert_allclose(matrix_of(points.T_base_camera), TOWN_CAMERA.T_base_camera, atol=1e-9)
    assert len(points) == len(PlaceMap.load(folder))
    assert len(points[3]) == len(PlaceFeatures.load(folder, points.map_hash)[3])
    assert points.share == pytest.approx(
        np.mean(np.concatenate([np.isfinite(points[i][:, 0]) for i in range(len(points))]))
    )


def test_damage_and_other_features_are_refused(folder: Path, frames: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "map"))
    whole = (copy / FILE).read_bytes()
    for data in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        (copy / FILE).write_bytes(data)
        with pytest.raises(MapError, match="points.bin is damaged.*make it again with"):
            read(copy)
    (copy / FILE).write_bytes(whole)
    assert json.loads(whole.split(b"\n")[0])["places"] == len(read(copy))
    store_features(copy, frames, "orb")
    with pytest.raises(MapError, match="belongs to other local features than those beside it"):
        read(copy)
    (copy / FILE).unlink()
    with pytest.raises(MapError, match="has no points in space of its local features to verify with: make the map"):
        read(copy)


def test_points_of_another_map_are_refused(folder: Path) -> None:
    points = read(folder)
    with pytest.raises(MapError, match="belongs to map .*, this one is other"):
        PlacePoints.load(folder, "other", PlaceFeatures.load(folder, points.map_hash))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (replace(SOURCE, camera=replace(SOURCE.camera, width=640)), "of images of 640x240, they are 320x240"),
        (replace(SOURCE, T_base_camera=Pose((0.0, 0.0, float("nan")))), "the camera's mounting is"),
        (replace(SOURCE, T_base_camera=Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 3.0))), "expected metres and a unit"),
        (replace(SOURCE, clouds=CloudOptions(T_base_lidar=Pose((0, 0, 0), (0, 0, 0, 0)))), "the LiDAR's mounting is"),
    ],
)
def test_a_source_that_cannot_be_right_is_refused(folder: Path, frames: Path, source: PointSource, words: str) -> None:
    with pytest.raises(InputError, match=words):
        store_points(folder, frames, source)


def test_frames_without_clouds_and_maps_without_features_are_refused(
    folder: Path, place_map: Path, frames: Path, tmp_path: Path
) -> None:
    drive = Frames.load(frames)
    blind = Path(shutil.copytree(frames, tmp_path / "frames"))
    write_index(blind, [replace(frame, cloud=None, cloud_stamp_ns=None) for frame in drive.frames], drive.card)
    with pytest.raises(FramesError, match="has no clouds; ingest the bag with --cloud_topic"):
        store_points(folder, blind, SOURCE)
    with pytest.raises(MapError, match="no local features"):
        store_points(place_map, frames, SOURCE)
