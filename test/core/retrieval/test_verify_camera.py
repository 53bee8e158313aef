"""Candidates checked against points in space: all are tried, the best is kept, and a wrong one is never believed."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import InputError, MapError
from vpr_core.preprocess import resize_image
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.local_features import load_features
from vpr_core.retrieval.place_clouds import CloudOptions
from vpr_core.retrieval.place_features import PlaceFeatures, store_features
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.place_points import PlacePoints, PointSource, store_points
from vpr_core.retrieval.resection import ResectionOptions, Verdict
from vpr_core.retrieval.rigid import matrix_of, pose_of
from vpr_core.retrieval.verify_camera import CameraVerifier
from vpr_core.synthetic.camera import Camera
from vpr_core.synthetic.drive import record_drive
from vpr_core.types import Match, Pose, Reason, Recognition

TOWN_CAMERA = Camera()
MODEL = CameraModel(tuple(TOWN_CAMERA.matrix.ravel()), (), TOWN_CAMERA.width, TOWN_CAMERA.height)
SOURCE = PointSource(
    MODEL,
    pose_of(TOWN_CAMERA.T_base_camera),
    CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05),
)


@pytest.fixture(scope="module")
def drive(frames: Path) -> Frames:
    return Frames.load(frames)


@pytest.fixture(scope="module")
def folder(place_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(place_map, tmp_path_factory.mktemp("verify") / "map")
    store_features(copy, frames, "sift")
    store_points(copy, frames, SOURCE)
    return copy


@pytest.fixture(scope="module")
def verifier(folder: Path) -> CameraVerifier:
    return CameraVerifier.load(folder)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """The same street driven once more, elsewhere in the lane and past other cars."""
    folder = tmp_path_factory.mktemp("again")
    record_drive(folder / "bag", town=3, condition="noon", route="loop", seed=9, max_length_m=30.0, labels=False,
                 lidar_columns=32)  # fmt: skip
    return Frames.load(ingest(folder / "bag", folder / "frames", pose_topic="/ground_truth/odom"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """Another town's streets."""
    folder = tmp_path_factory.mktemp("elsewhere")
    record_drive(folder / "bag", town=6, condition="noon", route="loop", seed=2, max_length_m=20.0, labels=False,
                 lidar_columns=32)  # fmt: skip
    return Frames.load(ingest(folder / "bag", folder / "frames", pose_topic="/ground_truth/odom"))


def recognised(*places: int) -> Recognition:
    """These places, most similar first."""
    matches = tuple(
        Match(place, "drive", 0, None, 1.0 - 0.01 * rank, Reason.NOT_BEST) for rank, place in enumerate(places)
    )
    return Recognition(1, matches, np.zeros(4, np.float32))


def pose(drive: Frames, index: int) -> Pose:
    found = drive.frames[index].pose
    assert found
    return found


def nearest(drive: Frames, at: Pose, count: int) -> list[int]:
    distance_m = np.linalg.norm(drive.positions_m - at.position_m, axis=1)
    return [int(row) for row in np.argsort(distance_m)[:count]]


def error(found: Pose, true: Pose) -> tuple[float, float]:
    """[m] and [degrees]."""
    off = matrix_of(inverse(true)) @ matrix_of(found)
    return float(np.linalg.norm(off[:3, 3])), math.degrees(Rotation.from_matrix(off[:3, :3]).magnitude())


def test_another_drive_past_the_places_is_where_it_was(
    verifier: CameraVerifier, drive: Frames, again: Frames, figures: list[str]
) -> None:
    errors, sigmas = [], []
    for index in range(len(again)):
        true = pose(again, index)
        candidates = [(nearest(drive, true, 1)[0] + 9) % len(drive), *nearest(drive, true, 3)]
        found = verifier.verify(again.image(index), recognised(*candidates))
        assert [place for place, _ in found.tried] == list(dict.fromkeys(candidates))
        if found.verified:
            assert found.verified.stamp_ns == 1
            errors.append(error(found.verified.T_map_base, true))
            off_m = np.subtract(found.verified.T_map_base.position_m, true.position_m)
            sigmas.append(np.abs(off_m) / np.sqrt(np.diag(found.verified.covariance)[:3]))
    off_m, off_deg = np.array(errors).T
    figures.append(
        f"a town's pictures, another drive: verified {len(errors)} of {len(again)}, error {np.median(off_m):.2f} m and "
        f"{np.median(off_deg):.2f} degrees in the median, {off_m.max():.2f} m and {off_deg.max():.2f} deg at worst, "
        f"{np.max(sigmas):.1f} sigma"
    )
    assert len(errors) >= 0.6 * len(again) and off_m.max() < 1.0 and off_deg.max() < 4.0
    assert np.median(off_m) < 0.2 and np.max(sigmas) < 6


def test_the_best_candidate_is_kept_wherever_it_stands(verifier: CameraVerifier, drive: Frames) -> None:
    found = verifier.verify(drive.image(12), recognised(2, 7, 19, 12))
    assert found.verified and found.verified.place_id == 12, found.reason
    assert all(place == 12 or one.score < found.verified.registration.score for place, one in found.tried)
    assert error(found.verified.T_map_base, pose(drive, 12))[0] < 0.1


def test_wrong_candidates_are_not_verified(verifier: CameraVerifier, elsewhere: Frames) -> None:
    for index in range(0, len(elsewhere), 2):
        found = verifier.verify(elsewhere.image(index), recognised(0, 5, 10, 15))
        assert found.verified is None and len(found.tried) == 4
        assert found.reason.startswith("none of 4 candidates fits; the nearest, place ")


def test_two_places_that_fit_equally_are_ambiguous(folder: Path, drive: Frames) -> None:
    """The same street twice in one map, 500 m apart."""
    place_map = PlaceMap.load(folder)
    features = PlaceFeatures.load(folder, place_map.hash)
    points = PlacePoints.load(folder, place_map.hash, features)
    far = compose(Pose((500.0, 0.0, 0.0)), pose(drive, 10))
    twice = replace(place_map, places=(*place_map.places[:-1], replace(place_map.places[10], pose=far)))
    starts = features.starts.copy()
    rows = np.concatenate([np.arange(starts[-2]), np.arange(starts[10], starts[11])])
    starts[-1] = len(rows)
    shown = replace(features, starts=starts, points=features.points[rows], scores=features.scores[rows],
                    descriptors=features.descriptors[rows])  # fmt: skip
    known = replace(points, starts=starts, points=points.points[rows])
    verifier = CameraVerifier(twice, shown, known, load_features("sift"), ResectionOptions(places=1))
    last = len(place_map) - 1
    found = verifier.verify(drive.image(10), recognised(10, last))
    assert found.verified is None and "ambiguous: place " in found.reason, found.reason
    assert all(one.accepted for _, one in found.tried)
    alone = verifier.verify(drive.image(10), recognised(10, 10))
    assert alone.verified and len(alone.tried) == 1


def test_places_beside_the_candidate_are_asked_as_well(folder: Path, drive: Frames, again: Frames) -> None:
    alone = CameraVerifier.load(folder, ResectionOptions(places=1))
    several = CameraVerifier.load(folder)
    image = again.image(3)
    place = nearest(drive, pose(again, 3), 1)[0]
    one, more = (found.verify(image, recognised(place)).tried[0][1] for found in (alone, several))
    assert more.points > one.points and more.inliers > one.inliers


def test_a_camera_of_its_own_is_taken(folder: Path, drive: Frames) -> None:
    """Pictures of another size, by a camera that says so; and one that lies about its focal length."""
    larger = resize_image(drive.image(9), 480, 640)
    double = CameraModel.of({**MODEL.card, "K": [value * 2 if row < 6 else value for row, value in enumerate(MODEL.K)],
                             "width": 640, "height": 480}, "test")  # fmt: skip
    found = CameraVerifier.load(folder, camera=double).verify(larger, recognised(9))
    assert found.verified and error(found.verified.T_map_base, pose(drive, 9))[0] < 0.2, found.reason
    of_another = CameraVerifier.load(folder).verify(larger, recognised(9))
    assert of_another.verified is None and "is of images of 320x240, they are 640x480" in of_another.reason
    tele = replace(MODEL, K=(MODEL.K[0] * 1.6, *MODEL.K[1:4], MODEL.K[4] * 1.6, *MODEL.K[5:]))
    wrong = CameraVerifier.load(folder, camera=tele).verify(drive.image(9), recognised(9))
    assert wrong.verified is None or error(wrong.verified.T_map_base, pose(drive, 9))[0] > 1.0


def test_a_camera_that_is_mounted_elsewhere_is_taken(verifier: CameraVerifier, drive: Frames) -> None:
    """The same picture from a camera 0.8 m before the map's: the vehicle stands so much farther back."""
    elsewhere = compose(Pose((0.8, 0.0, 0.0)), SOURCE.T_base_camera)
    usual, found = (verifier.verify(drive.image(9), recognised(9), mounted).verified for mounted in (None, elsewhere))
    assert usual and found
    between = compose(inverse(usual.T_map_base), found.T_map_base)
    np.testing.assert_allclose(between.position_m, (-0.8, 0.0, 0.0), atol=1e-6)


@pytest.mark.parametrize("value", [0, 255])
def test_a_blind_camera_verifies_nothing(verifier: CameraVerifier, value: int) -> None:
    found = verifier.verify(np.full((240, 320, 3), value, np.uint8), recognised(1, 2))
    assert found.verified is None and "few points" in found.reason
    assert all(one.verdict is Verdict.FEW_POINTS for _, one in found.tried)


def test_a_map_without_depth_verifies_nothing(folder: Path, drive: Frames) -> None:
    place_map = PlaceMap.load(folder)
    features = PlaceFeatures.load(folder, place_map.hash)
    points = PlacePoints.load(folder, place_map.hash, features)
    flat = replace(points, points=np.full_like(points.points, np.iinfo(np.int16).min))
    assert flat.share == 0.0
    found = CameraVerifier(place_map, features, flat, load_features("sift")).verify(drive.image(3), recognised(3))
    assert found.verified is None and "0 matched features have a point in space" in found.reason


def test_no_candidate_and_no_image(verifier: CameraVerifier, drive: Frames) -> None:
    assert verifier.verify(drive.image(0), recognised()).reason == "no candidate"
    with pytest.raises(InputError, match="expected RGB uint8"):
        verifier.verify(np.zeros((240, 320), np.uint8), recognised(0))


def test_what_does_not_belong_together_is_refused(folder: Path, place_map: Path) -> None:
    loaded = PlaceMap.load(folder)
    features = PlaceFeatures.load(folder, loaded.hash)
    points, kind = PlacePoints.load(folder, loaded.hash, features), load_features("sift")
    with pytest.raises(MapError, match="points of map .* came for map other"):
        CameraVerifier(replace(loaded, hash="other"), features, points, kind)
    blind = replace(loaded, places=tuple(replace(place, pose=None) for place in loaded.places))
    with pytest.raises(MapError, match="a map without poses cannot be verified against"):
        CameraVerifier(blind, features, points, kind)
    with pytest.raises(MapError, match="no local features"):
        CameraVerifier.load(place_map)


def test_options_reach_the_resection(folder: Path, drive: Frames) -> None:
    strict = CameraVerifier.load(folder, ResectionOptions(min_inliers=499))
    found = strict.verify(drive.image(5), recognised(5))
    assert found.verified is None and found.tried[0][1].verdict is Verdict.FEW_INLIERS


def test_a_robot_that_verifies_images_needs_no_torch() -> None:
    code = (
        "import sys; import vpr_core.retrieval.verify_camera; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'kornia', 'transformers')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
