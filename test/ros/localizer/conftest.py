"""A localizer process, and everything that it publishes and offers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.types import Pose
from vpr_distill_msgs.msg import PlaceMatchArray
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

ACCEPT_ALL = -0.99
NO_FRAME = "''"
START_NS = 1_700_000_000_000_000_000
STEP_NS = 500_000_000
MIDDLE_NS = 50_000_000
MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=MIDDLE_NS / 1e9)
T_odom_map = Pose.from_xy_yaw(500.0, -80.0, 2.0)

_AGAIN_S = 0.5


@pytest.fixture
def robot(start_robot: Callable[..., Any], bundle: Path, place_map: Path) -> Callable[..., Any]:
    """robot(**parameters) starts a localizer in the test's namespace; bundle and map are given unless overridden."""

    def make(*arguments: str, **parameters: Any) -> Any:
        # What one message led to is told for as long as a slow machine may need to look at it.
        given = {"bundle": bundle, "map": place_map, "min_similarity": ACCEPT_ALL, "stale_s": 100.0}
        node = start_robot("localizer", *arguments, **given | parameters)
        node.matches = node.probe.collect(PlaceMatchArray, f"{node.name}/matches")
        node.poses = node.probe.collect(PoseWithCovarianceStamped, f"{node.name}/pose")
        node.candidates = node.probe.collect(PoseArray, f"{node.name}/candidates")
        return node

    return make


@pytest.fixture
def lidar_robot(robot: Callable[..., Any], namespace: str, lidar_bundle: Path, lidar_map: Path) -> Callable[..., Any]:
    """Like `robot`, with a LiDAR model, and the LiDAR where the map's was."""

    def make(*arguments: str, **parameters: Any) -> Any:
        given = {"modality": "lidar", "bundle": lidar_bundle, "map": lidar_map, "cloud_topic": f"{namespace}/points",
                 "base_frame": NO_FRAME}  # fmt: skip
        return robot(*arguments, **given | parameters)

    return make


@pytest.fixture(scope="session")
def driven_map(lidar_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = Path(shutil.copytree(lidar_map, tmp_path_factory.mktemp("driven") / "map"))
    store_clouds(copy, frames, MOUNTED)
    return copy


@pytest.fixture
def driven(lidar_robot: Callable[..., Any], namespace: str, driven_map: Path, frames: Path, clouds: list[Any]) -> Any:
    """driven(**parameters) is a localizer that verifies clouds, which `step(index)` drives along the map's frames."""
    poses = [frame.pose for frame in Frames.load(frames).frames]

    def make(*arguments: str, **parameters: Any) -> Any:
        given = {"map": driven_map, "verify": True, "odometry_topic": f"{namespace}/odom", "filter": False}
        node = lidar_robot("-r", f"/tf:={namespace}/tf", *arguments, **given | parameters)
        lidar, odometry = node.lidar(), node.probe.publisher(Odometry, f"{namespace}/odom", 50)

        sent: dict[int, float] = {}

        def send(index: int) -> None:
            # A cloud takes half a second to verify: more of them would only fill the queues in which DDS's own
            # messages wait, those by which a service becomes known among them.
            if time.monotonic() - sent.get(index, 0.0) < _AGAIN_S:
                return
            sent[index] = time.monotonic()
            assert poses[index]
            message = Odometry(child_frame_id="base_link")
            message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS + index * STEP_NS), "odom"
            message.pose.pose = pose_to_message(compose(T_odom_map, poses[index]))
            lidar.publish(node.cloud(clouds[index], START_NS + index * STEP_NS))
            odometry.publish(message)

        def step(index: int) -> None:
            """Send a cloud and where odometry was until its pose comes."""

            def answered() -> bool:
                send(index)
                stamps = {stamp_to_ns(message.header.stamp) for message in node.poses}
                return START_NS + index * STEP_NS + MIDDLE_NS in stamps

            node.wait(answered, f"the pose of cloud {index}")

        node.step, node.send = step, send
        return node

    return make
