"""Writes what a localizer publishes to files, one line a message."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from vpr_core.data.poses import pose_from_message
from vpr_core.errors import InputError
from vpr_core.retrieval.records import pose_to_record, recognition_to_record
from vpr_distill_ros.conversions import filtered_from_message, recognition_from_message
from vpr_distill_ros.interfaces import FilteredPlace, PlaceMatchArray
from vpr_distill_ros.parameters import declare_rows, number, text, topic_of
from vpr_distill_ros.process import logger
from vpr_distill_ros.stamps import stamp_to_ns

_POLL_S = 0.2
_DEPTH = 100


class MatchRecorder(Node):
    """One line of JSON, in the layouts of `vpr_core.retrieval.records`, for every message.

    Of ~/matches always; of the same localizer's ~/filtered and ~/pose where a file is given for them.
    """

    def __init__(self) -> None:
        super().__init__("match_recorder")
        idle = number("end when so long [s] after a message none has come; 0.0: never", 0.0, 3600.0, read_only=True)
        optional = "one that is there is replaced; empty: not recorded"
        declare_rows(self, [
            ("topic", "/localizer/matches",
             text("matches of a localizer; its other topics are those beside this one", read_only=True)),
            ("out", "", text("file to write; one that is there is replaced", read_only=True)),
            ("filtered_out", "",
             text(f"file for the places along the drive, `filtered` beside topic; {optional}", read_only=True)),
            ("pose_out", "", text(f"file for the poses, `pose` beside topic; {optional}", read_only=True)),
            ("idle_s", 0.0, idle),
        ])  # fmt: skip
        self._written = 0
        self._last_s = time.monotonic()
        self._topic = topic_of(self, "topic", self.get_parameter("topic").value)
        self._connected = False
        self._files: dict[str, TextIO] = {}
        self._open("out", self._topic, PlaceMatchArray, _match_record)
        localizer = self._topic.rpartition("/")[0]
        self._open("filtered_out", f"{localizer}/filtered", FilteredPlace, _filtered_record)
        self._open("pose_out", f"{localizer}/pose", PoseWithCovarianceStamped, _pose_record)

    def _open(self, parameter: str, topic: str, kind: type, record_of: Callable[[Any], dict[str, Any]]) -> None:
        """Record a topic to the file that a parameter names; only that of the matches has to be given."""
        path = self.get_parameter(parameter).value
        if not path and parameter != "out":
            return
        self._files[parameter] = file = _open(path)

        def write(message: Any) -> None:
            try:
                file.write(json.dumps(record_of(message)) + "\n")
                file.flush()
            except OSError as error:
                raise InputError(f"{file.name} cannot be written: {error.strerror}") from error
            self._written += parameter == "out"
            self._last_s = time.monotonic()

        self.create_subscription(kind, topic, write, QoSProfile(depth=_DEPTH))

    def record(self) -> None:
        """Write until a signal comes, or the topic has gone silent for `idle_s` after a message."""
        idle_s = self.get_parameter("idle_s").value
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        try:
            while rclpy.ok() and not self._is_idle(idle_s):
                executor.spin_once(timeout_sec=_POLL_S)
                self._tell_when_connected()
        finally:
            for file in self._files.values():
                with suppress(OSError):  # of a full disk, which was told
                    file.close()
            logger(self).info(f"{self._written} matches written to {self._files['out'].name}")

    def _tell_when_connected(self) -> None:
        if not self._connected and self.count_publishers(self._topic):
            self._connected = True
            self.get_logger().info(f"recording {self._topic}")

    def _is_idle(self, idle_s: float) -> bool:
        return bool(idle_s and self._written and time.monotonic() - self._last_s > idle_s)


def _match_record(message: PlaceMatchArray) -> dict[str, Any]:
    return recognition_to_record(
        recognition_from_message(message),
        map_hash=message.map_hash,
        model_hash=message.model_hash,
        processing_ms=message.processing_ms,
        received_ns=time.time_ns(),
    )


def _filtered_record(message: FilteredPlace) -> dict[str, Any]:
    return {
        "stamp_ns": stamp_to_ns(message.header.stamp),
        "received_ns": time.time_ns(),
        "map_hash": message.map_hash,
        "model_hash": message.model_hash,
        "filtered": filtered_from_message(message),
    }


def _pose_record(message: PoseWithCovarianceStamped) -> dict[str, Any]:
    header, pose = message.header, pose_from_message(message.pose.pose)
    covariance = [float(value) for value in message.pose.covariance]
    return pose_to_record(pose, covariance, stamp_to_ns(header.stamp), header.frame_id, received_ns=time.time_ns())


def _open(path: str) -> TextIO:
    if not path:
        raise InputError("no file is given: set the parameter out to the file to write")
    try:
        return Path(path).expanduser().open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
