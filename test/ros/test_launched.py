"""The launch files together, in launch_testing's form: a replayed drive and two localizers that a vehicle would run.

The camera's is calibrated and follows odometry, the LiDAR's verifies. What each answer has to be is tested without
launch in the folder localizer.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for needed in ("launch_testing", "launch_ros", "rclpy"):
    pytest.importorskip(needed)

import launch_testing  # noqa: E402
import launch_testing.actions  # noqa: E402
import launch_testing.asserts  # noqa: E402
import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseWithCovarianceStamped  # noqa: E402
from launch import LaunchDescription  # noqa: E402
from launch.actions import GroupAction, IncludeLaunchDescription, SetLaunchConfiguration  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402

from vpr_core.data.ingest import ingest  # noqa: E402
from vpr_core.retrieval.calibration import Calibration  # noqa: E402
from vpr_core.retrieval.light import LightShift  # noqa: E402
from vpr_core.retrieval.mapping import build_map  # noqa: E402
from vpr_core.retrieval.match_model import ByLight, Logistic, MatchModel, Threshold  # noqa: E402
from vpr_core.retrieval.observation_model import ObservationModel  # noqa: E402
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds  # noqa: E402
from vpr_core.retrieval.place_map import PlaceMap  # noqa: E402
from vpr_core.synthetic.drive import record_drive  # noqa: E402
from vpr_core.types import Pose  # noqa: E402
from vpr_distill_msgs.msg import FilteredPlace, PlaceMatch, PlaceMatchArray  # noqa: E402

ROOT = Path(__file__).parents[2]
BUNDLES = {modality: ROOT / "bundles" / f"town_{modality}" for modality in ("camera", "lidar")}
DOMAIN = 1 + os.getpid() % 101
PATIENCE_S = 180.0
IMAGE_TOPIC = "/camera/image/compressed"
FOLDER = tempfile.TemporaryDirectory()
SEEN = ObservationModel(offset=-5.0, per_similarity=0.0, per_standing=4.0, off_map_log_ratio=0.0, evidence_m=2.0)
MOUNTED = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05)


def calibrate(place_map: Path) -> None:
    """Probability 0.98 for whatever is seen: enough for a precision of 0.9, too little for 0.99."""
    places = PlaceMap.load(place_map)
    flat = Logistic((0.0,) * 5, (1.0,) * 5, (0.0,) * 5, math.log(0.98 / 0.02))
    model, no_light = MatchModel(ByLight(flat, flat), 10.0, 0.5), LightShift.fit(np.zeros((1, 3)), np.zeros((1, 0)))
    entries = (Threshold(0.9, 0.97, 100, 5, 0.9, 0.97), Threshold(0.99, 0.99, 100, 0, 0.97, 0.99))
    Calibration(
        places.hash, places.model_hash, 10.0, 15.0, 0.1, no_light, model, model, None, (0.0,) * 9, entries
    ).save(place_map, {})  # fmt: skip


def prepared(folder: Path) -> tuple[Path, dict[str, Path]]:
    """A bag of a short drive, and what each localizer is told in a parameter file."""
    bag = record_drive(folder / "bag", town=3, condition="noon", route="loop", seed=1, max_length_m=60.0, labels=False)
    frames = ingest(bag, folder / "frames", pose_topic="/ground_truth/odom")
    for modality, bundle in BUNDLES.items():
        build_map(bundle, frames, folder / modality)
    calibrate(folder / "camera")
    SEEN.save(folder / "camera")
    store_clouds(folder / "lidar", frames, MOUNTED)
    own = {
        "camera": "odometry_topic: /odom\n    initialpose_topic: /initialpose\n    target_precision: 0.9",
        "lidar": "min_similarity: -0.99",
    }
    files = {modality: folder / f"{modality}.yaml" for modality in own}
    for modality, lines in own.items():
        files[modality].write_text(f"/**:\n  ros__parameters:\n    diagnostics_period_s: 0.2\n    {lines}\n")
    return bag, files


def included(name: str, **arguments: object) -> GroupAction:
    """A launch file with arguments of its own: without the group they would be those of the next one too."""
    source = PythonLaunchDescriptionSource(str(ROOT / "launch" / f"{name}.launch.py"))
    pairs = [(key, str(value)) for key, value in arguments.items()]
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=pairs)])


@pytest.mark.launch_test
def generate_test_description() -> LaunchDescription:
    profile = str(ROOT / "config" / "dds" / "localhost_large_messages.xml")
    distro = os.environ.get("ROS_DISTRO")
    only_here = {"ROS_LOCALHOST_ONLY": "1"} if distro == "humble" else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    library = "FASTRTPS" if distro in ("humble", "jazzy") else "FASTDDS"
    os.environ.update({"ROS_DOMAIN_ID": str(DOMAIN), f"{library}_DEFAULT_PROFILES_FILE": profile, **only_here})
    bag, files = prepared(Path(FOLDER.name))
    localizers = [
        included("localize", namespace=f"/{modality}", modality=modality, bundle=BUNDLES[modality],
                 map=Path(FOLDER.name) / modality, params_file=file)
        for modality, file in files.items()
    ]  # fmt: skip
    replay = included("replay", bag=bag, loop="true", wait_for_subscribers_s=PATIENCE_S)
    # By default launch kills what has not ended after 10 s, which on a busy machine a network at work may not have.
    patience = SetLaunchConfiguration("sigterm_timeout", str(PATIENCE_S))
    return LaunchDescription([patience, *localizers, replay, launch_testing.actions.ReadyToTest()])


class TestDrive(unittest.TestCase):
    """While the drive is replayed again and again."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.context = rclpy.Context()
        cls.context.init(domain_id=DOMAIN)
        cls.node = rclpy.create_node("launched", context=cls.context)
        cls.diagnosed = cls.collect(DiagnosticArray, "/diagnostics")
        cls.initial = cls.collect(PoseWithCovarianceStamped, "/initialpose")
        cls.filtered = cls.collect(FilteredPlace, "/camera/localizer/filtered")
        cls.matches = {name: cls.collect(PlaceMatchArray, f"/{name}/localizer/matches") for name in BUNDLES}
        cls.poses = {name: cls.collect(PoseWithCovarianceStamped, f"/{name}/localizer/pose") for name in BUNDLES}
        cls.thread = threading.Thread(target=cls.spin, daemon=True)
        cls.thread.start()

    @classmethod
    def spin(cls) -> None:
        executor = SingleThreadedExecutor(context=cls.context)
        executor.add_node(cls.node)
        while cls.context.ok():
            try:
                executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return

    @classmethod
    def collect(cls, kind: type, topic: str) -> list[Any]:
        received: list[Any] = []
        cls.node.create_subscription(kind, topic, received.append, 1000)
        return received

    @classmethod
    def tearDownClass(cls) -> None:
        cls.context.try_shutdown()
        cls.thread.join()
        cls.node.destroy_node()

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        until_s = time.monotonic() + PATIENCE_S
        while not (result := condition()):
            if time.monotonic() > until_s:
                self.fail(f"waited {PATIENCE_S:g} s for {what}")
            time.sleep(0.02)
        return result

    def status(self, modality: str, reached: Callable[[dict[str, str]], Any], what: str) -> dict[str, str]:
        """The figures of a localizer on /diagnostics, once they are what is asked for."""

        def newest() -> dict[str, str] | None:
            messages = [status for array in self.diagnosed[-50:] for status in array.status]
            mine = [status for status in messages if status.name.startswith(f"{modality}/")]
            values = {pair.key: pair.value for pair in mine[-1].values} if mine else {}
            return values if values and reached(values) else None

        return self.wait(newest, what)

    def test_the_camera_is_localized_along_odometry(self) -> None:
        self.wait(lambda: any(message.accepted for message in self.filtered), "an accepted place on ~/filtered")
        believed = next(message for message in self.filtered if message.accepted)
        self.assertGreaterEqual(believed.probability, 0.99)
        self.assertEqual((believed.reason, believed.header.frame_id), (FilteredPlace.ACCEPTED, "map"))
        values = self.status("camera", lambda values: values["localization"] == "localized", "localized")
        self.assertEqual((values["state"], values["filter"], values["calibrated"]), ("active", "on", "yes"))

    def test_an_initial_pose_is_sent_once_as_nav2_takes_it(self) -> None:
        self.wait(lambda: self.initial, "a message on /initialpose")
        values = self.status("camera", lambda values: values["answers_agree"] == "yes", "agreement")
        self.assertEqual(values["initial_pose"], "sent")
        message = self.initial[0]
        covariance = np.array(message.pose.covariance).reshape(6, 6)
        self.assertEqual(message.header.frame_id, "map")
        self.assertTrue((covariance >= 0).all() and (covariance == np.diag(np.diag(covariance))).all())
        self.assertEqual(len(self.initial), 1)

    def test_the_lidars_pose_is_the_registered_one(self) -> None:
        pose = self.wait(lambda: self.poses["lidar"], "a pose of the LiDAR")[0]
        covariance = np.array(pose.pose.covariance).reshape(6, 6)
        self.assertGreater(np.linalg.eigvalsh(covariance).min(), 0.0)
        self.assertGreater(np.count_nonzero(covariance - np.diag(np.diag(covariance))), 10)
        self.status("lidar", lambda values: values["localization"] == "localized", "localized")

    def test_what_is_no_picture_is_refused_and_counted(self) -> None:
        broken = self.node.create_publisher(CompressedImage, IMAGE_TOPIC, 10)
        message = CompressedImage(format="jpeg")
        message.header.stamp.sec = 2_000_000_000
        message.data.frombytes(b"this is no picture")

        def dropped(values: dict[str, str]) -> bool:
            broken.publish(message)
            return int(values["frames_dropped"]) > 0

        self.status("camera", dropped, "a dropped frame")
        self.node.destroy_publisher(broken)
        count = len(self.matches["camera"])
        self.wait(lambda: len(self.matches["camera"]) > count, "an answer after it")

    def test_what_is_accepted_follows_the_target(self) -> None:
        def newest(reason: int) -> Any:
            return any(message.matches[0].reason == reason for message in self.matches["camera"][-3:])

        self.wait(lambda: newest(PlaceMatch.ACCEPTED), "an accepted match at 0.9")
        self.set_target(0.99)
        self.wait(lambda: newest(PlaceMatch.BELOW_TARGET), "a match below the target at 0.99")
        self.set_target(0.9)

    def set_target(self, value: float) -> None:
        client = self.node.create_client(SetParameters, "/camera/localizer/set_parameters")
        self.wait(client.service_is_ready, "the service of parameters")
        parameter = Parameter("target_precision", value=value).to_parameter_msg()
        future = client.call_async(SetParameters.Request(parameters=[parameter]))
        self.assertTrue(self.wait(lambda: future.done() and future.result(), "a response").results[0].successful)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    """After Ctrl-C."""

    def test_every_process_ends_cleanly(self, proc_info: Any) -> None:
        self.assertEqual(len(proc_info.processes()), 3)
        launch_testing.asserts.assertExitCodes(proc_info)
        FOLDER.cleanup()
