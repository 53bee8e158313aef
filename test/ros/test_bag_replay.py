"""bag_replay as a process: what it publishes, and how it ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from vpr_distill_ros.stamps import stamp_to_ns

COUNT = 60
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 20_000_000


def write_bag(
    folder: Path, images: str, with_unknown: bool = False, plugin: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """COUNT images of growing size; each stamp lies 5 ms before the log time."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    types.register(get_types_from_msg("string text", "made_up_msgs/msg/Gadget"))
    image, header, time = (
        types.types[name]
        for name in ("sensor_msgs/msg/CompressedImage", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        camera = writer.add_connection(images, image.__msgtype__, typestore=types)
        gadgets = [f"{images}/gadget_{n}" for n in range(2)] if with_unknown else []
        odd = [writer.add_connection(topic, "made_up_msgs/msg/Gadget", typestore=types) for topic in gadgets]
        for index in range(COUNT):
            log_ns = START_NS + index * PERIOD_NS
            sec, nanosec = divmod(log_ns - 5_000_000, 10**9)
            message = image(
                header(time(sec, nanosec), "camera_optical"), "jpeg", np.full(index + 1, index % 256, np.uint8)
            )
            writer.write(camera, log_ns, types.serialize_cdr(message, image.__msgtype__))
            for connection in odd:
                gadget = types.types["made_up_msgs/msg/Gadget"]("hello")
                writer.write(connection, log_ns, types.serialize_cdr(gadget, connection.msgtype))
    return folder


def parameters(**values: Any) -> list[str]:
    return ["--ros-args", *(word for name, value in values.items() for word in ("-p", f"{name}:={value}"))]


@pytest.mark.parametrize("plugin", StoragePlugin, ids=lambda plugin: plugin.name.lower())
def test_every_message_arrives_as_recorded(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path, plugin: StoragePlugin
) -> None:
    topic = f"{namespace}/image"
    bag = write_bag(tmp_path / "bag", topic, plugin=plugin)
    received = probe.collect(CompressedImage, topic)
    replay = start("bag_replay", *parameters(bag=bag, rate=2.0, publish_clock=False))
    assert replay.ends() == 0, replay.output
    assert f"replayed {COUNT} messages on 1 topics" in replay.output
    probe.until(lambda: len(received) >= COUNT, "every image")
    stamps = [stamp_to_ns(message.header.stamp) for message in received]
    assert stamps == [START_NS + index * PERIOD_NS - 5_000_000 for index in range(COUNT)]
    assert [len(message.data) for message in received] == list(range(1, COUNT + 1))
    assert {(message.header.frame_id, message.format) for message in received} == {("camera_optical", "jpeg")}


def test_a_sensor_subscriber_hears_it_too(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}/image"
    best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    received = probe.collect(CompressedImage, topic, best_effort)
    replay = start("bag_replay", *parameters(bag=write_bag(tmp_path / "bag", topic), publish_clock=False))
    assert replay.ends() == 0, replay.output
    probe.until(lambda: len(received) >= 0.9 * COUNT, "nine images of ten")


def test_clock_runs_through_the_time_of_the_bag(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}/image"
    probe.collect(CompressedImage, topic)
    clock = probe.collect(Clock, f"{namespace}/clock")
    bag = write_bag(tmp_path / "bag", topic)
    replay = start("bag_replay", *parameters(bag=bag, rate=1.0), "-r", f"/clock:={namespace}/clock")
    assert replay.ends() == 0, replay.output
    times_ns = [stamp_to_ns(message.clock) for message in clock]
    assert len(times_ns) > 10 and times_ns == sorted(times_ns)
    assert times_ns[0] >= START_NS and times_ns[-1] <= START_NS + (COUNT - 1) * PERIOD_NS


def test_types_that_are_not_installed_are_skipped_with_one_warning_each(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}/image"
    received = probe.collect(CompressedImage, topic)
    bag = write_bag(tmp_path / "bag", topic, with_unknown=True)
    replay = start("bag_replay", *parameters(bag=bag, rate=10.0))
    assert replay.ends() == 0, replay.output
    assert [replay.output.count(f"gadget_{n} is skipped") for n in range(2)] == [1, 1]
    assert f"skipped {2 * COUNT} of types not installed here" in replay.output
    probe.until(lambda: len(received) == COUNT, "every image")


def test_static_transforms_reach_those_who_come_later(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    """Any type serves: what counts is the topic's name."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        latched = writer.add_connection("/tf_static", "std_msgs/msg/String", typestore=types)
        later = writer.add_connection(f"{namespace}/later", "std_msgs/msg/String", typestore=types)
        text = types.types["std_msgs/msg/String"]
        for connection, log_ns in ((latched, START_NS), (later, START_NS + 10**12)):
            writer.write(connection, log_ns, types.serialize_cdr(text(connection.topic), connection.msgtype))
    heard = probe.collect(String, f"{namespace}/later")
    replay = start("bag_replay", *parameters(bag=tmp_path / "bag"), "-r", f"/tf_static:={namespace}/tf_static")
    probe_clock = probe.collect(Clock, "/clock")
    probe.until(lambda: probe_clock, "the replay to begin")
    latched_qos = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    late = probe.collect(String, f"{namespace}/tf_static", latched_qos)
    probe.until(lambda: late, "the static transform")
    assert late[0].data == "/tf_static" and not heard
    assert replay.signalled() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path, number: int
) -> None:
    topic = f"{namespace}/image"
    received = probe.collect(CompressedImage, topic)
    replay = start("bag_replay", *parameters(bag=write_bag(tmp_path / "bag", topic), rate=0.01))
    probe.until(lambda: received, "the first image")
    assert replay.signalled(number) == 0
    assert "Traceback" not in replay.output


@pytest.mark.parametrize("damage", ["absent", "cut off", "empty", "not given"])
def test_a_bag_that_cannot_be_read_gives_one_line(start: Callable[..., Any], tmp_path: Path, damage: str) -> None:
    bag = tmp_path / "bag"
    if damage == "cut off":
        (mcap,) = write_bag(tmp_path / "whole", "/image").glob("*.mcap")
        bag = tmp_path / "cut.mcap"
        bag.write_bytes(mcap.read_bytes()[: mcap.stat().st_size // 2])
    elif damage == "empty":
        bag.mkdir()
    replay = start("bag_replay", *([] if damage == "not given" else parameters(bag=bag)))
    assert replay.ends() == 1
    assert len(replay.output.strip().splitlines()) == 1, replay.output
    assert replay.output.startswith("error: ") and "bag" in replay.output


def test_rounds_go_on_in_time_with_the_same_pictures(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}/image"
    received = probe.collect(CompressedImage, topic)
    clock = probe.collect(Clock, f"{namespace}/clock")
    bag = write_bag(tmp_path / "bag", topic)
    replay = start("bag_replay", *parameters(bag=bag, rate=2, loop=True), "-r", f"/clock:={namespace}/clock")
    probe.until(lambda: len(received) >= 2 * COUNT + 10, "the third round")
    assert replay.signalled() == 0 and "Traceback" not in replay.output
    stamps = [stamp_to_ns(message.header.stamp) for message in received]
    assert stamps == sorted(set(stamps))
    moved_ns = (COUNT - 1) * PERIOD_NS + 1_000_000_000
    assert [later - stamp for stamp, later in zip(stamps, stamps[COUNT : 2 * COUNT], strict=False)] == [
        moved_ns
    ] * COUNT
    assert [message.data for message in received[:COUNT]] == [message.data for message in received[COUNT : 2 * COUNT]]
    times_ns = [stamp_to_ns(message.clock) for message in clock]
    assert times_ns == sorted(times_ns) and times_ns[-1] > START_NS + 2 * moved_ns - 100_000_000
    assert "round 2 begins, stamps moved forward by 2.2 s" in replay.output


def test_a_replay_may_begin_in_the_middle(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}/image"
    received = probe.collect(CompressedImage, topic)
    bag = write_bag(tmp_path / "bag", topic)
    replay = start("bag_replay", *parameters(bag=bag, start_offset_s=0.8, publish_clock=False))
    assert replay.ends() == 0, replay.output
    probe.until(lambda: len(received) >= COUNT - 40, "the images")
    assert stamp_to_ns(received[0].header.stamp) == START_NS + 40 * PERIOD_NS - 5_000_000
    late = start("bag_replay", *parameters(bag=bag, start_offset_s=2, publish_clock=False))
    assert late.ends() == 1
    assert "has no message after start_offset_s: it lasts 1.2 s" in late.output


def test_a_replay_waits_for_as_many_subscribers_as_it_is_told(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}/image"
    first = probe.collect(CompressedImage, topic)
    bag = write_bag(tmp_path / "bag", topic)
    values = {"bag": bag, "publish_clock": False, "subscribers": 2, "rate": 10.0}
    replay = start("bag_replay", *parameters(**values, wait_for_subscribers_s=600.0))
    time.sleep(3.0)
    assert not first
    second = probe.collect(CompressedImage, topic)
    assert replay.ends() == 0, replay.output
    probe.until(lambda: len(first) == len(second) == COUNT, "every image, twice")
    short = start("bag_replay", *parameters(**{**values, "subscribers": 3}, wait_for_subscribers_s=6.0))
    assert short.ends() == 0, short.output
    assert "2 of 3 subscribers came within 6 s: replaying all the same" in short.output


def test_a_mode_that_does_not_exist_is_named(start: Callable[..., Any]) -> None:
    process = start("bag_replay", *parameters(mode="rewind"))
    assert process.ends() == 1
    assert "mode 'rewind' is not supported: expected publish or frames or record_frames" in process.output
