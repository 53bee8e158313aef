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
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage
from threadpoolctl import threadpool_limits

from vpr_core.data.frames import Frames
from vpr_core.data.mounting import extrinsics
from vpr_core.data.poses import compose, inverse, pose_from_message
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.recognizer import PlaceRecognizer
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
LOOKING_BACK = Pose.from_xy_yaw(-1.0, 0.0, math.pi)
"""Of the camera behind: where a vehicle would stand whose camera ahead it were."""
PLACES = (3, 8, 13)


@dataclass(frozen=True)
class Drive:
    """Pictures of both cameras where the vehicle stands, driven against the map's direction in another lane."""

    T_map_base: list[Pose]
    front: list[bytes]
    rear: list[bytes]


@pytest.fixture(scope="module")
def town_map(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town") / "map"
    build_map(SHIPPED, frames, folder)
    return folder


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

    return Drive(poses, pictures(Pose((0.0, 0.0, 0.0))), pictures(LOOKING_BACK))


@pytest.fixture
def vehicle(robot: Callable[..., Any], namespace: str, town_map: Path) -> Callable[..., Any]:
    """vehicle(**parameters) is a localizer with two cameras, and publishers for both and for where they are."""

    def make(**parameters: Any) -> Any:
        given = {"bundle": SHIPPED, "map": town_map, "min_similarity": -1.0, "stale_s": 1.0,
                 "more_image_topics": f"[{namespace}/rear]"}  # fmt: skip
        node = robot("-r", f"/tf_static:={namespace}/tf_static", "-r", f"/tf:={namespace}/tf", **given | parameters)
        node.process.says("active")
        node.front = node.camera()
        if "more_image_topics" not in parameters:
            node.rear = node.probe.publisher(CompressedImage, f"{namespace}/rear", 50)
        return node

    return make


def mount(node: Any, namespace: str, **frames: Pose) -> None:
    """Tell by /tf_static where cameras are on base_link."""
    message = TFMessage()
    for frame, pose in frames.items():
        stamped, placed = TransformStamped(child_frame_id=frame), pose_to_message(pose)
        stamped.header.frame_id = "base_link"
        stamped.transform.translation = Vector3(x=placed.position.x, y=placed.position.y, z=placed.position.z)
        stamped.transform.rotation = placed.orientation
        message.transforms.append(stamped)
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.probe.publisher(TFMessage, f"{namespace}/tf_static", latched).publish(message)


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


def with_heading(poses: list[Any]) -> list[Any]:
    """Without those of before /tf_static was heard."""
    return [message for message in poses if message.pose.covariance[35] < 1.0]


def accepted(node: Any) -> list[Any]:
    return [answer for answer in node.matches if answer.accepted]


def place_at(message: Any) -> int:
    """Which of PLACES the vehicle was at by the stamp of an answer."""
    return (stamp_to_ns(message.header.stamp) - START_NS) // STEP_NS % len(PLACES)


def all_places(messages: list[Any]) -> bool:
    return len({place_at(message) for message in messages}) == len(PLACES)


def test_driven_the_other_way_it_is_recognised_by_the_camera_that_looks_back(
    vehicle: Callable[..., Any], namespace: str, against: Drive, frames: Path, town_map: Path
) -> None:
    node = vehicle()
    front = extrinsics(Frames.load(frames).card, "camera")
    assert front
    mount(node, namespace, camera_front=front, camera_rear=compose(LOOKING_BACK, front))
    send, recognizer = drive(node, against), PlaceRecognizer.load(SHIPPED, town_map)
    node.wait(lambda: (send(), all_places(with_heading(node.poses)))[1], "poses at all places")
    answers = {stamp_to_ns(answer.header.stamp): answer for answer in accepted(node)}
    for message in with_heading(node.poses):
        found, stands = pose_from_message(message.pose.pose), against.T_map_base[place_at(message)]
        answer = answers[stamp_to_ns(message.header.stamp)]
        expected = compose(pose_from_message(answer.matches[0].pose), inverse(LOOKING_BACK))
        assert math.dist(found.position_m, expected.position_m) < 0.01, "the place's pose, turned about the cameras"
        assert abs(compose(inverse(found), stands).yaw_rad) < math.radians(15), (found, stands)
        assert math.dist(found.position_m, stands.position_m) < 8.0
        assert answer.header.frame_id == "camera_rear"
        asked = against.front[place_at(message)], against.rear[place_at(message)]
        offline, cameras = recognizer.recognize_many([decode_image(data) for data in asked], 1)
        assert answer.matches[0].place_id == offline.matches[0].place_id and cameras[0] == 1
        assert answer.matches[0].similarity == pytest.approx(offline.matches[0].similarity, abs=1e-4)
    assert node.candidates[-1].poses
    values = node.status(lambda _, values: values["last_camera"] == f"{namespace}/rear", send)
    assert int(values[f"camera.{namespace}/rear.images"]) > 0
    asked = node.call(QueryPlace, "query")
    assert asked.success and asked.result.accepted and asked.result.header.frame_id == "camera_rear"


def test_with_the_camera_ahead_alone_it_is_not(vehicle: Callable[..., Any], against: Drive) -> None:
    node = vehicle(more_image_topics="['']")
    send = drive(node, against, "front")
    node.wait(lambda: (send(), len({place_at(answer) for answer in node.matches}) == len(PLACES))[1], "answers")
    assert not accepted(node) and not node.poses
    assert not [name for name in node.values if name.startswith("camera.")]


def test_a_silent_camera_does_not_stop_the_other(vehicle: Callable[..., Any], namespace: str, against: Drive) -> None:
    node = vehicle(base_frame="''")
    send = drive(node, against, "front")
    node.status(lambda status, _: f"no image on {namespace}/rear for" in status.message, send)
    missing = f"camera.{namespace}/rear.missing"
    node.status(lambda _, values: int(values[missing]) > 0 and int(values["frames_processed"]) > 0, send)
    assert node.matches and not accepted(node)
    node.status(lambda status, _: f"no image on {node.image_topic} for" in status.message and accepted(node),
                drive(node, against, "rear"))  # fmt: skip
    node.status(lambda _, values: int(values[f"camera.{node.image_topic}.missing"]) > 0)
    assert {answer.header.frame_id for answer in accepted(node)} == {"camera_rear"}
    assert node.change(Transition.TRANSITION_DEACTIVATE)
    node.status(lambda status, _: status.message == "inactive")
    asked = node.call(QueryPlace, "query")
    assert not asked.success and "no live image" in asked.message


def test_images_of_other_moments_are_left_out_and_told(
    vehicle: Callable[..., Any], namespace: str, against: Drive
) -> None:
    node = vehicle()
    send = drive(node, against, apart_ns=STEP_NS // 2)
    told = f"the stamps of {namespace}/rear lie more than cameras_within_s (0.05 s) from those of {node.image_topic}"
    node.status(lambda status, _: status.level == DiagnosticStatus.WARN and told in status.message, send)
    node.status(lambda _, values: int(values[f"camera.{namespace}/rear.apart"]) > 0, send)
    assert node.matches and not accepted(node)


def test_where_tf_does_not_tell_the_pose_has_no_heading(
    vehicle: Callable[..., Any], namespace: str, against: Drive
) -> None:
    node = vehicle(base_frame="''", odometry_topic=f"{namespace}/odom", filter=False, agreement_needed=1)
    send, odometry = drive(node, against), node.probe.publisher(Odometry, f"{namespace}/odom", 50)
    steps = iter(range(10**6))

    def go() -> None:
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = ns_to_stamp(START_NS + next(steps) * STEP_NS), "odom"
        message.pose.pose = pose_to_message(Pose((0.0, 0.0, 0.0)))
        odometry.publish(message)
        send()

    values = node.status(
        lambda status, _: "without a heading: base_frame is empty" in status.message and node.poses, go
    )
    assert values["answers_agree"] == "no", "others are told poses, and this is none"
    answer = next(answer for answer in accepted(node) if answer.header.stamp == node.poses[0].header.stamp)
    assert node.poses[0].pose.pose == answer.matches[0].pose
    assert node.poses[0].pose.covariance[35] == pytest.approx(math.pi**2)
    assert node.poses[0].pose.covariance[0] == pytest.approx(25.0)


def test_what_takes_one_camera_is_refused(robot: Callable[..., Any], namespace: str, town_map: Path) -> None:
    node = robot(bundle=SHIPPED, map=town_map, rerank=5, more_image_topics=f"[{namespace}/rear]")
    node.process.says("cannot configure: more_image_topics is given, and rerank takes one camera: set it to 0")
    assert node.set("rerank", 0).successful and node.set("more_image_topics", ["no topic"]).reason.startswith(
        "more_image_topics is no name of a topic"
    )
    assert node.set("more_image_topics", [node.image_topic]).successful
    assert not node.change(Transition.TRANSITION_CONFIGURE)
    node.process.says(f"the cameras are {node.image_topic}, {node.image_topic}: name each topic once")
