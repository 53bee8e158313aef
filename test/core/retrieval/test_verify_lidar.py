"""Candidates checked against the map's clouds: all are tried, the best is kept, and a wrong one is never believed."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import InputError, MapError
from vpr_core.retrieval.place_clouds import FILE, CloudOptions, PlaceClouds, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.registration import RegistrationOptions, Verdict
from vpr_core.retrieval.rigid import matrix_of, pose_of
from vpr_core.retrieval.verification import turned
from vpr_core.retrieval.verifiers import verifier_if_wanted
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.synthetic.drive import record_drive
from vpr_core.types import Match, Pose, Reason, Recognition

MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05)
"""The town's LiDAR turns ten times a second and stamps the beginning."""


@pytest.fixture(scope="module")
def drive(frames: Path) -> Frames:
    return Frames.load(frames)


@pytest.fixture(scope="module")
def folder(lidar_map: Path, drive: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(lidar_map, tmp_path_factory.mktemp("verify") / "map")
    store_clouds(copy, drive.folder, MOUNTED)
    return copy


@pytest.fixture(scope="module")
def verifier(folder: Path) -> LidarVerifier:
    return LidarVerifier.load(folder)


def recognised(*places: int) -> Recognition:
    """These places, most similar first."""
    matches = tuple(
        Match(place, "drive", 0, None, 1.0 - 0.01 * rank, Reason.NOT_BEST) for rank, place in enumerate(places)
    )
    return Recognition(1, matches, np.zeros(4, np.float32))


def seen_from(cloud: np.ndarray, T_lidar_there: Pose) -> np.ndarray:
    """The cloud of a LiDAR that stood elsewhere."""
    T = np.linalg.inv(matrix_of(T_lidar_there))
    return (cloud[:, :3] @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def test_the_best_candidate_is_kept_wherever_it_stands(verifier: LidarVerifier, drive: Frames) -> None:
    """A query beside place 12, turned round; the right place comes last of five."""
    at_12 = drive.frames[12].pose
    assert at_12
    elsewhere = Pose.from_xy_yaw(1.5, -0.6, math.radians(165))
    cloud = seen_from(drive.cloud(12), elsewhere)
    found = verifier.verify(cloud, recognised(2, 7, 4, 20, 12))
    assert found.verified and found.verified.place_id == 12 and found.verified.stamp_ns == 1 + 50_000_000
    assert [place for place, _ in found.tried] == [2, 7, 4, 20, 12]
    assert all(
        place == 12 or not one.accepted or one.score < found.verified.registration.score for place, one in found.tried
    )
    expected = compose(compose(at_12, elsewhere), Pose((0.0, 0.0, 0.0)))
    error = matrix_of(inverse(expected)) @ matrix_of(found.verified.T_map_base)
    # The sweep's middle was taken 50 ms, that is 0.4 m, after the place's stamp.
    assert np.linalg.norm(error[:3, 3]) < 0.6
    assert Rotation.from_matrix(error[:3, :3]).magnitude() < math.radians(2)


def test_a_query_between_two_places_is_where_it_was(verifier: LidarVerifier, drive: Frames) -> None:
    """With the place itself left out of the candidates; the pose is that of the sweep's middle."""
    for index in (3, 9, 16):
        found = verifier.verify(drive.cloud(index), recognised(index - 1, index + 1))
        assert found.verified, found.reason
        step = compose(inverse(pose(drive, index)), pose(drive, index + 1))
        gap_s = (drive.frames[index + 1].stamp_ns - drive.frames[index].stamp_ns) / 1e9
        late_s = (drive.frames[index].cloud_stamp_ns or 0) / 1e9 - drive.frames[index].stamp_ns / 1e9 + 0.05
        x, y, _ = step.position_m
        true = compose(pose(drive, index), Pose.from_xy_yaw(x * late_s / gap_s, y * late_s / gap_s,
                                                            step.yaw_rad * late_s / gap_s))  # fmt: skip
        error = matrix_of(inverse(true)) @ matrix_of(found.verified.T_map_base)
        assert np.linalg.norm(error[:3, 3]) < 0.3
        assert Rotation.from_matrix(error[:3, :3]).magnitude() < math.radians(1.0)
        sigma_m = np.sqrt(np.diag(found.verified.covariance)[:3])
        assert (np.abs(np.subtract(found.verified.T_map_base.position_m, true.position_m)) < 4 * sigma_m).all()


def test_another_vehicle_gets_its_own_pose(verifier: LidarVerifier, folder: Path, drive: Frames) -> None:
    """Its LiDAR hangs sideways at its back; told with the cloud, or once for all clouds."""
    T_base_lidar = Pose((-4.0, 0.3, 1.2), (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)))
    place_map = PlaceMap.load(folder)
    other = LidarVerifier(place_map, PlaceClouds.load(folder, place_map.hash), T_base_lidar=T_base_lidar)
    cloud, candidates = drive.cloud(7), recognised(7)
    of_the_map = verifier.verify(cloud, candidates).verified
    found = [one.verify(cloud, candidates, *told).verified for one, told in ((verifier, (T_base_lidar,)), (other, ()))]
    assert of_the_map
    expected = compose(compose(of_the_map.T_map_base, MOUNTED.T_base_lidar), inverse(T_base_lidar))
    for verified in found:
        assert verified
        error = matrix_of(inverse(expected)) @ matrix_of(verified.T_map_base)
        assert np.linalg.norm(error[:3, 3]) < 0.1
        assert Rotation.from_matrix(error[:3, :3]).magnitude() < math.radians(0.5)


def pose(drive: Frames, index: int) -> Pose:
    found = drive.frames[index].pose
    assert found
    return found


def test_wrong_candidates_are_not_verified(verifier: LidarVerifier, tmp_path: Path) -> None:
    """Sweeps of another town's streets."""
    bag = record_drive(tmp_path / "bag", town=6, condition="noon", route="loop", seed=2, max_length_m=40.0,
                       image_size=(32, 24), labels=False, lidar_columns=512)  # fmt: skip
    other = Frames.load(ingest(bag, tmp_path / "frames", pose_topic="/ground_truth/odom"))
    for index in (2, 8):
        found = verifier.verify(other.cloud(index), recognised(0, 6, 12, 18))
        assert found.verified is None and len(found.tried) == 4
        assert found.reason.startswith("none of 4 candidates fits; the nearest, place ")
        assert not any(one.accepted for _, one in found.tried)


def test_two_places_that_fit_equally_are_ambiguous(folder: Path, drive: Frames, tmp_path: Path) -> None:
    """The same street twice in one map."""
    copy = shutil.copytree(folder, tmp_path / "map")
    place_map, clouds = PlaceMap.load(copy), PlaceClouds.load(copy, PlaceMap.load(copy).hash)
    far = compose(Pose((500.0, 0.0, 0.0)), pose(drive, 10))
    places = (*place_map.places[:-1], replace(place_map.places[10], pose=far))
    twice = replace(place_map, places=places)
    starts = clouds.starts.copy()
    points = np.concatenate([clouds.points[: starts[-2]], clouds.points[starts[10] : starts[11]]])
    starts[-1] = len(points)
    verifier = LidarVerifier(twice, replace(clouds, starts=starts, points=points))
    found = verifier.verify(drive.cloud(10), recognised(10, len(places) - 1))
    assert found.verified is None and "ambiguous: place 10 " in found.reason
    assert all(one.accepted for _, one in found.tried)
    alone = verifier.verify(drive.cloud(10), recognised(10, 10))
    assert alone.verified and len(alone.tried) == 1


@pytest.mark.parametrize("cloud", [np.empty((0, 4), np.float32), np.full((900, 4), np.nan, np.float32)])
def test_a_blind_lidar_verifies_nothing(verifier: LidarVerifier, cloud: np.ndarray) -> None:
    found = verifier.verify(cloud, recognised(1, 2))
    assert found.verified is None and "few points" in found.reason
    assert all(one.verdict is Verdict.FEW_POINTS for _, one in found.tried)


def test_no_candidate_and_no_cloud(verifier: LidarVerifier, drive: Frames) -> None:
    assert verifier.verify(drive.cloud(0), recognised()).reason == "no candidate"
    with pytest.raises(InputError, match="expected float32"):
        verifier.verify(np.zeros((9, 9, 3), np.uint8), recognised(0))


def test_what_does_not_belong_together_is_refused(folder: Path, place_map: Path) -> None:
    loaded = PlaceMap.load(folder)
    clouds = PlaceClouds.load(folder, loaded.hash)
    with pytest.raises(MapError, match=f"clouds of map {loaded.hash} came for map {PlaceMap.load(place_map).hash}"):
        LidarVerifier(PlaceMap.load(place_map), clouds)
    blind = replace(loaded, places=tuple(replace(place, pose=None) for place in loaded.places))
    with pytest.raises(MapError, match="a map without poses cannot be verified against"):
        LidarVerifier(blind, clouds)
    with pytest.raises(MapError, match="has no clouds to verify with"):
        LidarVerifier.load(place_map)


def test_a_place_without_a_cloud_is_refused_and_the_next_is_tried(folder: Path, drive: Frames) -> None:
    loaded = PlaceMap.load(folder)
    clouds = PlaceClouds.load(folder, loaded.hash)
    starts = clouds.starts.copy()
    starts[1:] -= starts[1]
    without_first = replace(clouds, starts=np.maximum(starts, 0), points=clouds.points[clouds.starts[1] :])
    found = LidarVerifier(loaded, without_first).verify(drive.cloud(1), recognised(0, 1))
    assert found.tried[0][1].verdict is Verdict.FEW_POINTS and "the place has 0" in found.tried[0][1].reason
    assert found.verified and found.verified.place_id == 1


def test_options_reach_the_registration(folder: Path, drive: Frames) -> None:
    strict = LidarVerifier.load(folder, RegistrationOptions(min_overlap=1.1))
    found = strict.verify(drive.cloud(5), recognised(5))
    assert found.verified is None and found.tried[0][1].verdict is Verdict.LITTLE_OVERLAP


def test_a_covariance_turns_with_the_place() -> None:
    covariance = np.diag([4.0, 1.0, 9.0, 0.01, 0.02, 0.03])
    quarter = pose_of(matrix_of(Pose.from_xy_yaw(7.0, 8.0, math.pi / 2)))
    np.testing.assert_allclose(np.diag(turned(covariance, quarter)), [1.0, 4.0, 9.0, 0.02, 0.01, 0.03], atol=1e-12)
    slanted = turned(covariance, Pose.from_xy_yaw(0.0, 0.0, 0.5))
    np.testing.assert_allclose(slanted, slanted.T)
    np.testing.assert_allclose(np.linalg.eigvalsh(slanted), np.linalg.eigvalsh(covariance))


def test_a_map_is_checked_where_it_can_be_and_what_it_cannot_says_the_way_out(
    folder: Path, lidar_map: Path, frames: Path, tmp_path: Path
) -> None:
    assert isinstance(verifier_if_wanted(None, folder, "lidar"), LidarVerifier)
    assert verifier_if_wanted(False, folder, "lidar") is verifier_if_wanted(None, lidar_map, "lidar") is None
    with pytest.raises(MapError, match="has no clouds to verify with"):
        verifier_if_wanted(True, lidar_map, "lidar")
    known = PlaceMap.load(folder)
    bare = tuple(replace(place, pose=None) for place in known.places)
    replace(known, places=bare, map_frame="").save(tmp_path / "bare")
    shutil.copy(folder / FILE, tmp_path / "bare")
    assert verifier_if_wanted(None, tmp_path / "bare", "lidar") is None
    grown = Path(shutil.copytree(folder, tmp_path / "grown"))
    replace(known, places=known.places[:-1], descriptors=known.descriptors[:-1]).save(grown)
    with pytest.raises(MapError, match=r"clouds.bin .*; or set verify to false, and nothing is checked"):
        verifier_if_wanted(None, grown, "lidar")
