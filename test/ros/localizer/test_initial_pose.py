"""The initial pose by Nav2's service, and what slam_toolbox and RTAB-Map get by the shipped adapters."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from vpr_core.data.poses import pose_from_message
from vpr_distill_ros.handover import for_rtabmap
from vpr_distill_ros.localizer_parameters import LocalizerParameters

ROOT = Path(__file__).parents[3]
ADAPTERS = ROOT / "config" / "adapters"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

AMCL = """
import json, sys
import rclpy
from nav2_msgs.srv import SetInitialPose

def answer(request, response):
    pose = request.pose.pose.pose
    print(json.dumps({
        "frame": request.pose.header.frame_id,
        "stamp": [request.pose.header.stamp.sec, request.pose.header.stamp.nanosec],
        "position": [pose.position.x, pose.position.y, pose.position.z],
        "orientation": [pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w],
        "covariance": list(request.pose.pose.covariance),
    }), flush=True)
    return response

rclpy.init()
node = rclpy.create_node("amcl")
node.create_service(SetInitialPose, sys.argv[1], answer)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""


@pytest.fixture(scope="session")
def nav2_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where nav2_msgs is built from its definition, for these tests alone; None where Nav2's own is installed."""
    if find_spec("nav2_msgs") and find_spec("nav2_msgs.srv"):
        return None
    if shutil.which("cmake") is None:
        pytest.skip("cmake: neither nav2_msgs nor what builds it is here")
    folder = tmp_path_factory.mktemp("nav2")
    command = [sys.executable, str(ROOT / "tools" / "build_messages.py"), str(folder / "build"), str(folder / "prefix")]
    built = subprocess.run([*command, str(ROOT / "test" / "ros" / "nav2_msgs")], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return folder / "prefix"


@pytest.fixture
def with_nav2(nav2_prefix: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started find nav2_msgs."""
    if nav2_prefix is None:
        return
    (package,) = nav2_prefix.glob("**/nav2_msgs/srv/__init__.py")
    found = {"PYTHONPATH": package.parents[2], "LD_LIBRARY_PATH": nav2_prefix / "lib", "AMENT_PREFIX_PATH": nav2_prefix}
    for name, path in found.items():
        monkeypatch.setenv(name, os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])]))


@pytest.fixture
def amcl(with_nav2: None, namespace: str, tmp_path: Path) -> Iterator[Callable[[], Callable[[], list[Any]]]]:
    """amcl() starts a process that offers set_initial_pose; what comes back gives the poses that it was sent."""
    started: list[subprocess.Popen[str]] = []
    script, log = tmp_path / "amcl.py", tmp_path / "amcl.log"
    script.write_text(AMCL)

    def make() -> Callable[[], list[Any]]:
        command = [sys.executable, str(script), f"{namespace}/set_initial_pose"]
        started.append(subprocess.Popen(command, stdout=log.open("w"), text=True))
        return lambda: [json.loads(line) for line in log.read_text().splitlines()]

    yield make
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def of_stamp(node: Any, stamp: list[int]) -> PoseWithCovarianceStamped:
    """What ~/pose said of that moment."""

    def found() -> Any:
        stamped = ((pose.header.stamp.sec, pose.header.stamp.nanosec, pose) for pose in node.poses)
        return next((pose for *of, pose in stamped if of == stamp), None)

    return node.wait(found, f"the pose at {stamp}")


def test_nav2_s_service_is_called_once_with_the_pose_that_agrees(
    driven: Callable[..., Any], amcl: Callable[..., Any], namespace: str
) -> None:
    node = driven(
        set_initial_pose_service=f"{namespace}/set_initial_pose", initialpose_topic=f"{namespace}/initialpose"
    )
    node.process.says("active")
    published = node.probe.collect(PoseWithCovarianceStamped, f"{namespace}/initialpose")
    for index in range(5):
        node.step(index)
    # A cloud's pose is that of the middle of its sweep, which the odometry of the next cloud has passed.
    node.status(lambda _, values: values["answers_agree"] == "yes", meanwhile=lambda: node.send(3))
    assert node.values["initial_pose"] == "waiting"  # nobody offers it yet
    sent = amcl()
    node.status(lambda _, values: values["initial_pose"] == "sent", meanwhile=lambda: node.send(3))
    for index in range(5, 8):
        node.step(index)
    (pose,) = sent()
    whole = of_stamp(node, pose["stamp"])
    covariance = np.array(pose["covariance"]).reshape(6, 6)
    assert pose["frame"] == "map" and np.allclose(pose["position"], pose_from_message(whole.pose.pose).position_m)
    assert np.linalg.norm(pose["orientation"]) == pytest.approx(1.0, abs=5e-5)
    assert (np.diag(covariance) > 0).all() and np.count_nonzero(covariance) == 6
    assert len(published) == 1


def test_without_nav2_s_messages_the_service_is_refused(
    lidar_robot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nav2_msgs").mkdir()
    (tmp_path / "nav2_msgs" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    node = lidar_robot(set_initial_pose_service="/set_initial_pose", odometry_topic="/odom", filter=False)
    node.process.says("cannot configure: set_initial_pose_service is given, which needs nav2_msgs: install it")


@pytest.mark.parametrize("path", sorted(ADAPTERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_adapter_sets_what_there_is(path: Path) -> None:
    given = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    assert set(given) <= set(LocalizerParameters.__dataclass_fields__)
    assert given["odometry_topic"] and not given["publish_tf"]  # each of them sends map -> odom itself


def adapted(driven: Callable[..., Any], name: str, namespace: str, *topics: str) -> Any:
    """A localizer with an adapter's file; of what it names, these topics lie in the test's namespace."""
    remapped = [word for topic in ("/odom", "/tf_static", *topics) for word in ("-r", f"{topic}:={namespace}{topic}")]
    return driven("--params-file", str(ADAPTERS / f"{name}.yaml"), *remapped)


@pytest.mark.parametrize("name", ["nav2", "slam_toolbox"])
def test_amcl_and_slam_toolbox_get_one_pose_in_the_map(name: str, driven: Callable[..., Any], namespace: str) -> None:
    node = adapted(driven, name, namespace, "/initialpose")
    node.process.says("active")
    sent = node.probe.collect(PoseWithCovarianceStamped, f"{namespace}/initialpose")
    for index in range(6):
        node.step(index)
    node.wait(lambda: node.send(4) or sent, "the initial pose")
    (info,) = node.probe.node.get_publishers_info_by_topic(f"{namespace}/initialpose")
    assert info.topic_type == "geometry_msgs/msg/PoseWithCovarianceStamped"
    assert len(sent) == 1 and sent[0].header.frame_id == "map" and min(sent[0].pose.covariance) >= 0


def test_rtab_map_gets_an_initial_pose_and_priors_of_the_vehicle_s_frame(
    driven: Callable[..., Any], namespace: str
) -> None:
    node = adapted(driven, "rtabmap", namespace, "/rtabmap/initialpose", "/rtabmap/global_pose")
    node.process.says("active")
    mounted = TransformStamped(child_frame_id="lidar")  # the adapter names the vehicle's frame, so TF is asked
    mounted.header.frame_id, mounted.transform.translation.z, mounted.transform.rotation.w = "base_link", 1.9, 1.0
    node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED).publish(TFMessage(transforms=[mounted]))
    initial = node.probe.collect(PoseWithCovarianceStamped, f"{namespace}/rtabmap/initialpose")
    priors = node.probe.collect(PoseWithCovarianceStamped, f"{namespace}/rtabmap/global_pose")
    for index in range(8):
        node.step(index)
    node.wait(lambda: node.send(6) or (initial and len(priors) > 1), "priors")
    assert len(initial) == 1 and initial[0].header.frame_id == "map"
    for prior in priors:
        # CoreWrapper.cpp looks up header.frame_id to its frame_id, and puts that behind the pose.
        assert prior.header.frame_id == "base_link"
        whole = of_stamp(node, [prior.header.stamp.sec, prior.header.stamp.nanosec])
        assert pose_from_message(prior.pose.pose).position_m == pose_from_message(whole.pose.pose).position_m
        assert np.linalg.cond(np.array(prior.pose.covariance).reshape(6, 6)) < 1e6


def test_a_prior_has_a_covariance_with_an_inverse() -> None:
    certain = PoseWithCovarianceStamped()
    certain.header.frame_id, certain.pose.pose.orientation.w = "map", 1.0
    prior = for_rtabmap(certain, "base_link")
    assert np.isfinite(np.linalg.inv(np.array(prior.pose.covariance).reshape(6, 6))).all()
    assert prior.header.frame_id == "base_link" and certain.header.frame_id == "map"


def test_what_does_not_go_together_is_refused(lidar_robot: Callable[..., Any]) -> None:
    given = {"filter": False, "global_pose_topic": "/global_pose"}
    without_frame = lidar_robot(odometry_topic="/odom", **given)
    without_frame.process.says("cannot configure: global_pose_topic is given, whose poses carry the vehicle's frame")
    without_odometry = lidar_robot(set_initial_pose_service="/set_initial_pose", **given)
    without_odometry.process.says("odometry_topic is empty, and set_initial_pose_service and global_pose_topic cannot")
