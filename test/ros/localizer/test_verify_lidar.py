"""The localizer with `verify`: the pose on ~/pose is the registered one, or there is none."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from vpr_core.data.frames import Frames
from vpr_core.data.poses import pose_from_message
from vpr_core.retrieval.place_clouds import FILE, CloudOptions, store_clouds
from vpr_core.types import Pose
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import LoadMap, QueryPlace
from vpr_distill_ros.stamps import stamp_to_ns

START_NS = 1_700_000_000_000_000_000
MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05)


@pytest.fixture(scope="module")
def cloud_map(lidar_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = shutil.copytree(lidar_map, tmp_path_factory.mktemp("verify") / "map")
    store_clouds(copy, frames, MOUNTED)
    return copy


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
