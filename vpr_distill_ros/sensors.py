"""What nodes do in one way for a camera and in another for a LiDAR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from vpr_core.data.pointcloud import cloud_from_message
from vpr_distill_ros.images import cv_bridge_works, image_to_rgb
from vpr_distill_ros.parameters import SensorParameters

_IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
_CLASSES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/PointCloud2": PointCloud2,
}


@dataclass(frozen=True)
class Sensor:
    """The sensor that a node knows places by."""

    sees: str
    """"image" or "cloud", for logs and diagnostics."""
    topic: str
    types: Mapping[str, type]
    """Message class by type name, in the order of preference."""
    advice: str
    """What to do where the topic carries another type."""
    to_array: Callable[[Any], np.ndarray]
    """A message to what the recognizer takes; raises InputError."""

    @property
    def converter(self) -> str:
        """The library that reads the messages, for the log."""
        if self.sees == "cloud":
            return "numpy"
        return "cv_bridge" if cv_bridge_works() else "rosbags-image"


def sensor(values: SensorParameters) -> Sensor:
    """The sensor that the parameters name."""
    if values.modality == "lidar":
        return Sensor("cloud", values.cloud_topic, _classes("sensor_msgs/msg/PointCloud2"), "set cloud_topic",
                      cloud_from_message)  # fmt: skip
    wanted = [name for transport, name in _IMAGE_TYPES.items() if values.image_transport in ("auto", transport)]
    advice = "set image_topic, or image_transport to auto"
    return Sensor("image", values.image_topic, _classes(*wanted), advice, image_to_rgb)


def _classes(*names: str) -> dict[str, type]:
    return {name: _CLASSES[name] for name in names}
