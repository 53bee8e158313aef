"""Header stamps inside serialised messages moved in time, for a bag that is replayed again and again."""

from __future__ import annotations

import functools
import importlib
import re
import struct
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message

from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

_HEADER = "std_msgs/Header"
_MESSAGE = re.compile(r"(\w+)/(\w+)")
# CDR: four bytes that tell the byte order, then the first field, here int32 seconds and uint32 nanoseconds.
_STAMP_AT = 4


def message_class(msgtype: str) -> type | None:
    """The class of e.g. "sensor_msgs/msg/Image"; None where its package is not installed or lacks it."""
    package, _, name = msgtype.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def shift(data: bytes, message_type: Any, offset_ns: int) -> bytes:
    """The message with every header stamp later by `offset_ns`; a stamp of zero, which means none, is left."""
    if not offset_ns or not _holds_header(message_type):
        return data
    if _only_header_comes_first(message_type):
        return _patched(data, offset_ns)
    message = deserialize_message(data, message_type)
    _move(message, offset_ns)
    return serialize_message(message)


def _patched(data: bytes, offset_ns: int) -> bytes:
    layout = ("<" if data[1] & 1 else ">") + "iI"
    seconds, nanoseconds = struct.unpack_from(layout, data, _STAMP_AT)
    stamp_ns = seconds * 1_000_000_000 + nanoseconds
    if not stamp_ns:
        return data
    patched = bytearray(data)
    struct.pack_into(layout, patched, _STAMP_AT, *divmod(stamp_ns + offset_ns, 1_000_000_000))
    return bytes(patched)


def _move(message: Any, offset_ns: int) -> None:
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if kind == _HEADER:
            stamp_ns = stamp_to_ns(value.stamp)
            if stamp_ns:
                value.stamp = ns_to_stamp(stamp_ns + offset_ns)
        elif _kind_holds_header(kind):
            for part in [value] if hasattr(value, "get_fields_and_field_types") else value:
                _move(part, offset_ns)


@functools.cache
def _only_header_comes_first(message_type: Any) -> bool:
    """Whether the one header of a type stands at its beginning, where its stamp is found without reading the rest."""
    first, *others = message_type.get_fields_and_field_types().values()
    return first == _HEADER and not any(_kind_holds_header(kind) for kind in others)


@functools.cache
def _holds_header(message_type: Any) -> bool:
    return any(_kind_holds_header(kind) for kind in message_type.get_fields_and_field_types().values())


@functools.cache
def _kind_holds_header(kind: str) -> bool:
    """kind: of a field, e.g. "double", "std_msgs/Header", "sequence<geometry_msgs/TransformStamped>"."""
    found = _MESSAGE.search(kind)
    if kind == _HEADER or found is None:
        return kind == _HEADER
    message_type = message_class(f"{found[1]}/msg/{found[2]}")
    return message_type is not None and _holds_header(message_type)
