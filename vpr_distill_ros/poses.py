"""Poses to messages; the way back is `vpr_core.data.poses.pose_from_message`."""

from __future__ import annotations

from geometry_msgs.msg import Point, Quaternion
from geometry_msgs.msg import Pose as PoseMessage

from vpr_core.types import Pose


def pose_to_message(pose: Pose) -> PoseMessage:
    x, y, z = map(float, pose.position_m)
    qx, qy, qz, qw = map(float, pose.quaternion_xyzw)
    return PoseMessage(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
