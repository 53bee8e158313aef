"""Clouds of rclpy's messages, beside what ROS's own sensor_msgs_py reads from them."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vpr_core.data.pointcloud import cloud_from_message

NAMES = ("x", "y", "z", "intensity")


def made_by_ros(points: np.ndarray) -> PointCloud2:
    """points float32 [N, 4] or, for an organised cloud, [H, W, 4]."""
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate(NAMES)]
    return point_cloud2.create_cloud(Header(frame_id="lidar"), fields, points)


def read_by_ros(message: PointCloud2) -> np.ndarray:
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")
    records = point_cloud2.read_points(message, field_names=NAMES, skip_nans=True)
    return np.stack([records[name] for name in NAMES], axis=-1).reshape(-1, 4)


def swapped(message: PointCloud2) -> PointCloud2:
    data = np.frombuffer(message.data, "<f4").astype(">f4").tobytes()
    message.data = type(message.data)("B", data)
    message.is_bigendian = True
    return message


def padded(message: PointCloud2) -> PointCloud2:
    rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.point_step)
    message.data = type(message.data)("B", np.pad(rows, ((0, 0), (0, 12)), constant_values=255).tobytes())
    message.point_step += 12
    message.row_step = message.point_step * message.width
    return message


@pytest.mark.parametrize("change", [lambda message: message, swapped, padded], ids=["plain", "big-endian", "padded"])
@pytest.mark.parametrize("shape", [(96, 4), (8, 12, 4)], ids=["list", "organised"])
def test_both_read_the_same_points(shape: tuple[int, ...], change: object) -> None:
    points = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    points.reshape(-1, 4)[[5, 17], [0, 2]] = np.nan
    message = change(made_by_ros(points))  # type: ignore[operator]
    ours = cloud_from_message(message)
    assert ours.shape == (94, 4) and ours.dtype == np.float32
    np.testing.assert_array_equal(ours, read_by_ros(message))
