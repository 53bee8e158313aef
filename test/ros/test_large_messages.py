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
# Under Fast DDS's defaults none of such size arrives; a busy machine is late for a few of those that do.
ENOUGH = COUNT // 2
PERIOD_NS = 200_000_000
MIN_BYTES = 3_000_000

LISTEN = """
import sys, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
rclpy.init()
node, received = rclpy.create_node("listener"), []
node.create_subscription(PointCloud2, sys.argv[1], received.append, qos_profile_sensor_data)
while not (received and received[-1].width == 0):
    rclpy.spin_once(node)
print(len({message.header.stamp.sec for message in received if len(message.data) == int(sys.argv[2])}))
"""
SPEAK = """
import array, sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
rclpy.init()
node = rclpy.create_node("speaker")
publisher = node.create_publisher(PointCloud2, sys.argv[1], qos_profile_sensor_data)
size, count = map(int, sys.argv[2:])
cloud, end = PointCloud2(height=1, width=size // 32, point_step=32, row_step=size), PointCloud2()
cloud.data = array.array("B", bytes(size))
while not publisher.get_subscription_count():
    rclpy.spin_once(node, timeout_sec=0.05)
for number in range(count):
    cloud.header.stamp.sec = number
    publisher.publish(cloud)
    time.sleep(0.1)
while publisher.get_subscription_count():
    publisher.publish(end)
    rclpy.spin_once(node, timeout_sec=0.05)
"""


def under(profile: Path) -> dict[str, str]:
    """The variable has the first name with Fast DDS 3, of Kilted, and the second before."""
    return dict.fromkeys(("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"), str(profile))


@pytest.mark.parametrize("profile", sorted(PROFILES.glob("*.xml")), ids=lambda path: path.stem)
def test_clouds_of_4_mb_arrive(profile: Path, ros_environment: None, namespace: str) -> None:
    environment = os.environ | under(profile)
    topic, size = f"{namespace}/points", 4_000_000
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    commands = ([LISTEN, topic, str(size)], [SPEAK, topic, str(size), str(COUNT)])
    listener, speaker = (subprocess.Popen([sys.executable, "-c", *words], **pipes) for words in commands)
    try:
        said, heard = speaker.communicate(timeout=90)[0], listener.communicate(timeout=90)[0]
    finally:
        for process in (listener, speaker):
            process.kill()
            process.wait()
    # Fast DDS reports what it does not understand of a profile, and falls back to its defaults.
    assert "XML" not in said + heard and speaker.returncode == listener.returncode == 0, said + heard
    assert int(heard.split()[-1]) >= ENOUGH, heard


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
    environment = under(PROFILES / "localhost_large_messages.xml")
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
    assert len(set(stamps)) >= ENOUGH, (stamps, localizer.output)
    assert "XMLPARSER" not in localizer.output + replay.output + recorder.output
