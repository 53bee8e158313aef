"""The shipped DDS profiles: large best-effort messages arrive between processes of one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vpr_core.data.frames import Frames

PROFILES = Path(__file__).parents[2] / "config" / "dds"
COUNT = 20
# Under Fast DDS's defaults none of such size arrives. Best effort: a busy machine may be late for any one of them,
# so that they are sent until so many have come.
ENOUGH = 10
PERIOD_NS = 200_000_000
MIN_BYTES = 3_000_000

LISTEN = """
import sys, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
rclpy.init()
node, sizes = rclpy.create_node("listener"), {}
keep = lambda message: sizes.update({message.header.stamp.sec: len(message.data)})
node.create_subscription(PointCloud2, sys.argv[1], keep, qos_profile_sensor_data)
while len(sizes) < int(sys.argv[2]):
    rclpy.spin_once(node)
print(set(sizes.values()))
"""
SPEAK = """
import array, itertools, sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
rclpy.init()
node = rclpy.create_node("speaker")
publisher = node.create_publisher(PointCloud2, sys.argv[1], qos_profile_sensor_data)
size = int(sys.argv[2])
cloud = PointCloud2(height=1, width=size // 32, point_step=32, row_step=size)
cloud.data = array.array("B", bytes(size))
while not publisher.get_subscription_count():
    rclpy.spin_once(node, timeout_sec=0.05)
for cloud.header.stamp.sec in itertools.count():
    if not publisher.get_subscription_count():
        break
    publisher.publish(cloud)
    time.sleep(0.1)
"""


def under(profile: Path) -> dict[str, str]:
    """The variable has the first name with Fast DDS 3, of Kilted, and the second before."""
    return dict.fromkeys(("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"), str(profile))


@pytest.mark.parametrize("profile", sorted(PROFILES.glob("*.xml")), ids=lambda path: path.stem)
def test_clouds_of_4_mb_arrive(profile: Path, ros_environment: None, namespace: str) -> None:
    environment = os.environ | under(profile)
    topic, size = f"{namespace}/points", 4_000_000
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    commands = ([LISTEN, topic, str(ENOUGH)], [SPEAK, topic, str(size)])
    listener, speaker = (subprocess.Popen([sys.executable, "-c", *words], **pipes) for words in commands)
    try:
        heard, said = listener.communicate(timeout=90)[0], speaker.communicate(timeout=90)[0]
    finally:
        for process in (listener, speaker):
            process.kill()
            process.wait()
    # Fast DDS reports what it does not understand of a profile, and falls back to its defaults.
    assert "XML" not in said + heard and speaker.returncode == listener.returncode == 0, said + heard
    assert heard.split()[-1] == f"{{{size}}}", heard


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
    start: Callable[..., Any], probe: Any, namespace: str, bundle: Path, place_map: Path, frames: Path, tmp_path: Path
) -> None:
    topic, out = f"{namespace}/image", tmp_path / "matches.jsonl"
    assert write_bag(tmp_path / "bag", topic, frames) >= MIN_BYTES
    environment = under(PROFILES / "localhost_large_messages.xml")
    given = {"bundle": bundle, "map": place_map, "image_topic": topic, "image_transport": "raw"}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    localizer = start("localizer", "--ros-args", "-r", f"__ns:={namespace}", *words, env=environment)
    recorder = start(
        "match_recorder", "--ros-args", "-p", f"out:={out}", "-p", f"topic:={namespace}/localizer/matches",
        env=environment,
    )  # fmt: skip
    localizer.says("active")
    replay = start("bag_replay", "--ros-args", "-p", f"bag:={tmp_path / 'bag'}", "-p", "loop:=true", env=environment)

    def answered() -> bool:
        lines = out.read_text().splitlines() if out.is_file() else []
        return len({json.loads(line)["stamp_ns"] for line in lines}) >= ENOUGH

    probe.until(answered, f"answers to {ENOUGH} images")
    assert recorder.signalled() == replay.signalled() == 0, replay.output + recorder.output
    assert "XMLPARSER" not in localizer.output + replay.output + recorder.output
