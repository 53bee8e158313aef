"""A real LiDAR's poses after verification: KITTI raw 2011_09_26_drive_0001, 107 m at 10 Hz.

The map is of every fourth scan, about 4 m apart; the queries are scans that it does not have. The drive's poses are
KISS-ICP's, made of the same scans: that the two agree says that the chain from a file's clouds to a pose in the map is
right, and nothing on how good either is beside a survey. There is one pass only.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.models.factory import build_model
from vpr_core.retrieval.lidar_bundle import write_lidar_bundle
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.registration import matrix_of, pose_of
from vpr_core.retrieval.verify_lidar import LidarVerifier, Verification
from vpr_core.types import Match, Reason, Recognition

PLACES = range(0, 108, 4)
QUERIES = [number for number in range(2, 106, 5) if number not in PLACES]
"""16 scans that are not in the map's 27."""
MAX_ERROR_M, MAX_ERROR_DEG = 0.3, 1.0


@pytest.fixture(scope="module")
def poses(kitti: Any) -> np.ndarray:
    """T_world_lidar [N, 4, 4]; the world is the LiDAR's frame at the first scan."""
    rows = kitti.transforms
    return np.concatenate([rows, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (len(rows), 1, 1))], axis=1)


@pytest.fixture(scope="module")
def frames(kitti: Any, poses: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Frames:
    folder = tmp_path_factory.mktemp("kitti") / "frames"
    (folder / "clouds").mkdir(parents=True)
    found = []
    for index, number in enumerate(PLACES):
        np.save(folder / "clouds" / f"{index:06d}.npy", kitti.scan(number))
        stamp_ns = (10 + number) * 100_000_000
        found.append(Frame(index, stamp_ns, None, f"clouds/{index:06d}.npy", stamp_ns, pose_of(poses[number])))
    card = {"session": "kitti", "bag": "kitti", "map_frame": "map", "image_size": None, "drops": {}}
    write_index(folder, found, {**card, "counts": {"frames": len(found)}})
    return Frames.load(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LiDAR network that was not trained: its five best candidates are near, its order is worth little."""
    torch.manual_seed(0)
    options = {"dim": 32, "planes": [8, 8, 16]}
    weights = io.BytesIO()
    torch.save(build_model("lidar", **options).state_dict(), weights)
    spec = {"name": "lidar", "options": options}
    return write_lidar_bundle(tmp_path_factory.mktemp("kitti") / "bundle", weights.getvalue(), model=spec,
                              voxel_size_m=1.0, max_range_m=60.0, dim=32, accept_similarity=None, card={})  # fmt: skip


@pytest.fixture(scope="module")
def place_map(bundle: Path, frames: Frames) -> Path:
    folder = frames.folder.parent / "map"
    build_map(bundle, frames.folder, folder)
    store_clouds(folder, frames.folder, CloudOptions(min_range_m=2.5))
    return folder


@pytest.fixture(scope="module")
def verifier(place_map: Path) -> LidarVerifier:
    return LidarVerifier.load(place_map)


@pytest.fixture(scope="module")
def answers(
    kitti: Any, bundle: Path, place_map: Path, verifier: LidarVerifier
) -> dict[int, tuple[Recognition, Verification]]:
    recognizer = PlaceRecognizer.load(bundle, place_map, threads=1)
    found = {}
    for number in QUERIES:
        cloud = kitti.scan(number)
        recognition = recognizer.recognize(cloud, number)
        found[number] = recognition, verifier.verify(cloud, recognition)
    return found


def error(T_map_base: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """[m] and [degrees]."""
    difference = np.linalg.inv(true) @ T_map_base
    angle_rad = Rotation.from_matrix(difference[:3, :3]).magnitude()
    return float(np.linalg.norm(difference[:3, 3])), math.degrees(angle_rad)


def test_every_verified_pose_is_where_the_drive_was(
    answers: dict[int, tuple[Recognition, Verification]], poses: np.ndarray, figures: list[str]
) -> None:
    errors, sigmas, nearest_m = [], [], []
    for number, (recognition, verification) in answers.items():
        positions = [match.pose.position_m for match in recognition.matches if match.pose]
        nearest_m.append(min(math.dist(position, poses[number][:3, 3]) for position in positions))
        if verified := verification.verified:
            errors.append(error(matrix_of(verified.T_map_base), poses[number]))
            sigma_m = np.sqrt(np.diag(verified.covariance)[:3])
            sigmas.append(np.abs(np.subtract(verified.T_map_base.position_m, poses[number][:3, 3])) / sigma_m)
    distance_m, angle_deg = np.array(errors).T
    figures.append(
        f"KITTI drive 0001, verified {len(errors)} of {len(answers)} held-out scans, the best of 5 candidates at most "
        f"{max(nearest_m):.1f} m away: error median {np.median(distance_m):.3f} m and {np.median(angle_deg):.2f} "
        f"degrees, worst {distance_m.max():.3f} m and {angle_deg.max():.2f} degrees, {np.max(sigmas):.1f} sigma"
    )
    near = sum(distance < 15.0 for distance in nearest_m)
    assert len(errors) >= 0.9 * near and near >= 0.5 * len(answers)
    assert distance_m.max() <= MAX_ERROR_M and angle_deg.max() <= MAX_ERROR_DEG
    assert np.max(sigmas) < 5


def test_scans_far_down_the_road_are_not_verified(kitti: Any, poses: np.ndarray, verifier: LidarVerifier) -> None:
    """Candidates more than 50 m from where the scan was taken."""
    for number in (5, 54, 99):
        cloud = kitti.scan(number)
        far = [place for place, at in enumerate(PLACES)
               if np.linalg.norm(poses[at][:3, 3] - poses[number][:3, 3]) > 50.0]  # fmt: skip
        matches = tuple(Match(place, "kitti", 0, None, 0.9, Reason.NOT_BEST) for place in far[:12:4])
        found = verifier.verify(cloud, Recognition(number, matches, np.zeros(1, np.float32)))
        assert found.tried and found.verified is None, found.reason


def test_a_car_that_comes_the_other_way_is_found(kitti: Any, poses: np.ndarray, verifier: LidarVerifier) -> None:
    """The scan of a LiDAR that was turned round and stood 2 m to the left."""
    turned = np.eye(4)
    turned[:2, :2], turned[:2, 3] = [[-1, 0], [0, -1]], (1.0, 2.0)
    number = 46
    cloud = kitti.scan(number)[:, :3] @ turned[:3, :3] - turned[:3, :3].T @ turned[:3, 3]
    matches = tuple(Match(place, "kitti", 0, None, 0.9, Reason.NOT_BEST) for place in (11, 12))
    found = verifier.verify(cloud.astype(np.float32), Recognition(number, matches, np.zeros(1, np.float32)))
    assert found.verified, found.reason
    distance_m, angle_deg = error(matrix_of(found.verified.T_map_base), poses[number] @ turned)
    assert distance_m <= MAX_ERROR_M and angle_deg <= MAX_ERROR_DEG
