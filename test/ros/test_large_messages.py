"""The shipped DDS profile: large best-effort images arrive between processes of one machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vpr_core.data.frames import Frames

PROFILE = Path(__file__).parents[2] / "config" / "dds" / "localhost_large_messages.xml"
VARIABLE = (
    "FASTRTPS_DEFAULT_PROFILES_FILE" if os.environ.get("ROS_DISTRO") == "humble" else "FASTDDS_DEFAULT_PROFILES_FILE"
)
COUNT = 20
PERIOD_NS = 200_000_000
MIN_BYTES = 3_000_000


def write_bag(folder: Path, topic: str, frames: Path) -> int:
    """A bag of COUNT uncompressed images of 3 MB or more; returns the size of one."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    image, header, time = (
        types.types[name] for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    drive = Frames.load(frames)
    width, height = drive.image_size
    scale = int(np.ceil(np.sqrt(MIN_BYTES / (3 * width * height))))
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, image.__msgtype__, typestore=types)
        for index in range(COUNT):
            rgb = cv2.resize(drive.image(index % len(drive)), None, fx=scale, fy=scale)
            rows, columns = rgb.shape[:2]
            sec, nanosec = divmod(index * PERIOD_NS, 10**9)
            stamped = header(time(1_700_000_000 + sec, nanosec), "camera_optical")
            message = image(stamped, rows, columns, "rgb8", 0, 3 * columns, rgb.reshape(-1))
            writer.write(connection, index * PERIOD_NS, types.serialize_cdr(message, image.__msgtype__))
    return int(rgb.nbytes)


def test_large_images_arrive(
    start: Callable[..., Any], namespace: str, bundle: Path, place_map: Path, frames: Path, tmp_path: Path
) -> None:
    topic, out = f"{namespace}/image", tmp_path / "matches.jsonl"
    assert write_bag(tmp_path / "bag", topic, frames) >= MIN_BYTES
    environment = {VARIABLE: str(PROFILE)}
    given = {"bundle": bundle, "map": place_map, "image_topic": topic, "image_transport": "raw"}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    localizer = start("localizer", "--ros-args", "-r", f"__ns:={namespace}", *words, env=environment)
    recorder = start(
        "match_recorder", "--ros-args", "-p", f"out:={out}", "-p", f"topic:={namespace}/localizer/matches",
        "-p", "idle_s:=3.0", env=environment,
    )  # fmt: skip
    localizer.says("active")
    replay = start("bag_replay", "--ros-args", "-p", f"bag:={tmp_path / 'bag'}", env=environment)
    assert replay.ends() == 0 and recorder.ends() == 0, replay.output + recorder.output
    stamps = [json.loads(line)["stamp_ns"] for line in out.read_text().splitlines()]
    assert len(set(stamps)) >= 0.9 * COUNT, (stamps, localizer.output)
    assert "XMLPARSER" not in localizer.output + replay.output + recorder.output
