"""Odometry of a part of the vehicle, such as its LiDAR's: the map has the vehicle's poses, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_places_are_where_the_vehicle_was_not_where_its_lidar_was(mapper: Callable[..., Any], namespace: str) -> None:
    node = mapper("-r", f"/tf_static:={namespace}/tf_static")
    node.process.says("active")
    node.odometry_of = "lidar"

    def is_told(status: Any, values: dict[str, str]) -> bool:
        missing = "no transform from lidar to base_link: no transform names lidar or base_link"
        return status.level == DiagnosticStatus.ERROR and missing in status.message

    def drive_up() -> None:
        node.camera.publish(node.picture(0.2))  # before any odometry: no place comes of it, however late that is used
        node.stand(0.4)
        node.stand(0.6)

    values = node.status(is_told, meanwhile=drive_up)
    assert int(values["odometry_dropped.tf"]) > 0 and values["places"] == "0"
    mounted = TransformStamped(child_frame_id="lidar")
    mounted.header.frame_id, mounted.transform.translation.x, mounted.transform.rotation.w = "base_link", 1.25, 1.0
    static = node.probe.publisher(TFMessage, f"{namespace}/tf_static", LATCHED)
    static.publish(TFMessage(transforms=[mounted]))
    node.visit(1, 2)
    node.odometry_of = "base_link"
    node.visit(3)
    assert node.save().success
    found = [place.pose.position_m[0] for place in node.map.places if place.pose]
    assert found == pytest.approx([3.0 - 1.25, 6.0 - 1.25, 9.0])
