"""Replays a recorded drive, or makes training frames of one, without rosbag2."""

from __future__ import annotations

import inspect
import time
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from vpr_core.data.ingest import ingest
from vpr_distill_ros.frames_from_bag import frames_from_bag
from vpr_distill_ros.frames_from_topics import frames_from_topics
from vpr_distill_ros.parameters import Row, count, declare_rows, number, text
from vpr_distill_ros.replay import Replay

_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(ingest).parameters.items()}


class BagReplay(Node):
    """The node of all three modes; what each does stands in a module of its own."""

    def __init__(self) -> None:
        super().__init__("bag_replay")
        self.add_on_set_parameters_callback(_check_mode)
        declare_rows(self, [*_replay_rows(), *_frames_rows()])
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def value(self, name: str) -> Any:
        """A parameter's value."""
        return self.get_parameter(name).value

    def spin_for(self, seconds: float) -> None:
        """Sleep, answering services and subscriptions; raises ExternalShutdownException after a signal."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)
            self.check_signals()

    def check_signals(self) -> None:
        """Answer what has come meanwhile; raises ExternalShutdownException after a signal."""
        self._executor.spin_once(timeout_sec=0.0)
        if not rclpy.ok():
            raise ExternalShutdownException

    def work(self) -> None:
        """Do what the parameter `mode` says; raises VprError where that cannot be done."""
        MODES[self.value("mode")](self)


MODES = {
    "publish": lambda node: Replay(node).run(),
    "frames": frames_from_bag,
    "record_frames": frames_from_topics,
}


def _check_mode(changes: list[Parameter]) -> SetParametersResult:
    wrong = next((change.value for change in changes if change.name == "mode" and change.value not in MODES), None)
    reason = "" if wrong is None else f"mode {wrong!r} is not supported: expected {' or '.join(MODES)}"
    return SetParametersResult(successful=not reason, reason=reason)


def _replay_rows() -> list[Row]:
    return [
        ("mode", "publish",
         text("publish: replay a bag; frames: make training frames of it; record_frames: make them of live topics",
              read_only=True)),
        ("bag", "", text("rosbag2 folder, .mcap or .db3 file; not read in mode record_frames", read_only=True)),
        ("rate", 1.0, number("speed: 1.0 as recorded, 2.0 twice as fast", 0.01, 1000.0, read_only=True)),
        ("loop", False, text("begin again at the end, stamps moved forward, until a signal comes", read_only=True)),
        ("start_offset_s", 0.0, number("begin so long [s] after the beginning of the bag", 0.0, 1e6, read_only=True)),
        ("publish_clock", True, text("publish the bag's time on /clock", read_only=True)),
        ("wait_for_subscribers_s", 10.0,
         number("begin at the latest after so long without subscribers [s]", 0.0, 3600.0, read_only=True)),
        ("subscribers", 1,
         count("begin once the topics have so many together, and a second brought no more", 1, 1000, read_only=True)),
    ]  # fmt: skip


def _frames_rows() -> list[Row]:
    found = "empty: found by its type (frames), left out (record_frames); none: left out"
    return [
        ("frames", "", text("folder of training frames to write", read_only=True)),
        ("image_topic", "", text(f"topic of the camera; {found}", read_only=True)),
        ("cloud_topic", "", text(f"topic of the LiDAR; {found}", read_only=True)),
        ("pose_topic", "", text("topic of odometry or poses, in mode frames also of NavSatFix or tf:PARENT>CHILD; "
                                f"{found}", read_only=True)),
        ("label_topic", "", text("topic of label images, taken in mode frames; empty: found by its name and type",
                                 read_only=True)),
        ("keyframe_m", _DEFAULTS["keyframe_m"], number("distance from a frame to the next [m]", 0.0, 1000.0, True)),
        ("keyframe_s", _DEFAULTS["keyframe_s"],
         number("time from a frame to the next where there are no poses [s]", 0.0, 3600.0, True)),
        ("tolerance_s", _DEFAULTS["tolerance_s"],
         number("largest time between an image and its cloud [s]", 0.0, 60.0, True)),
        ("session", "", text("name of the drive; empty: that of the folder", read_only=True)),
        ("area", "", text("name that drives with one map frame share; needed where several towns are trained on",
                          read_only=True)),
        ("overwrite", False, text("replace a frames folder that is there", read_only=True)),
    ]  # fmt: skip
