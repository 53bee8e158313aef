"""Writes what a localizer publishes to a file, one line a message."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TextIO

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from vpr_core.errors import InputError
from vpr_core.retrieval.records import recognition_to_record
from vpr_distill_ros.conversions import recognition_from_message
from vpr_distill_ros.interfaces import PlaceMatchArray
from vpr_distill_ros.parameters import declare_rows, number, text
from vpr_distill_ros.process import logger

_POLL_S = 0.2


class MatchRecorder(Node):
    """One line of JSON, in the layout of `vpr_core.retrieval.records`, for every PlaceMatchArray."""

    def __init__(self) -> None:
        super().__init__("match_recorder")
        idle = number("end when so long [s] after a message none has come; 0.0: never", 0.0, 3600.0, read_only=True)
        declare_rows(self, [
            ("topic", "/localizer/matches", text("matches of a localizer", read_only=True)),
            ("out", "", text("file to write; one that is there is replaced", read_only=True)),
            ("idle_s", 0.0, idle),
        ])  # fmt: skip
        self._written = 0
        self._last_s = time.monotonic()
        self._file = _open(self.get_parameter("out").value)
        self._topic = self.get_parameter("topic").value
        self._connected = False
        self.create_subscription(PlaceMatchArray, self._topic, self._write, QoSProfile(depth=100))

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
            self._file.close()
            logger(self).info(f"{self._written} matches written to {self._file.name}")

    def _tell_when_connected(self) -> None:
        if not self._connected and self.count_publishers(self._topic):
            self._connected = True
            self.get_logger().info(f"recording {self._topic}")

    def _is_idle(self, idle_s: float) -> bool:
        return bool(idle_s and self._written and time.monotonic() - self._last_s > idle_s)

    def _write(self, message: PlaceMatchArray) -> None:
        record = recognition_to_record(
            recognition_from_message(message),
            map_hash=message.map_hash,
            model_hash=message.model_hash,
            processing_ms=message.processing_ms,
            received_ns=time.time_ns(),
        )
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        self._written += 1
        self._last_s = time.monotonic()


def _open(path: str) -> TextIO:
    if not path:
        raise InputError("no file is given: set the parameter out to the file to write")
    try:
        return Path(path).expanduser().open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
