"""Keeps the last seconds of a drive in memory, and writes them to a bag when a localizer refuses what it sees.

`vpr-distill hard-pairs` makes such bags into training pairs. rosbag2's own snapshot mode (record.launch.py) keeps by
size and writes when it is told to; this one knows why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_srvs.srv import Trigger

from vpr_core.data.bag import RawMessage
from vpr_core.data.bag_writer import BagWriter, is_common
from vpr_core.data.recent_messages import LATCHED, RecentMessages
from vpr_core.errors import InputError
from vpr_core.types import Reason
from vpr_distill_ros.interfaces import PlaceMatchArray
from vpr_distill_ros.loading import one_line
from vpr_distill_ros.message_types import definitions, message_class
from vpr_distill_ros.parameters import count, declare_rows, number, text, topic_of
from vpr_distill_ros.process import logger
from vpr_distill_ros.worker import LatestWorker

_MATCHES = "vpr_distill_msgs/msg/PlaceMatchArray"
_MIB = 1024 * 1024
_GRAPH_PERIOD_S, _LOOK_PERIOD_S = 0.5, 0.1
_ALONE_AFTER_S = 10.0
# Of what a localizer sends, that which tells where it believes to be.
_BELIEVED = ("pose", "filtered")
# Which every node reads.
_OF_ROS = ("/clock", "/parameter_events", "/rosout")
REFUSALS = tuple(reason.name.lower() for reason in Reason if reason not in (Reason.ACCEPTED, Reason.NOT_BEST))
# That an image came late says nothing of the place.
_KEPT = [reason for reason in REFUSALS if reason != Reason.STALE.name.lower()]
_ROWS = [
    ("out", "", text("folder that bags are written to, one each", read_only=True)),
    ("matches_topic", "localizer/matches",
     text("matches of the localizer; kept with what it reads, its pose and its filter's answers", read_only=True)),
    ("topics", ["/camera/image/compressed", "/camera/camera_info", "/lidar/points", "/odom", "/tf", "/tf_static"],
     text("what is kept besides; a topic that nobody sends costs nothing", read_only=True)),
    ("reasons", _KEPT, text(f"refusals that are kept: {', '.join(REFUSALS)}", read_only=True)),
    ("refused_needed", 3, count("so many answers in a row have to be refused", 1, 1000)),
    ("before_s", 10.0, number("how much of the time before the refusal a bag holds [s]", 0.1, 600.0, read_only=True)),
    ("after_s", 5.0, number("how much of the time after it [s]", 0.0, 600.0, read_only=True)),
    ("pause_s", 60.0, number("between two bags [s]", 0.0, 86400.0)),
    ("memory_mib", 512, count("what is kept in memory at most [MiB]", 1, 1_000_000)),
    ("disk_mib", 8192, count("what all bags in out may hold together [MiB]; then none is written", 1, 100_000_000)),
]  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """What is to be written."""

    path: Path
    messages: list[RawMessage]


class SnapshotRecorder(Node):
    """One bag for each time that a localizer refuses several answers in a row."""

    def __init__(self) -> None:
        super().__init__("snapshot_recorder")
        declare_rows(self, _ROWS)
        self._out = self._folder()
        self._reasons = self._read_reasons()
        self._matches_topic = topic_of(self, "matches_topic", self._value("matches_topic"))
        wanted = {topic_of(self, "topics", topic) for topic in self._value("topics") if topic}
        self._wanted = wanted - {self._matches_topic}
        keep_s = float(self._value("before_s")) + float(self._value("after_s"))
        self._recent = RecentMessages(keep_s, self._value("memory_mib") * _MIB)
        self._kinds: dict[str, str] = {}
        self._not_kept: set[str] = set()
        self._alone_from_s: float | None = time.monotonic() + _ALONE_AFTER_S
        self._refused = self.written = 0
        self._begun: set[Path] = set()
        self._pushed_out = 0
        self._due: tuple[float, str] | None = None
        self._ended_s = -float("inf")
        self._worker = LatestWorker(self._write_safely, name="snapshot")
        self._keep(self._matches_topic, _MATCHES, PlaceMatchArray)
        self.create_service(Trigger, "~/snapshot", self._on_snapshot)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_GRAPH_PERIOD_S, self._look_at_graph, clock=steady)
        self.create_timer(_LOOK_PERIOD_S, self._look_at_time, clock=steady)

    def close(self) -> None:
        """Write what waits and what is due, and end."""
        due = self._due and self._snapshot(self._due[1])
        self._worker.stop(finish=True)
        if due:
            self._write_safely(due)
        logger(self).info(f"{self.written} snapshots written to {self._out}")

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _folder(self) -> Path:
        if not self._value("out"):
            raise InputError("no folder is given: set the parameter out to the folder that bags are written to")
        out = Path(self._value("out")).expanduser()
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out} cannot be written: {error.strerror}") from error
        return out

    def _read_reasons(self) -> frozenset[str]:
        given = frozenset(self._value("reasons"))
        if unknown := sorted(given - set(REFUSALS)):
            raise InputError(f"reasons: {', '.join(unknown)} is no refusal; expected some of {', '.join(REFUSALS)}")
        return given

    # Topics

    def _look_at_graph(self) -> None:
        """Subscribe to what has come up since the last look: what is named, and what the localizer reads and tells."""
        self._look_at_localizers()
        for topic in sorted(self._wanted - self._not_kept - set(self._kinds)):
            for info in self.get_publishers_info_by_topic(topic)[:1]:
                self._subscribe(topic, info.topic_type)

    def _look_at_localizers(self) -> None:
        senders = self.get_publishers_info_by_topic(self._matches_topic)
        if senders:
            self._alone_from_s = None
        elif self._alone_from_s is not None and time.monotonic() > self._alone_from_s:
            self._alone_from_s = None
            self.get_logger().warning(
                f"nobody sends {self._matches_topic}: no bag is written before a localizer does; set matches_topic to "
                "its ~/matches"
            )
        for sender in senders:
            name = sender.node_name, sender.node_namespace
            try:
                read = {topic for topic, _ in self.get_subscriber_names_and_types_by_node(*name)}
            except NodeNameNonExistentError:  # not discovered yet, or gone
                continue
            beside = self._matches_topic.rsplit("/", 1)[0]
            self._wanted |= read.difference(_OF_ROS) | {f"{beside}/{topic}" for topic in _BELIEVED}

    def _subscribe(self, topic: str, kind: str) -> None:
        try:
            self._keep(topic, kind, message_class(kind))
        except InputError as error:
            self._not_kept.add(topic)
            self.get_logger().warning(f"{topic} is not kept: {error}")

    def _keep(self, topic: str, kind: str, message_type: Any) -> None:
        latched, is_matches = topic in LATCHED, topic == self._matches_topic
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=100,
            reliability=ReliabilityPolicy.RELIABLE if latched or is_matches else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._kinds[topic] = kind
        self.create_subscription(message_type, topic, lambda data: self._take(topic, data), qos, raw=True)
        self.get_logger().info(f"keeping {topic}")

    def _take(self, topic: str, data: bytes) -> None:
        kind = self._kinds[topic]
        what = _children(deserialize_message(data, message_class(kind))) if topic in LATCHED else ""
        self._recent.add(RawMessage(topic, kind, self.get_clock().now().nanoseconds, bytes(data)), what)
        if topic == self._matches_topic:
            self._judge(deserialize_message(data, PlaceMatchArray))

    # Refusals

    def _judge(self, answer: Any) -> None:
        """Count refusals in a row, and let a bag become due."""
        reason = Reason(answer.matches[0].reason).name.lower() if answer.matches and not answer.accepted else ""
        self._refused = self._refused + 1 if reason in self._reasons else 0
        rested = time.monotonic() - self._ended_s >= float(self._value("pause_s"))
        if self._due is None and rested and self._refused >= self._value("refused_needed"):
            self._due = time.monotonic() + float(self._value("after_s")), reason

    def _look_at_time(self) -> None:
        if self._due is not None and time.monotonic() >= self._due[0]:
            self._begin(self._due[1])

    def _on_snapshot(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Write what is kept now, whatever was refused."""
        if not len(self._recent):
            response.message = "nothing is kept: none of the topics has sent anything"
            return response
        if self._worker.is_waiting:
            response.message = "two snapshots are being written: ask again later"
            return response
        response.message = str(self._begin("asked_for"))
        response.success = True
        return response

    def _begin(self, reason: str) -> Path:
        """Hand what is kept to the thread that writes; the path of the bag."""
        snapshot = self._snapshot(reason)
        if self._worker.submit(snapshot):
            logger(self).warning("a snapshot was given up: the one before it was still being written")
        return snapshot.path

    def _snapshot(self, reason: str) -> Snapshot:
        """What is kept now; nothing is due any more."""
        self._due, self._refused, self._ended_s = None, 0, time.monotonic()
        moment = datetime.fromtimestamp(self.get_clock().now().nanoseconds / 1e9, timezone.utc)
        name, number = f"{moment:%Y%m%dT%H%M%S}_{reason}", 1
        path = self._out / name
        while path.exists() or path in self._begun:
            number += 1
            path = self._out / f"{name}_{number}"
        self._begun.add(path)
        return Snapshot(path, self._recent.taken())

    # Writing

    def _write_safely(self, snapshot: Snapshot) -> None:
        try:
            self._write(snapshot)
        except Exception as error:  # the thread must outlive a bag that cannot be written
            logger(self).error(f"no snapshot: {one_line(error)}")

    def _write(self, snapshot: Snapshot) -> None:
        held = sum(path.stat().st_size for path in self._out.rglob("*") if path.is_file())
        size = sum(len(message.data) for message in snapshot.messages)
        if held + size > self._value("disk_mib") * _MIB:
            raise InputError(
                f"{self._out} holds {held // _MIB} MiB, and {size // _MIB + 1} more are above disk_mib "
                f"{self._value('disk_mib')}: move bags away, or raise it"
            )
        own = {kind for kind in list(self._kinds.values()) if not is_common(kind)}
        texts = {name: words for kind in sorted(own) for name, words in definitions(kind).items()}
        with BagWriter(snapshot.path, definitions=texts) as bag:
            for message in snapshot.messages:
                bag.raw(message.topic, message.msgtype, message.data, message.log_ns)
        self.written += 1
        pushed_out, self._pushed_out = self._recent.pushed_out - self._pushed_out, self._recent.pushed_out
        lost = f", {pushed_out} older ones since the last bag did not fit memory_mib" if pushed_out else ""
        logger(self).info(f"{snapshot.path}: {len(snapshot.messages)} messages, {size / _MIB:.1f} MiB{lost}")


def _children(message: Any) -> str:
    """The frames that transforms tell of: sent again and again, they tell the same."""
    return " ".join(sorted(transform.child_frame_id for transform in message.transforms))
