"""Reading recorded drives: rosbag2 folders, bare .mcap and .db3 files and ROS 1 bags, without a ROS installation."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from vpr_core.errors import BagError

# What the storage libraries raise on a file that was cut off or overwritten.
_DAMAGE = (AnyReaderError, AssertionError, EOFError, KeyError, IndexError, UnicodeDecodeError, ValueError, struct.error)


@dataclass(frozen=True)
class RawMessage:
    """One message as it lies in the bag."""

    topic: str
    msgtype: str
    log_ns: int
    """When it was recorded; its header stamp may differ."""
    data: bytes
    """CDR in a ROS 2 bag, ROS 1 serialisation in a ROS 1 bag."""


class BagReader:
    """A bag opened for reading, used as a context manager.

    Raises `BagError` where the path is absent, is no bag, or was cut off.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f"no bag at {self.path}: expected a rosbag2 folder, a .mcap, a .db3 or a .bag file")
        if self.path.is_dir() and not (self.path / "metadata.yaml").is_file():
            raise BagError(f"{self.path} is no bag: it has no metadata.yaml; `ros2 bag reindex` writes a lost one")
        self._reader: AnyReader | None = None

    def __enter__(self) -> BagReader:
        try:
            # Bags written before Iron carry no message definitions; Humble's are the stable common ones.
            self._reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            self._reader.open()
        except Exception as error:  # the storage libraries raise whatever a damaged file leads them into
            raise self._damaged(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_reader.close()
        self._reader = None

    @property
    def _open_reader(self) -> AnyReader:
        assert self._reader is not None, "use BagReader as a context manager"
        return self._reader

    @property
    def topics(self) -> dict[str, str]:
        """Message type by topic, e.g. {"/camera/image/compressed": "sensor_msgs/msg/CompressedImage"}."""
        return {connection.topic: connection.msgtype for connection in self._open_reader.connections}

    @property
    def is_ros2(self) -> bool:
        return bool(self._open_reader.is2)

    @property
    def message_count(self) -> int:
        return self._open_reader.message_count

    @property
    def duration_s(self) -> float:
        return self._open_reader.duration / 1e9 if self.message_count else 0.0

    def count(self, topics: Iterable[str]) -> int:
        """Number of messages on these topics."""
        return sum(connection.msgcount for connection in self._connections(topics))

    def require(self, topic: str, msgtypes: Iterable[str]) -> str:
        """The type of `topic`, which must be one of `msgtypes`; raises BagError naming what the bag holds instead."""
        known = self.topics
        if topic not in known:
            listing = ", ".join(f"{name} ({kind})" for name, kind in sorted(known.items())) or "no topics"
            raise BagError(f"{self.path} has no topic {topic}; it holds {listing}")
        if known[topic] not in set(msgtypes):
            raise BagError(f"{topic} in {self.path} is {known[topic]}, expected {' or '.join(sorted(msgtypes))}")
        return known[topic]

    def raw_messages(self, topics: Iterable[str] | None = None) -> Iterator[RawMessage]:
        """Messages in the order of their log time, still serialised; all topics where none are named."""
        connections = self._connections(topics) if topics is not None else self._open_reader.connections
        if not connections:
            return
        try:
            for connection, log_ns, data in self._open_reader.messages(connections=connections):
                yield RawMessage(connection.topic, connection.msgtype, log_ns, data)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def decode(self, message: RawMessage) -> Any:
        """The message as an object with ROS's field names; raises BagError where its bytes do not fit its type."""
        try:
            return self._open_reader.deserialize(message.data, message.msgtype)
        except _DAMAGE as error:
            raise BagError(
                f"{self.path}: a {message.msgtype} on {message.topic} cannot be decoded ({error})"
            ) from error

    def _connections(self, topics: Iterable[str]) -> list[Connection]:
        wanted = set(topics)
        return [connection for connection in self._open_reader.connections if connection.topic in wanted]

    def _damaged(self, error: BaseException) -> BagError:
        detail = str(error) or type(error).__name__
        return BagError(
            f"{self.path} cannot be read as a bag ({detail}). If the recording was cut off, "
            "`mcap recover` or `ros2 bag reindex` may bring back what was written"
        )
