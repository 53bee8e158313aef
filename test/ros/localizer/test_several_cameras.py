"""A vehicle with a camera ahead and one behind, on the town's street that was mapped the other way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage
from threadpoolctl import threadpool_limits

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, inverse, pose_from_message
from vpr_core.retrieval.mapping import build_map
from vpr_core.synthetic.camera import Camera, jpeg, photograph
from vpr_core.synthetic.conditions import condition_named
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose
from vpr_distill_msgs.srv import QueryPlace
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

START_NS = 1_700_000_000_000_000_000
STEP_NS = 500_000_000
SHIPPED = Path(__file__).parents[3] / "bundles" / "town_camera"
BACKWARDS = Pose.from_xy_yaw(0.0, 0.0, math.pi)
AXLES_APART = Pose.from_xy_yaw(-3.0, 0.0, math.pi)
"""T_front_rear: the rear camera looks back, three metres behind the one ahead."""
PLACES = (3, 8, 13)


@dataclass(frozen=True)
class Drive:
    """Pictures of both cameras where the vehicle stands, driven against the map's direction in another lane."""

    T_map_base: list[Pose]
    front: list[bytes]
    rear: list[bytes]


@pytest.fixture(scope="module")
def town_map(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build_map(SHIPPED, frames, tmp_path_factory.mktemp("town") / "map")
    return tmp_path_factory.getbasetemp() / "town0" / "map"


@pytest.fixture(scope="module")
def against(frames: Path) -> Drive:
    town, camera, noise = Town(3), Camera(), np.random.default_rng(5)
    scene, mapped = town.scene(2), Frames.load(frames).frames
    poses = [compose(mapped[place].pose or Pose((0, 0, 0)), Pose.from_xy_yaw(0.0, 1.5, math.pi)) for place in PLACES]

    def pictures(turned: Pose) -> list[bytes]:
        stands = (compose(pose, turned) for pose in poses)
        noon = condition_named("noon")
        with threadpool_limits(1):
            return [jpeg(photograph(camera, scene, pose, noon, town.sun_azimuth_rad, rng=noise)) for pose in stands]

    ahead = Pose((0.0, 0.0, 0.0))
    # A camera of this kind sits a metre before the point that it is turned about.
    return Drive(poses, pictures(ahead), pictures(compose(Pose((-1.0, 0.0, 0.0)), BACKWARDS)))


@pytest.fixture
def vehicle(robot: Callable[..., Any], namespace: str, town_map: Path) -> Callable[..., Any]:
    """vehicle(**parameters) is a localizer with two cameras, and publishers for both and for where they are."""

    def make(**parameters: Any) -> Any:
        given = {"bundle": SHIPPED, "map": town_map, "min_similarity": -1.0, "stale_s": 1.0,
                 "more_image_topics": f"[{namespace}/rear]"}  # fmt: skip
        node = robot("-r", f"/tf_static:={namespace}/tf_static", "-r", f"/tf:={namespace}/tf", **given | parameters)
        node.process.says("active")
        node.front, node.rear = node.camera(), None
        if "more_image_topics" in given | parameters and parameters.get("more_image_topics", "x") != "['']":
            node.rear = node.probe.publisher(CompressedImage, f"{namespace}/rear", 50)
        return node

    return make


def mount(node: Any, namespace: str, **frames: Pose) -> None:
    """Tell by /tf_static where cameras are on base_link."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg")
    message = tf2_msgs.TFMessage()
    for frame, pose in frames.items():
        stamped, placed = TransformStamped(child_frame_id=frame), pose_to_message(pose)
        stamped.header.frame_id = "base_link"
        stamped.transform.translation = Vector3(x=placed.position.x, y=placed.position.y, z=placed.position.z)
        stamped.transform.rotation = placed.orientation
        message.transforms.append(stamped)
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.probe.publisher(tf2_msgs.TFMessage, f"{namespace}/tf_static", latched).publish(message)


def picture(node: Any, data: bytes, stamp_ns: int, frame: str) -> CompressedImage:
    message = node.photograph(data, stamp_ns)
    message.header.frame_id = frame
    return message


def drive(node: Any, against: Drive, cameras: str = "front rear", apart_ns: int = 20_000_000) -> Callable[[], None]:
    """Each call sends the next pictures of the drive, which begins again and again while stamps go on."""
    steps = iter(range(10**6))

    def send() -> None:
        step = next(steps)
        stamp_ns, at = START_NS + step * STEP_NS, step % len(PLACES)
        if "rear" in cameras:
            node.rear.publish(picture(node, against.rear[at], stamp_ns + apart_ns, "camera_rear"))
        if "front" in cameras:
            node.front.publish(picture(node, against.front[at], stamp_ns, "camera_front"))

    return send


def accepted(node: Any) -> list[Any]:
    return [answer for answer in node.matches if answer.accepted]


def place_at(message: Any) -> int:
    """Which of PLACES the vehicle was at by the stamp of an answer."""
    return (stamp_to_ns(message.header.stamp) - START_NS) // STEP_NS % len(PLACES)


def test_driven_the_other_way_it_is_recognised_by_the_camera_that_looks_back(
    vehicle: Callable[..., Any], namespace: str, against: Drive
) -> None:
    node = vehicle()
    front = Pose((1.0, 0.0, 1.6), (-0.5, 0.5, -0.5, 0.5))
    mount(node, namespace, camera_front=front, camera_rear=compose(AXLES_APART_AT(front), Pose((0, 0, 0))))
    send = drive(node, against)
    node.wait(lambda: (send(), len({place_at(pose) for pose in node.poses}) == len(PLACES))[1], "poses at all places")
    for message in node.poses:
        found, stands = pose_from_message(message.pose.pose), against.T_map_base[place_at(message)]
        turned = compose(inverse(found), stands).yaw_rad
        assert abs(turned) < math.radians(15), (found, stands)
        assert math.dist(found.position_m, stands.position_m) < 6.0
        assert message.pose.covariance[35] == pytest.approx(0.35**2)
    for answer in accepted(node):
        assert answer.header.frame_id == "camera_rear"
    assert node.candidates[-1].poses and node.values["last_camera"] == f"{namespace}/rear"
    assert int(node.values[f"camera.{namespace}/rear.images"]) > 0
    asked = node.call(QueryPlace, "query")
    assert asked.success and asked.result.accepted and asked.result.header.frame_id == "camera_rear"


def test_with_the_camera_ahead_alone_it_is_not(vehicle: Callable[..., Any], against: Drive) -> None:
    node = vehicle(more_image_topics="['']")
    send = drive(node, against, "front")
    node.wait(lambda: (send(), len({place_at(answer) for answer in node.matches}) == len(PLACES))[1], "answers")
    assert not accepted(node) and not node.poses
    assert not [name for name in node.values if name.startswith("camera.")]
