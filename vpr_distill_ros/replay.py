"""A bag published with its timing, once or round after round."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock

from vpr_core.data.bag import BagReader, RawMessage
from vpr_core.errors import BagError
from vpr_distill_ros.progress import Progress
from vpr_distill_ros.stamp_shift import message_class, shift
from vpr_distill_ros.stamps import ns_to_stamp

if TYPE_CHECKING:
    from vpr_distill_ros.bag_replay_node import BagReplay

_CLOCK_PERIOD_S = 0.025
_PROGRESS_PERIOD_S = 5.0
_POLL_S = 0.05
# Discovery goes two ways: what a subscriber that does not know the replay yet is sent as best effort is lost.
_SETTLED_S = 1.0
_LATCHED = ("/tf_static",)
# Between two rounds: longer than header stamps lie before the time of recording, so that none goes back.
_GAP_NS = 1_000_000_000


class Replay:
    """Publishes every message of a bag whose type is installed here, as the bytes that were recorded.

    In further rounds header stamps and /clock go on where the round before ended, and everything else is the same.
    """

    def __init__(self, node: BagReplay) -> None:
        self._node = node
        self._rate = float(node.value("rate"))
        self._types: dict[str, tuple[str, Any]] = {}
        self._publishers: dict[str, Any] = {}
        self._clock_sent_s = 0.0
        self._clock_publisher = node.create_publisher(Clock, "/clock", 10) if node.value("publish_clock") else None
        self._progress = Progress(node, "replay")
        self._pace: _Pace | None = None
        self._sent = 0

    def run(self) -> None:
        """Publish the whole bag; raises BagError where it cannot be read, also in its middle."""
        path = self._node.value("bag")
        if not path:
            raise BagError("no bag is given: set the parameter bag to a rosbag2 folder, a .mcap or a .db3 file")
        with BagReader(path) as reader:
            if not reader.is_ros2:
                raise BagError(f"{path} is a ROS 1 bag: convert it with `rosbags-convert --src {path} --dst FOLDER`")
            self._announce(reader.topics)
            self._wait_for_subscribers()
            self._play(reader)

    def _announce(self, topics: dict[str, str]) -> None:
        for topic, msgtype in sorted(topics.items()):
            message_type = message_class(msgtype)
            if message_type is None:
                self._node.get_logger().warning(f"{topic} is skipped: its type {msgtype} is not installed here")
                continue
            if topic == "/clock" and self._clock_publisher is not None:
                self._node.get_logger().info("/clock of the bag is skipped: publish_clock gives the replay's")
                continue
            qos = QoSProfile(depth=10)
            if topic in _LATCHED:
                qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._types[topic] = (msgtype, message_type)
            self._publishers[topic] = self._node.create_publisher(message_type, topic, qos)

    def _wait_for_subscribers(self) -> None:
        """Until the topics have those that are asked for, and each of them knows of the replay."""
        limit_s, expected = float(self._node.value("wait_for_subscribers_s")), int(self._node.value("subscribers"))
        began_s = settled_s = time.monotonic()
        before = 0
        while (now_s := time.monotonic()) < began_s + limit_s:
            found = sum(publisher.get_subscription_count() for publisher in self._publishers.values())
            if found != before:
                before, settled_s = found, now_s
            if found >= expected and now_s >= settled_s + _SETTLED_S:
                return
            self._node.spin_for(_POLL_S)
        if before < expected and limit_s:
            who = "nobody subscribed" if not before else f"{before} of {expected} subscribers came"
            self._node.get_logger().warning(f"{who} within {limit_s:g} s: replaying all the same")

    def _play(self, reader: BagReader) -> None:
        first = next(reader.raw_messages(), None)
        if first is None:
            self._node.get_logger().warning(f"{reader.path} holds no messages")
            return
        begin_ns = first.log_ns + round(float(self._node.value("start_offset_s")) * 1e9)
        self._publish_latched(reader, begin_ns)
        offset_ns = 0
        for number in itertools.count(1):
            end_ns = self._play_round(reader, begin_ns, offset_ns)
            if not self._node.value("loop"):
                return
            offset_ns += end_ns - begin_ns + _GAP_NS
            self._node.get_logger().info(f"round {number + 1} begins, stamps moved forward by {offset_ns / 1e9:.1f} s")

    def _publish_latched(self, reader: BagReader, before_ns: int) -> None:
        """What holds for the whole drive was recorded at its beginning, where the replay may not begin."""
        for message in reader.raw_messages([topic for topic in _LATCHED if topic in self._publishers]):
            if message.log_ns >= before_ns:
                return
            self._publish(message, 0)

    def _play_round(self, reader: BagReader, begin_ns: int, offset_ns: int) -> int:
        """Publish the bag from `begin_ns` on, later by `offset_ns`; the log time of its last message."""
        total = reader.count(self._publishers)
        end_ns, told_s, began_s, self._sent = 0, time.monotonic(), time.monotonic(), 0
        for message in reader.raw_messages(self._publishers, start_ns=begin_ns):
            end_ns = message.log_ns
            if offset_ns and message.topic in _LATCHED:
                continue
            due_ns = message.log_ns + offset_ns
            self._pace = self._pace or _Pace(due_ns, self._rate)
            self._wait_until(due_ns, self._pace)
            self._publish(message, offset_ns)
            self._progress.tell("replaying", {"messages": self._sent, "total": total}, self._sent / max(total, 1))
            if time.monotonic() - told_s > _PROGRESS_PERIOD_S:
                told_s = time.monotonic()
                self._node.get_logger().info(f"{self._sent} of {total} messages replayed")
        if not end_ns:
            raise BagError(f"{reader.path} has no message after start_offset_s: it lasts {reader.duration_s:.1f} s")
        if not self._node.value("loop"):
            self._flush()
        self._tell_end(reader.message_count - total, time.monotonic() - began_s)
        return end_ns

    def _tell_end(self, skipped: int, seconds: float) -> None:
        topics = len(self._publishers)
        self._node.get_logger().info(
            f"replayed {self._sent} messages on {topics} topics in {seconds:.1f} s, "
            f"skipped {skipped} of types not installed here"
        )
        self._progress.tell("replayed", {"messages": self._sent, "skipped": skipped}, 1.0, now=True)

    def _publish(self, message: RawMessage, offset_ns: int) -> None:
        msgtype, message_type = self._types[message.topic]
        if message.msgtype == msgtype:  # one node cannot offer a topic with two types
            self._publishers[message.topic].publish(shift(bytes(message.data), message_type, offset_ns))
            self._sent += 1

    def _wait_until(self, due_ns: int, pace: _Pace) -> None:
        """Publish /clock until that moment of the bag has come."""
        while True:
            self._publish_clock(min(pace.bag_time_ns(), due_ns))
            wait_s = pace.wait_s(due_ns)
            if wait_s <= 0:
                return
            self._node.spin_for(min(wait_s, _CLOCK_PERIOD_S))

    def _publish_clock(self, bag_time_ns: int) -> None:
        now_s = time.monotonic()
        if self._clock_publisher is not None and now_s - self._clock_sent_s >= _CLOCK_PERIOD_S:
            self._clock_publisher.publish(Clock(clock=ns_to_stamp(bag_time_ns)))
            self._clock_sent_s = now_s

    def _flush(self) -> None:
        """Reliable subscribers may still be fetching the last messages, and nothing comes after these."""
        for publisher in self._publishers.values():
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
