"""The localizer with `verify`: the pose on ~/pose is the registered one, or there is none."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from vpr_core.data.frames import Frames
from vpr_core.data.poses import pose_from_message
from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import ByLight, CheckedModel, Logistic, MatchModel, Threshold
from vpr_core.retrieval.place_clouds import FILE, CloudOptions, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import LoadMap, QueryPlace
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05)


@pytest.fixture(scope="module")
def cloud_map(lidar_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(lidar_map, tmp_path_factory.mktemp("verify") / "map")
    store_clouds(copy, frames, MOUNTED)
    return copy


@pytest.fixture
def calibrated_map(cloud_map: Path, tmp_path: Path) -> Path:
    """By itself every match is 0.3 probable; one that registration leads to 0.3 and more the better it fits."""
    folder = Path(shutil.copytree(cloud_map, tmp_path / "calibrated"))
    places = PlaceMap.load(folder)

    def logistic(width: int, of_fit: float) -> ByLight:
        weights = (*(0.0,) * 5, of_fit, 0.0)[:width]
        one = Logistic((0.0,) * width, (1.0,) * width, weights, math.log(0.3 / 0.7))
        return ByLight(one, one)

    plain = MatchModel(logistic(5, 0.0), closest_rival=10.0, at_most=0.5)
    checked = CheckedModel(logistic(7, 20.0), logistic(7, 0.0), 2.0, (Threshold(0.99, 0.9, 200, 0, 0.985, 0.9),))
    no_light = LightShift.fit(np.zeros((1, 3)), np.empty((1, 0)))
    entries = (Threshold(0.99, 0.95, 200, 0, 0.985, 0.95),)
    Calibration(
        places.hash, places.model_hash, 10.0, 15.0, 0.1, no_light, plain, plain, None, (0.0,) * 9, entries, checked
    ).save(folder, {})  # fmt: skip
    return folder


def test_on_a_calibrated_map_a_match_is_accepted_because_it_is_verified(
    lidar_robot: Callable[..., Any], calibrated_map: Path, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot(map=calibrated_map)
    node.process.says("accepting from probability 0.9000 what is verified, for a precision of 0.99")
    node.send_until(node.lidar(), node.cloud(clouds[7], START_NS), lambda: node.poses)
    message = node.matches[0]
    place = Frames.load(frames).frames[7].pose
    (match,) = (match for match in message.matches if match.accepted)
    assert message.accepted and match.reason == PlaceMatch.ACCEPTED and match.probability > 0.9
    assert place and math.dist(pose_from_message(match.pose).position_m, place.position_m) < 10.0
    node.status(lambda status, values: values["last_reason"] == "accepted")
    strange = np.random.default_rng(0).uniform((-20, -20, -1.5, 0), (20, 20, 4, 9), (8000, 4)).astype(np.float32)
    node.send_until(
        node.lidar(), node.cloud(strange, START_NS + 10**9), lambda: not all(one.accepted for one in node.matches)
    )
    refused = next(one for one in node.matches if not one.accepted)
    assert refused.matches[0].reason in (PlaceMatch.NOT_VERIFIED, PlaceMatch.AMBIGUOUS)
    assert [match.probability for match in refused.matches] == pytest.approx([0.3] * 5)


def test_without_verify_the_same_map_judges_by_similarity_alone(
    lidar_robot: Callable[..., Any], calibrated_map: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot(map=calibrated_map, verify=False)
    node.process.says("accepting from probability 0.9500, for a precision of 0.99")
    node.send_until(node.lidar(), node.cloud(clouds[7], START_NS), lambda: node.matches)
    # To a network that was not trained on streets these places look alike.
    reasons = (PlaceMatch.BELOW_TARGET, PlaceMatch.AMBIGUOUS)
    assert not node.matches[0].accepted and node.matches[0].matches[0].reason in reasons


def test_a_cloud_that_fits_gives_the_pose_with_its_covariance(
    lidar_robot: Callable[..., Any], cloud_map: Path, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot(map=cloud_map, verify=True)
    node.send_until(node.lidar(), node.cloud(clouds[7], START_NS), lambda: node.poses)
    message = node.poses[0]
    place = Frames.load(frames).frames[7].pose
    assert place and message.header.frame_id == "map"
    assert stamp_to_ns(message.header.stamp) == START_NS + 50_000_000
    assert math.dist(pose_from_message(message.pose.pose).position_m, place.position_m) < 0.8
    covariance = np.array(message.pose.covariance).reshape(6, 6)
    assert np.linalg.eigvalsh(covariance).min() > 0 and covariance[0, 0] < 0.1
    assert np.count_nonzero(covariance - np.diag(np.diag(covariance))) > 10


def test_a_cloud_that_fits_nowhere_gives_matches_and_no_pose(
    lidar_robot: Callable[..., Any], cloud_map: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot(map=cloud_map, verify=True)
    rng = np.random.default_rng(0)
    strange = rng.uniform((-20, -20, -1.5, 0), (20, 20, 4, 9), (8000, 4)).astype(np.float32)
    lidar = node.lidar()
    node.send_until(lidar, node.cloud(strange, START_NS), lambda: node.matches)
    node.process.says("not verified: none of 5 candidates fits")
    refused = node.matches[0]
    assert not refused.accepted and refused.matches[0].reason == PlaceMatch.NOT_VERIFIED
    assert [match.reason for match in refused.matches[1:]] == [PlaceMatch.NOT_BEST] * 4
    node.status(lambda status, values: values["last_reason"] == "not verified" and "(not verified)" in status.message,
                meanwhile=lambda: lidar.publish(node.cloud(strange, START_NS)))  # fmt: skip
    asked = node.call(QueryPlace, "query").result
    assert not asked.accepted and asked.matches[0].reason == PlaceMatch.NOT_VERIFIED
    node.send_until(node.lidar(), node.cloud(clouds[3], START_NS + 10**9), lambda: node.poses)
    assert {stamp_to_ns(message.header.stamp) for message in node.poses} == {START_NS + 10**9 + 50_000_000}


def test_by_default_candidates_are_checked_where_the_map_has_clouds(
    lidar_robot: Callable[..., Any], lidar_map: Path, cloud_map: Path, frames: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot(map=lidar_map)
    node.status(lambda _, values: values["verify"] == "off")
    lidar = node.lidar()
    node.send_until(lidar, node.cloud(clouds[7], START_NS), lambda: node.poses)
    assert stamp_to_ns(node.poses[0].header.stamp) == START_NS, "of a place, not of the middle of a sweep"
    assert node.call(LoadMap, "load_map", folder=str(cloud_map)).success
    node.status(lambda _, values: values["verify"] == "on")
    middle_ns = START_NS + 10**9 + 50_000_000
    node.send_until(
        lidar, node.cloud(clouds[7], START_NS + 10**9),
        lambda: node.poses[-1].header.stamp == ns_to_stamp(middle_ns),
    )  # fmt: skip
    place = Frames.load(frames).frames[7].pose
    assert place and math.dist(pose_from_message(node.poses[-1].pose.pose).position_m, place.position_m) < 0.8


def test_where_the_library_lacks_a_map_is_refused_unless_checks_are_not_wanted(
    lidar_robot: Callable[..., Any], cloud_map: Path, clouds: list[np.ndarray], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    missing = "raise ModuleNotFoundError(\"No module named 'small_gicp'\", name='small_gicp')"
    (tmp_path / "small_gicp.py").write_text(missing)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    node = lidar_robot(map=cloud_map)
    node.process.says("are compared by small_gicp, which is missing: install it; or set verify to false")
    assert "Traceback" not in node.process.output
    other = lidar_robot(map=cloud_map, verify=False)
    other.send_until(other.lidar(), other.cloud(clouds[7], START_NS), lambda: other.poses)
    assert stamp_to_ns(other.poses[0].header.stamp) == START_NS, "of a place, not of the middle of a sweep"


def test_a_map_without_clouds_is_refused_with_the_command(
    lidar_robot: Callable[..., Any], lidar_map: Path, cloud_map: Path, clouds: list[np.ndarray]
) -> None:
    node = lidar_robot(map=cloud_map, verify=True)
    node.process.says("active")
    response = node.call(LoadMap, "load_map", folder=str(lidar_map))
    assert not response.success and "has no clouds to verify with: make the map with" in response.message
    node.send_until(node.lidar(), node.cloud(clouds[2], START_NS), lambda: node.poses)
    other = lidar_robot(map=lidar_map, verify=True)
    other.process.says("cannot configure")
    other.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "has no clouds" in status.message)
    assert not (lidar_map / FILE).exists()
