"""snapshot_recorder as a process: a bag of what a localizer refused, which `hard-pairs` reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from vpr_core.cli import main
from vpr_core.data.bag import BagReader
from vpr_core.data.frames import Frames
from vpr_core.data.hard_pairs import HardPairs
from vpr_core.types import Match, Reason, Recognition
from vpr_distill_msgs.msg import PlaceMatchArray
from vpr_distill_ros.conversions import matches_to_message
from vpr_distill_ros.message_types import definitions
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.stamps import ns_to_stamp

SHIPPED = Path(__file__).parents[2] / "config" / "nodes" / "snapshot_recorder.yaml"


class Drive:
    """A camera, odometry, and a localizer that answers as it is told to; each repeated until the recorder has it."""

    def __init__(self, probe: Any, namespace: str, frames: Path) -> None:
        self.frames = Frames.load(frames)
        self.camera = probe.publisher(CompressedImage, f"{namespace}/image", 100)
        self.odometry = probe.publisher(Odometry, f"{namespace}/odom", 100)
        self.pose = probe.publisher(PoseWithCovarianceStamped, f"{namespace}/localizer/pose", 100)
        self.matches = probe.publisher(PlaceMatchArray, f"{namespace}/localizer/matches", 100)

    def send(self, index: int, reason: Reason, place: int) -> None:
        """What all of them say at one frame; the localizer took it for `place`."""
        frame = self.frames.frames[index]
        stamp = ns_to_stamp(frame.stamp_ns)
        image = CompressedImage(header=Header(stamp=stamp, frame_id="camera_optical"), format="jpeg")
        image.data.frombytes((self.frames.folder / str(frame.image)).read_bytes())
        odometry = Odometry(header=Header(stamp=stamp, frame_id="map"), child_frame_id="base_link")
        odometry.pose.pose = pose_to_message(frame.pose)
        believed = PoseWithCovarianceStamped(header=Header(stamp=stamp, frame_id="map"))
        believed.pose.pose = odometry.pose.pose
        taken_for = self.frames.frames[place]
        match = Match(place, self.frames.session, taken_for.stamp_ns, taken_for.pose, 0.8, reason)
        answer = Recognition(frame.stamp_ns, (match,), np.empty(0, np.float32))
        names = {"map_frame": "map", "map_hash": "aa", "model_hash": "bb", "processing_ms": 1.0}
        self.odometry.publish(odometry)
        self.camera.publish(image)
        if reason is Reason.ACCEPTED:
            self.pose.publish(believed)
        self.matches.publish(matches_to_message(answer, image.header, **names))  # type: ignore[arg-type]


@pytest.fixture
def recorder(start: Callable[..., Any], namespace: str, tmp_path: Path) -> Callable[..., Any]:
    """recorder(**parameters) starts one in the test's namespace that writes to `snapshots`."""

    def make(**parameters: Any) -> Any:
        topics = [f"{namespace}/{name}" for name in ("image", "odom", "localizer/pose")]
        values = {"out": tmp_path / "snapshots", "matches_topic": f"{namespace}/localizer/matches", "topics": topics,
                  "after_s": 0.5, "before_s": 600.0, **parameters}  # fmt: skip
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        return start("snapshot_recorder", "--ros-args", "-r", f"__ns:={namespace}", *words)

    return make


def bags(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/metadata.yaml"))


def drive_with(probe: Any, namespace: str, frames: Path, process: Any) -> Drive:
    drive = Drive(probe, namespace, frames)
    for topic in ("image", "odom", "localizer/pose", "localizer/matches"):
        process.says(f"keeping {namespace}/{topic}")
    return drive


def stamps_in(bag: Path, topic: str) -> set[int]:
    with BagReader(bag) as reader:
        return {reader.stamp_ns(message) for message in reader.raw_messages([topic])}


def test_refusals_in_a_row_become_a_bag_that_gives_hard_pairs(
    probe: Any, recorder: Callable[..., Any], namespace: str, frames: Path, tmp_path: Path
) -> None:
    process = recorder(pause_s=0.0)
    drive = drive_with(probe, namespace, frames, process)
    last = len(drive.frames) - 1
    told: Iterable[tuple[int, Reason, int]] = [
        *((index, Reason.ACCEPTED, index) for index in range(3)),
        *((index, Reason.AMBIGUOUS, last) for index in range(3, 6)),
        *((index, Reason.ACCEPTED, index) for index in range(6, 9)),
    ]
    for index, reason, place in told:
        drive.send(index, reason, place)
    (bag,) = probe.until(lambda: bags(tmp_path / "snapshots"), "a bag")
    assert bag.name.endswith("_ambiguous")
    wanted = {drive.frames.frames[index].stamp_ns for index in range(3, 6)}
    assert wanted <= stamps_in(bag, f"{namespace}/localizer/matches")
    poses = f"anchored:{namespace}/localizer/pose+{namespace}/odom"
    main(["hard-pairs", "--bags", str(bag), "--frames", str(frames), "--out", str(tmp_path / "hard"),
          "--negative_m", "10.5", "--keyframe_m", "0", "--pose_topic", poses])  # fmt: skip
    pairs = HardPairs.load(tmp_path / "hard" / "hard_pairs.csv").pairs
    wrong = {pair.query_stamp_ns for pair in pairs if not pair.right}
    assert wrong and wrong <= wanted and {pair.reason for pair in pairs} == {"ambiguous"}
    assert process.signalled() == 0 and "1 snapshots written" in process.output and "Traceback" not in process.output


def ask_for_one(probe: Any, service: str) -> Path:
    """The bag of a service that may not have anything yet, or too much to write."""

    def asked() -> Path | None:
        answer = probe.call(Trigger, service)
        return Path(answer.message) if answer.success else None

    return Path(probe.until(asked, "a bag"))


def test_the_shipped_file_gives_every_parameter_its_default() -> None:
    from vpr_distill_ros.snapshot_recorder_node import _ROWS

    shipped = yaml.safe_load(SHIPPED.read_text())["/**"]["ros__parameters"]
    assert shipped == {name: default for name, default, _ in _ROWS}


def test_whatever_its_topics_are_called_a_localizer_s_are_kept(
    start_robot: Callable[..., Any], start: Callable[..., Any], probe: Any, namespace: str, bundle: Path,
    place_map: Path, tmp_path: Path,
) -> None:  # fmt: skip
    given = ["-r", f"__ns:={namespace}", "--params-file", str(SHIPPED), "-p", f"out:={tmp_path / 'snapshots'}"]
    process = start(
        "snapshot_recorder", "--ros-args", *given, "-p", "after_s:=0.2", "-p", "reasons:=[below_similarity]"
    )
    process.says(f"keeping {namespace}/localizer/matches")
    process.says(f"nobody sends {namespace}/localizer/matches: no bag is written before a localizer does")
    other = {"odometry_topic": f"{namespace}/wheels", "filter": False, "refuse": "dark", "stale_s": 1000.0}
    node = start_robot("localizer", bundle=bundle, map=place_map, min_similarity=1.0, **other)
    camera, wheels = node.camera(), probe.publisher(Odometry, f"{namespace}/wheels")
    for topic in ("image", "wheels", "localizer/pose", "localizer/filtered"):
        process.says(f"keeping {namespace}/{topic}")
    broken = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    picture = node.photograph(cv2.imencode(".jpg", cv2.GaussianBlur(broken, (0, 0), 8))[1].tobytes())
    node.send_until(camera, picture, lambda: bags(tmp_path / "snapshots") or wheels.publish(Odometry()))
    (bag,) = bags(tmp_path / "snapshots")
    assert bag.name.endswith("_below_similarity")
    assert stamps_in(bag, f"{namespace}/image") and stamps_in(bag, f"{namespace}/localizer/matches")
    assert "/parameter_events" not in process.output and "Traceback" not in process.output


def test_refusals_that_are_not_asked_for_or_not_in_a_row_are_not_kept(
    probe: Any, recorder: Callable[..., Any], namespace: str, frames: Path, tmp_path: Path
) -> None:
    process = recorder(reasons="[ambiguous]", after_s=0.0, refused_needed=2)
    drive = drive_with(probe, namespace, frames, process)
    reasons = [Reason.OFF_MAP, Reason.OFF_MAP, Reason.AMBIGUOUS, Reason.ACCEPTED, Reason.AMBIGUOUS, Reason.OFF_MAP]
    for index, reason in enumerate(reasons):
        drive.send(index, reason, 0)
    asked = ask_for_one(probe, f"{namespace}/snapshot_recorder/snapshot")
    assert asked.name.endswith("_asked_for")
    probe.until(lambda: bags(tmp_path / "snapshots"), "the bag that was asked for")
    assert [bag.name for bag in bags(tmp_path / "snapshots")] == [asked.name]
    assert process.signalled() == 0


def test_a_full_disk_budget_writes_nothing_and_says_so(
    probe: Any, recorder: Callable[..., Any], namespace: str, frames: Path, tmp_path: Path
) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "older").write_bytes(bytes(2 * 1024 * 1024))
    process = recorder(disk_mib=1)
    drive = drive_with(probe, namespace, frames, process)
    drive.send(0, Reason.AMBIGUOUS, 0)
    probe.call(Trigger, f"{namespace}/snapshot_recorder/snapshot")
    process.says("above disk_mib 1: move bags away, or raise it")
    assert not bags(tmp_path / "snapshots") and (tmp_path / "snapshots" / "older").exists()


def test_what_is_due_when_a_signal_comes_is_still_written(
    probe: Any, recorder: Callable[..., Any], namespace: str, frames: Path, tmp_path: Path
) -> None:
    process = recorder(refused_needed=1, after_s=600.0, pause_s=0.0)
    drive = drive_with(probe, namespace, frames, process)
    for index in range(8):
        drive.send(index, Reason.AMBIGUOUS, 0)
        time.sleep(0.2)
    assert not bags(tmp_path / "snapshots"), "it is due ten minutes later"
    assert process.signalled() == 0
    (bag,) = bags(tmp_path / "snapshots")
    assert bag.name.endswith("_ambiguous") and stamps_in(bag, f"{namespace}/localizer/matches")
    assert "1 snapshots written" in process.output and "Traceback" not in process.output


def test_two_that_are_asked_for_in_one_second_are_two_bags(
    probe: Any, recorder: Callable[..., Any], namespace: str, frames: Path, tmp_path: Path
) -> None:
    process = recorder(refused_needed=1000)
    drive = drive_with(probe, namespace, frames, process)
    service = f"{namespace}/snapshot_recorder/snapshot"
    drive.send(0, Reason.OFF_MAP, 0)
    first, second = ask_for_one(probe, service), ask_for_one(probe, service)
    assert first != second and process.signalled() == 0
    assert {first.name, second.name} <= {bag.name for bag in bags(tmp_path / "snapshots")}
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"out": "''"}, "no folder is given"),
        ({"out": "/dev/null/no"}, "cannot be written"),
        ({"reasons": "[tired]"}, "tired is no refusal; expected some of below_similarity"),
        ({"topics": "[/a//b]"}, "topics is no name of a topic: Invalid topic name: topic name must not contain repeat"),
    ],
    ids=["no_folder", "no_disk", "no_reason", "no_topic"],
)
def test_what_cannot_be_begun_is_one_line(recorder: Callable[..., Any], parameters: dict[str, str], words: str) -> None:
    process = recorder(**parameters)
    assert process.ends() == 1
    assert words in process.output and "Traceback" not in process.output


def test_definitions_come_with_all_that_they_consist_of() -> None:
    found = definitions("vpr_distill_msgs/msg/PlaceMatchArray")
    assert {"vpr_distill_msgs/msg/PlaceMatch", "geometry_msgs/msg/Pose", "std_msgs/msg/Header",
            "builtin_interfaces/msg/Time"} <= set(found)  # fmt: skip
