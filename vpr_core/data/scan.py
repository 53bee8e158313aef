"""The first pass over a bag: header stamps of images, clouds and labels, and every pose."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpr_core.data.bag import BagReader, RawMessage
from vpr_core.data.pose_source import PoseSource, pose_source
from vpr_core.data.poses import MAX_SPEED_MPS, Track
from vpr_core.data.stamps import StampOrder
from vpr_core.data.topics import POSE_TYPES, STAMPED_POSE_TYPES, TF_TYPES, Topics, accepts
from vpr_core.errors import BagError
from vpr_core.geodesy import GeoPoint

_A = {"image": "an image", "cloud": "a cloud", "label": "a label image"}
Progress = Callable[[str, int], Any]
"""Called with the name of the pass and its number of messages; returns an object with update(n) and close()."""


@dataclass
class Scan:
    """What the first pass learned."""

    stamps_ns: dict[str, np.ndarray]
    """Sorted header stamps of "image", "cloud" and "label", as far as there are such topics."""
    track: Track | None = None
    map_frame: str = ""
    base_frame: str = ""
    """The frame whose poses the track has; empty where that is not known."""
    poses: dict[str, Any] | None = None
    """How the poses came about, for card.json."""
    drops: Counter[str] = field(default_factory=Counter)
    irregular: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    """Usable ones by topic."""
    ends_ns: dict[str, int] = field(default_factory=dict)
    """Log time of the last message by topic."""
    begin_ns: int = 0
    """Log time of the first message."""


def scan(
    reader: BagReader,
    topics: Topics,
    progress: Progress | None = None,
    max_speed_mps: float = MAX_SPEED_MPS,
    gnss_origin: GeoPoint | None = None,
) -> Scan:
    """Raises BagError where the bag is damaged or its transforms do not join."""
    found = Scan({})
    sensors = {topic: _SensorStamps(what, StampOrder(topic, found.drops, found.irregular))
               for what, topic in topics.sensors.items()}  # fmt: skip
    pose_types = _pose_types(reader, topics)
    poses: PoseSource | None = None
    if topics.pose:
        poses = pose_source(topics, pose_types[0], found.drops, found.irregular, max_speed_mps, gnss_origin)
    for message in tracked(reader, [*sensors, *topics.pose_topics], "scan", progress):
        found.begin_ns = found.begin_ns or message.log_ns
        found.ends_ns[message.topic] = message.log_ns
        try:
            if message.topic in sensors:
                sensors[message.topic].take(reader, message)
            elif message.msgtype not in pose_types:
                found.drops[f"{message.topic}: is {message.msgtype} here, expected poses"] += 1
            elif poses:
                poses.take(message.topic, reader.decode(message))
        except (struct.error, IndexError, BagError):
            found.drops[f"{message.topic}: message cannot be decoded"] += 1
    for topic, sensor in sensors.items():
        found.stamps_ns[sensor.what] = np.array(sorted(sensor.stamps_ns), np.int64)
        found.messages[topic] = len(sensor.stamps_ns)
    if poses:
        found.track, found.map_frame, found.poses = poses.track(), poses.map_frame, poses.card
        found.base_frame = poses.base_frame
        found.messages.update({topic: reader.count([topic]) for topic in topics.pose_topics})
    return found


def _pose_types(reader: BagReader, topics: Topics) -> tuple[str, ...]:
    """What messages of the pose topics have to be."""
    if topics.transform:
        return TF_TYPES
    if topics.anchored:
        return STAMPED_POSE_TYPES
    return (reader.require(topics.pose, POSE_TYPES),) if topics.pose else ()


class _SensorStamps:
    """The stamps of images, clouds or labels."""

    def __init__(self, what: str, order: StampOrder) -> None:
        self.what, self._order = what, order
        self.stamps_ns: list[int] = []

    def take(self, reader: BagReader, message: RawMessage) -> None:
        if not accepts(self.what, message.msgtype):
            self._order.drops[f"{message.topic}: is {message.msgtype} here, expected {_A[self.what]}"] += 1
        elif self._order.accept(stamp_ns := reader.stamp_ns(message)):
            self.stamps_ns.append(stamp_ns)


def tracked(
    reader: BagReader, topics: Iterable[str], name: str, progress: Progress | None, start_ns: int | None = None
) -> Iterator[RawMessage]:
    """The messages of these topics, with progress shown."""
    topics = list(topics)
    bar = progress(name, reader.count(topics)) if progress else None
    try:
        for message in reader.raw_messages(topics, start_ns):
            yield message
            if bar:
                bar.update(1)
    finally:
        if bar:
            bar.close()
