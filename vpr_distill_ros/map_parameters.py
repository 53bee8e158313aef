"""The map builder's parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from vpr_distill_ros import parameters
from vpr_distill_ros.parameters import OF_THE_SENSOR, UNCONFIGURED, SensorParameters, number, text

_READ_ON_CONFIGURE = OF_THE_SENSOR | {
    "map", "odometry_topic", "keyframe_m", "save_period_s", "session", "continue_map", "max_jump_m"
}  # fmt: skip


@dataclass(frozen=True)
class MapBuilderParameters(SensorParameters):
    """The map builder's parameters."""

    odometry_topic: str
    keyframe_m: float
    save_period_s: float
    session: str
    continue_map: bool
    max_jump_m: float


def declare(node: Node) -> None:
    """Declare every parameter; rclpy raises where the command line or a file gives a value out of range."""
    map_row = ("map", "", text("folder of the place map to write, or to continue", constraints=UNCONFIGURED))
    parameters.declare_rows(node, [
        *parameters.sensor_rows("know", map_row),
        ("odometry_topic", "/odom",
         text("topic of nav_msgs/Odometry; the frame of its poses becomes the map's", constraints=UNCONFIGURED)),
        ("keyframe_m", 2.0, number("distance from a place to the next [m]", 0.0, 1000.0)),
        ("save_period_s", 60.0,
         number("time between two savings while places are added [s]; 0.0: only at the end and by ~/save",
                0.0, 86400.0)),
        ("session", "", text("name of the drive in the map; empty: the time of its start", constraints=UNCONFIGURED)),
        ("continue_map", True,
         text("true: a map that is there is continued as a further session; false: it is refused",
              constraints=UNCONFIGURED)),
        ("max_jump_m", 10.0,
         number("odometry that goes on further away than this from where it was [m], beyond what 50 m/s cover "
                "meanwhile, has jumped: no places are added until ~/new_session", 0.0, 1e6)),
    ])  # fmt: skip


def read(node: Node) -> MapBuilderParameters:
    return parameters.read_as(MapBuilderParameters, node)


def check_change(changes: Iterable[Parameter], configured: bool) -> SetParametersResult:
    """Whether changes may apply."""
    return parameters.check(changes, _READ_ON_CONFIGURE if configured else frozenset())
