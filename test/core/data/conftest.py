"""Bags written message by message: a car at 2 m/s with camera, LiDAR, labels and poses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from vpr_core.data.bag_writer import BagWriter
from vpr_core.types import Pose

START_NS = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_HUMBLE)


class Messages:
    """ROS messages from plain values."""

    start_ns = START_NS

    def make(self, kind: str, *values: Any) -> Any:
        return STORE.types[kind](*values)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        return self.make("std_msgs/msg/Header", self.make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9)),
                         frame_id)  # fmt: skip

    def jpeg(self, number: int, width: int = 64, height: int = 48) -> bytes:
        tiles = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        image = cv2.resize(tiles, (width, height), interpolation=cv2.INTER_NEAREST)
        return cv2.imencode(".jpg", image)[1].tobytes()

    def black(self, width: int = 64, height: int = 48) -> bytes:
        return cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()

    def cloud(self, number: int) -> np.ndarray:
        return np.random.default_rng(number).normal(size=(20, 4)).astype(np.float32)

    def label(self, number: int, width: int = 64, height: int = 48) -> np.ndarray:
        return np.random.default_rng(number).integers(0, 19, (height, width), dtype=np.uint8)

    def compressed(self, stamp_ns: int, data: bytes, form: str) -> Any:
        header = self.header(stamp_ns, "camera")
        return self.make("sensor_msgs/msg/CompressedImage", header, form, np.frombuffer(data, np.uint8))

    def label_png(self, stamp_ns: int, number: int) -> Any:
        png = cv2.imencode(".png", self.label(number))[1].tobytes()
        return self.compressed(stamp_ns, png, "mono8; png compressed")

    def pose(self, pose: Pose) -> Any:
        point = self.make("geometry_msgs/msg/Point", *pose.position_m)
        return self.make("geometry_msgs/msg/Pose", point,
                         self.make("geometry_msgs/msg/Quaternion", *pose.quaternion_xyzw))  # fmt: skip

    def transforms(self, *links: tuple[int, str, str, Pose]) -> Any:
        """tf2_msgs/TFMessage of (stamp_ns, parent, child, T_parent_child)."""
        return self.make("tf2_msgs/msg/TFMessage", [self._transform(*link) for link in links])

    def _transform(self, stamp_ns: int, parent: str, child: str, pose: Pose) -> Any:
        moved = self.make("geometry_msgs/msg/Vector3", *pose.position_m)
        turned = self.make("geometry_msgs/msg/Quaternion", *pose.quaternion_xyzw)
        return self.make("geometry_msgs/msg/TransformStamped", self.header(stamp_ns, parent), child,
                         self.make("geometry_msgs/msg/Transform", moved, turned))  # fmt: skip

    def fix(self, stamp_ns: int, latitude: float, longitude: float, altitude: float, status: int = 0) -> Any:
        return self.make("sensor_msgs/msg/NavSatFix", self.header(stamp_ns, "gnss"),
                         self.make("sensor_msgs/msg/NavSatStatus", status, 1), latitude, longitude, altitude,
                         np.zeros(9), 0)  # fmt: skip


@pytest.fixture(scope="session")
def ros() -> Messages:
    return Messages()


@pytest.fixture(scope="session")
def write_drive(ros: Messages) -> Callable[..., Path]:
    """write(path, count=6, first=0, labels=False, dark=()): an image each 0.5 s, a cloud 7 ms and a label 3 ms later,
    odometry at 10 Hz along x; what a sensor sees depends on its number, which counts from `first`, and of the numbers
    in `dark` the camera sees nothing."""

    def write(
        path: Path,
        count: int = 6,
        first: int = 0,
        labels: bool = False,
        size: tuple[int, int] = (64, 48),
        dark: tuple[int, ...] = (),
    ) -> Path:
        with BagWriter(path) as bag:
            for i in range(first, first + count):
                stamp = START_NS + i * 500_000_000
                for j in range(5 * i, 5 * i + 5):
                    bag.odometry(
                        "/odom", START_NS + j * 100_000_000, "map", "base_link", Pose((0.2 * j, 0.0, 0.0)), 2.0
                    )
                bag.image_jpeg(
                    "/camera", stamp, "camera_optical", ros.black(*size) if i in dark else ros.jpeg(i, *size)
                )
                bag.cloud("/points", stamp + 7_000_000, "lidar", ros.cloud(i))
                if labels:
                    bag.write("/camera/labels", ros.label_png(stamp + 3_000_000, i), stamp + 3_000_000)
        return path

    return write
