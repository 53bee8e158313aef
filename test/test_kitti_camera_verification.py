"""A real camera's poses by PnP: KITTI raw 2011_09_26_drive_0001, 107 m at 10 Hz.

The map is of every fourth frame, its points in space from the LiDAR; the queries are images that it does not have. The
drive's poses are KISS-ICP's, made of the LiDAR's scans: how good they are beside a survey is not known. There is one
pass only, in one light.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.place_clouds import CloudOptions
from vpr_core.retrieval.place_features import store_features
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.retrieval.place_points import PointSource, store_points
from vpr_core.retrieval.rigid import matrix_of, pose_of
from vpr_core.retrieval.verify_camera import CameraVerifier
from vpr_core.types import Match, Reason, Recognition

PLACES = range(0, 108, 4)
QUERIES = [number for number in range(2, 106, 5) if number not in PLACES]
"""16 images that are not in the map's 27."""
MAX_ERROR_M, MAX_ERROR_DEG = 0.5, 1.0


@pytest.fixture(scope="module")
def poses(kitti: Any) -> np.ndarray:
    """T_world_lidar [N, 4, 4]; the world is the LiDAR's frame at the first scan."""
    rows = kitti.transforms
    return np.concatenate([rows, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (len(rows), 1, 1))], axis=1)


@pytest.fixture(scope="module")
def source(kitti: Any) -> PointSource:
    """The rectified left colour camera, on a vehicle whose frame is the LiDAR's."""
    projection = _read(kitti.folder / "calib" / "calib_cam_to_cam.txt", "P_rect_02").reshape(3, 4)
    rectified, T_camera_lidar = np.eye(4), np.eye(4)
    rectified[:3, :3] = _read(kitti.folder / "calib" / "calib_cam_to_cam.txt", "R_rect_00").reshape(3, 3)
    rectified[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    T_camera_lidar[:3, :3] = _read(kitti.folder / "calib" / "calib_velo_to_cam.txt", "R").reshape(3, 3)
    T_camera_lidar[:3, 3] = _read(kitti.folder / "calib" / "calib_velo_to_cam.txt", "T")
    camera = CameraModel(tuple(projection[:, :3].ravel()), (), 1242, 375)
    return PointSource(camera, pose_of(np.linalg.inv(rectified @ T_camera_lidar)), CloudOptions(min_range_m=2.5))


def _read(path: Path, name: str) -> np.ndarray:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return np.array(line.split()[1:], np.float64)


@pytest.fixture(scope="module")
def place_map(kitti: Any, poses: np.ndarray, source: PointSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Places without a network's descriptors: candidates are given by hand."""
    folder = tmp_path_factory.mktemp("kitti")
    frames = folder / "frames"
    for name in ("clouds", "images"):
        (frames / name).mkdir(parents=True)
    found = []
    for index, number in enumerate(PLACES):
        np.save(frames / f"clouds/{index:06d}.npy", kitti.scan(number))
        (frames / f"images/{index:06d}.jpg").write_bytes(kitti.jpeg(number))
        stamp_ns = (10 + number) * 100_000_000
        names = f"images/{index:06d}.jpg", f"clouds/{index:06d}.npy"
        found.append(Frame(index, stamp_ns, *names, stamp_ns, pose_of(poses[number])))
    card = {"session": "kitti", "bag": "kitti", "map_frame": "map", "image_size": [1242, 375], "drops": {}}
    write_index(frames, found, {**card, "counts": {"frames": len(found)}})
    places = tuple(Place("kitti", frame.stamp_ns, frame.pose) for frame in found)
    descriptors = np.eye(len(places), dtype=np.float32)
    PlaceMap(descriptors, places, "none", "map", "camera", (1242, 375)).save(folder / "map")
    store_features(folder / "map", frames, "sift")
    store_points(folder / "map", frames, source)
    assert Frames.load(frames).image_size == (1242, 375)
    return folder / "map"


@pytest.fixture(scope="module")
def verifier(place_map: Path) -> CameraVerifier:
    return CameraVerifier.load(place_map)


def recognised(places: list[int]) -> Recognition:
    matches = tuple(Match(place, "kitti", 0, None, 0.9, Reason.NOT_BEST) for place in places)
    return Recognition(0, matches, np.zeros(1, np.float32))


def error(T_map_base: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """[m] and [degrees]."""
    difference = np.linalg.inv(true) @ T_map_base
    angle_rad = Rotation.from_matrix(difference[:3, :3]).magnitude()
    return float(np.linalg.norm(difference[:3, 3])), math.degrees(angle_rad)


def test_every_verified_pose_is_where_the_drive_was(
    kitti: Any, poses: np.ndarray, verifier: CameraVerifier, figures: list[str]
) -> None:
    """Of two places near the image and three far from it."""
    errors, sigmas = [], []
    for number in QUERIES:
        distance_m = np.linalg.norm(poses[list(PLACES), :3, 3] - poses[number][:3, 3], axis=1)
        near, far = np.argsort(distance_m)[:2], np.argsort(-distance_m)[:6:2]
        found = verifier.verify(decode_image(kitti.jpeg(number)), recognised([*map(int, far), *map(int, near)]))
        if verified := found.verified:
            errors.append(error(matrix_of(verified.T_map_base), poses[number]))
            off_m = np.abs(np.subtract(verified.T_map_base.position_m, poses[number][:3, 3]))
            sigmas.append(off_m / np.sqrt(np.diag(verified.covariance)[:3]))
        assert not any(one.accepted for _, one in found.tried[:3])
    distance_m, angle_deg = np.array(errors).T
    figures.append(
        f"KITTI drive 0001 by its camera, verified {len(errors)} of {len(QUERIES)} held-out images: error median "
        f"{np.median(distance_m):.3f} m and {np.median(angle_deg):.2f} degrees, worst {distance_m.max():.3f} m and "
        f"{angle_deg.max():.2f} degrees, {np.max(sigmas):.1f} sigma"
    )
    assert len(errors) >= 0.8 * len(QUERIES)
    assert distance_m.max() <= MAX_ERROR_M and angle_deg.max() <= MAX_ERROR_DEG
    assert np.max(sigmas) < 5


def test_images_far_down_the_road_are_not_verified(kitti: Any, poses: np.ndarray, verifier: CameraVerifier) -> None:
    """Candidates more than 50 m from where the image was taken."""
    for number in (5, 54, 99):
        far = [place for place, at in enumerate(PLACES)
               if np.linalg.norm(poses[at][:3, 3] - poses[number][:3, 3]) > 50.0]  # fmt: skip
        found = verifier.verify(decode_image(kitti.jpeg(number)), recognised(far[::4]))
        assert found.tried and found.verified is None, found.reason
