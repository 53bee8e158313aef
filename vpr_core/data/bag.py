"""Reading recorded drives: rosbag2 folders, bare .mcap and .db3 files and ROS 1 bags, without a ROS installation."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from vpr_core.errors import BagError

# The end of an MCAP holds its index, with counts and times of everything in between.
_FINGERPRINT_BYTES = 1 << 18


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
        """Message type by topic, e.g. {"/camera/image/compressed": "sensor_msgs/msg/CompressedImage"}; the first type
        where a topic was recorded with several."""
        return {topic: msgtypes[0] for topic, msgtypes in self.types.items()}

    @property
    def types(self) -> dict[str, list[str]]:
        """All message types by topic: more than one where publishers of two types met on a topic."""
        found: dict[str, list[str]] = {}
        for connection in self._open_reader.connections:
            if connection.msgtype not in (types := found.setdefault(connection.topic, [])):
                types.append(connection.msgtype)
        return found

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
        """The type of `topic` that is one of `msgtypes`; raises BagError naming what the bag holds instead."""
        known = self.types
        if topic not in known:
            listing = ", ".join(f"{name} ({' and '.join(kinds)})" for name, kinds in sorted(known.items()))
            raise BagError(f"{self.path} has no topic {topic}; it holds {listing or 'no topics'}")
        wanted = set(msgtypes)
        if not wanted & set(known[topic]):
            raise BagError(
                f"{topic} in {self.path} is {' and '.join(known[topic])}, expected {' or '.join(sorted(wanted))}"
            )
        return next(msgtype for msgtype in known[topic] if msgtype in wanted)

    def raw_messages(self, topics: Iterable[str] | None = None, start_ns: int | None = None) -> Iterator[RawMessage]:
        """Messages in the order of their log time, still serialised; all topics where none are named.

        start_ns: log time of the first one to give.
        """
        connections = self._connections(topics) if topics is not None else self._open_reader.connections
        if not connections:
            return
        try:
            for connection, log_ns, data in self._open_reader.messages(connections=connections, start=start_ns):
                yield RawMessage(connection.topic, connection.msgtype, log_ns, data)
        except Exception as error:  # as in __enter__; what the caller does with a message is not raised in here
            raise self._damaged(error) from error

    def decode(self, message: RawMessage) -> Any:
        """The message as an object with ROS's field names; raises BagError where its bytes do not fit its type."""
        try:
            return self._open_reader.deserialize(message.data, message.msgtype)
        except Exception as error:  # a message cut off leads the deserialiser into errors of many kinds
            raise BagError(
                f"{self.path}: a {message.msgtype} on {message.topic} cannot be decoded ({error})"
            ) from error

    def stamp_ns(self, message: RawMessage) -> int:
        """Header stamp of a message whose first field is a std_msgs/Header, read without decoding the rest.

        Raises struct.error or IndexError where the message is shorter than that.
        """
        return stamp_of(message.data) if self.is_ros2 else stamp_of_ros1(message.data)

    def _connections(self, topics: Iterable[str]) -> list[Connection]:
        wanted = set(topics)
        return [connection for connection in self._open_reader.connections if connection.topic in wanted]

    def _damaged(self, error: BaseException) -> BagError:
        detail = str(error) or type(error).__name__
        return BagError(
            f"{self.path} cannot be read as a bag ({detail}). If the recording was cut off, "
            "`mcap recover` or `ros2 bag reindex` may bring back what was written"
        )


def stamp_of(data: bytes) -> int:
    """Header stamp [ns] of a CDR message whose first field is a std_msgs/Header."""
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def stamp_of_ros1(data: bytes) -> int:
    """Header stamp [ns] of a ROS 1 message whose first field is a std_msgs/Header (its sequence number comes first)."""
    seconds, nanoseconds = struct.unpack_from("<II", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def bag_files(bag: Path) -> list[Path]:
    """The files that a bag consists of."""
    return sorted(path for path in bag.iterdir() if path.is_file()) if bag.is_dir() else [bag]


def bag_fingerprint(bag: Path) -> str:
    """Short hash by which a bag is known again wherever it lies: sizes, beginnings and ends of its files.

    Raises OSError where they cannot be read.
    """
    digest = hashlib.sha256()
    for path in bag_files(bag):
        size = path.stat().st_size
        digest.update(f"{path.name if bag.is_dir() else ''}:{size};".encode())
        with path.open("rb") as file:
            digest.update(file.read(_FINGERPRINT_BYTES))
            file.seek(max(size - _FINGERPRINT_BYTES, 0))
            digest.update(file.read())
    return digest.hexdigest()[:16]
