"""`ros2 run vpr_distill_ros bag_replay`: publishes a recorded drive with its timing, without rosbag2."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock

from vpr_core.data.bag import BagReader, RawMessage
from vpr_core.errors import BagError
from vpr_distill_ros.parameters import number, text
from vpr_distill_ros.process import run
from vpr_distill_ros.stamps import ns_to_stamp

_CLOCK_PERIOD_S = 0.025
_PROGRESS_PERIOD_S = 5.0
_POLL_S = 0.05
_LATCHED = ("/tf_static",)


class BagReplay(Node):
    """Publishes every message of a bag whose type is installed here, as the bytes that were recorded."""

    def __init__(self) -> None:
        super().__init__("bag_replay")
        self.declare_parameter("bag", "", text("rosbag2 folder, .mcap or .db3 file to replay", read_only=True))
        self.declare_parameter(
            "rate", 1.0, number("speed: 1.0 as recorded, 2.0 twice as fast", 0.01, 1000.0, read_only=True)
        )
        self.declare_parameter("publish_clock", True, text("publish the bag's time on /clock", read_only=True))
        self.declare_parameter(
            "wait_for_subscribers_s",
            10.0,
            number("begin once a topic has a subscriber, at the latest after so long [s]", 0.0, 3600.0, read_only=True),
        )
        self._rate = self.get_parameter("rate").value
        self._publishers_by_topic: dict[str, Any] = {}
        self._clock_sent_s = 0.0
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10) if self._value("publish_clock") else None
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def replay(self) -> None:
        """Publish the whole bag; raises BagError where it cannot be read, also in its middle."""
        path = self._value("bag")
        if not path:
            raise BagError("no bag is given: set the parameter bag to a rosbag2 folder, a .mcap or a .db3 file")
        with BagReader(path) as reader:
            if not reader.is_ros2:
                raise BagError(f"{path} is a ROS 1 bag: convert it with `rosbags-convert --src {path} --dst FOLDER`")
            self._announce(reader.topics)
            self._wait_for_subscriber()
            self._play(reader)

    def _announce(self, topics: dict[str, str]) -> None:
        for topic, msgtype in sorted(topics.items()):
            message_type = _message_class(msgtype)
            if message_type is None:
                self.get_logger().warning(f"{topic} is skipped: its type {msgtype} is not installed here")
                continue
            qos = QoSProfile(depth=10)
            if topic in _LATCHED:
                qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._publishers_by_topic[topic] = self.create_publisher(message_type, topic, qos)

    def _wait_for_subscriber(self) -> None:
        limit_s = self._value("wait_for_subscribers_s")
        until_s = time.monotonic() + limit_s
        while not any(publisher.get_subscription_count() for publisher in self._publishers_by_topic.values()):
            if time.monotonic() >= until_s:
                if limit_s:
                    self.get_logger().warning(f"nobody subscribed within {limit_s:g} s: replaying all the same")
                return
            self._spin_for(_POLL_S)

    def _play(self, reader: BagReader) -> None:
        total = reader.count(self._publishers_by_topic)
        pace: _Pace | None = None
        sent = 0
        told_s = began_s = time.monotonic()
        for message in reader.raw_messages(self._publishers_by_topic):
            pace = pace or _Pace(message.log_ns, self._rate)
            self._wait_until_due(message, pace)
            self._publishers_by_topic[message.topic].publish(bytes(message.data))
            sent += 1
            if time.monotonic() - told_s > _PROGRESS_PERIOD_S:
                told_s = time.monotonic()
                self.get_logger().info(f"{sent} of {total} messages replayed")
        self._flush()
        skipped = reader.message_count - total
        topics, seconds = len(self._publishers_by_topic), time.monotonic() - began_s
        self.get_logger().info(
            f"replayed {sent} messages on {topics} topics in {seconds:.1f} s, "
            f"skipped {skipped} of types not installed here"
        )

    def _wait_until_due(self, message: RawMessage, pace: _Pace) -> None:
        """Publish /clock until the message's time has come."""
        while True:
            self._publish_clock(min(pace.bag_time_ns(), message.log_ns))
            wait_s = pace.wait_s(message.log_ns)
            if wait_s <= 0:
                return
            self._spin_for(min(wait_s, _CLOCK_PERIOD_S))

    def _publish_clock(self, bag_time_ns: int) -> None:
        now_s = time.monotonic()
        if self._clock_publisher is not None and now_s - self._clock_sent_s >= _CLOCK_PERIOD_S:
            self._clock_publisher.publish(Clock(clock=ns_to_stamp(bag_time_ns)))
            self._clock_sent_s = now_s

    def _spin_for(self, seconds: float) -> None:
        """Sleep, answering parameter services; raises ExternalShutdownException after a signal."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)
            if not rclpy.ok():
                raise ExternalShutdownException

    def _flush(self) -> None:
        """Reliable subscribers may still be fetching the last messages."""
        for publisher in self._publishers_by_topic.values():
            publisher.wait_for_all_acked(Duration(seconds=2.0))


class _Pace:
    """Which moment of the bag it is, and how long until another."""

    def __init__(self, first_ns: int, rate: float) -> None:
        self._first_ns = first_ns
        self._rate = rate
        self._began_s = time.monotonic()

    def bag_time_ns(self) -> int:
        return self._first_ns + int((time.monotonic() - self._began_s) * self._rate * 1e9)

    def wait_s(self, log_ns: int) -> float:
        return self._began_s + (log_ns - self._first_ns) / 1e9 / self._rate - time.monotonic()


def _message_class(msgtype: str) -> type | None:
    """The class of e.g. "sensor_msgs/msg/Image"; None where its package is not installed or lacks it."""
    package, _, name = msgtype.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def main(args: Sequence[str] | None = None) -> int:
    return run(lambda: BagReplay().replay(), args)


if __name__ == "__main__":
    sys.exit(main())
