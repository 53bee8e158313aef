"""Header stamps moved inside serialised messages."""

from __future__ import annotations

import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header, String
from visualization_msgs.msg import Marker, MarkerArray

from vpr_distill_ros.stamp_shift import message_class, shift
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns

STAMP_NS = 1_700_000_000_900_000_000
OFFSET_NS = 3_200_000_000


def header(stamp_ns: int = STAMP_NS) -> Header:
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id="somewhere")


@pytest.mark.parametrize("kind", [CompressedImage, Odometry])
def test_the_first_header_is_moved_and_nothing_else(kind: type) -> None:
    message = kind(header=header())
    if kind is CompressedImage:
        message.format = "jpeg"
        message.data.frombytes(bytes(range(256)))
    moved = deserialize_message(shift(serialize_message(message), kind, OFFSET_NS), kind)
    assert stamp_to_ns(moved.header.stamp) == STAMP_NS + OFFSET_NS
    moved.header.stamp = message.header.stamp
    assert moved == message


def test_headers_further_in_are_moved_too() -> None:
    """As tf2_msgs/TFMessage has them, or a path."""
    markers = MarkerArray(markers=[Marker(header=header(STAMP_NS + step), id=step) for step in range(3)])
    moved = deserialize_message(shift(serialize_message(markers), MarkerArray, OFFSET_NS), MarkerArray)
    assert [stamp_to_ns(marker.header.stamp) for marker in moved.markers] == [
        STAMP_NS + OFFSET_NS + step for step in range(3)
    ]
    assert [marker.id for marker in moved.markers] == [0, 1, 2]
    path = Path(header=header(), poses=[PoseStamped(header=header(STAMP_NS + 1))])
    moved_path = deserialize_message(shift(serialize_message(path), Path, OFFSET_NS), Path)
    stamps = [moved_path.header.stamp, moved_path.poses[0].header.stamp]
    assert [stamp_to_ns(stamp) for stamp in stamps] == [STAMP_NS + OFFSET_NS, STAMP_NS + OFFSET_NS + 1]


def test_no_stamp_stays_no_stamp() -> None:
    unstamped = serialize_message(CompressedImage(header=header(0)))
    assert shift(unstamped, CompressedImage, OFFSET_NS) == unstamped
    markers = serialize_message(MarkerArray(markers=[Marker(header=header(0))]))
    # Bytes between fields, which align them, are whatever was in memory.
    assert deserialize_message(shift(markers, MarkerArray, OFFSET_NS), MarkerArray) == deserialize_message(
        markers, MarkerArray
    )
    text = serialize_message(String(data="hello"))
    assert shift(text, String, OFFSET_NS) is text


def test_big_endian_messages_are_moved_in_their_order() -> None:
    little = serialize_message(CompressedImage(header=header(5_000_000_007)))
    big = b"\x00\x00" + little[2:4] + (5).to_bytes(4, "big") + (7).to_bytes(4, "big") + little[12:]
    moved = shift(big, CompressedImage, OFFSET_NS)
    assert moved[4:12] == (8).to_bytes(4, "big") + (200_000_007).to_bytes(4, "big") and moved[12:] == big[12:]


def test_without_an_offset_the_bytes_are_the_recorded_ones() -> None:
    data = b"whatever was recorded"
    assert shift(data, CompressedImage, 0) is data


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sensor_msgs/msg/CompressedImage", CompressedImage),
        ("sensor_msgs/msg/Absent", None),
        ("absent_msgs/msg/Image", None),
    ],
)
def test_classes_are_found_by_name(name: str, expected: type | None) -> None:
    assert message_class(name) is expected
