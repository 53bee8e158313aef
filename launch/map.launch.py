"""Make a place map while driving: ros2 launch vpr_distill_ros map.launch.py bundle:=FOLDER map:=FOLDER

The map is saved every save_period_s, at the end (Ctrl-C), and when it is asked for:

    ros2 service call /map_builder/save std_srvs/srv/Trigger
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from vpr_distill_ros.launch_arguments import Argument, declare_node, declare_parameters, node, share

CONFIG = share(__file__) / "config"
ARGUMENTS = {
    "modality": Argument("sensor to know places by, camera or lidar: that of the bundle"),
    "bundle": Argument("folder of the model, written by `vpr-distill export`"),
    "map": Argument("folder of the place map to write, or to continue"),
    "continue_map": Argument("continue a map that is there as a further session; false refuses it", bool),
    "session": Argument("name of this drive in the map; empty: the time of its start"),
    "image_topic": Argument("topic of the camera, Image or CompressedImage; read with modality camera"),
    "cloud_topic": Argument("topic of the LiDAR, PointCloud2; read with modality lidar"),
    "odometry_topic": Argument("topic of nav_msgs/Odometry; the places stand where it says"),
    "keyframe_m": Argument("distance from a place to the next [m]; 0 takes every frame", float),
    "save_period_s": Argument("time between two savings [s]; 0: when asked for and at the end only", float),
    "use_sim_time": Argument("take the time from /clock", bool),
    "autostart": Argument("configure and activate at once; false leaves that to a lifecycle manager", bool),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [*declare_parameters(ARGUMENTS), *declare_node(CONFIG / "nodes" / "map_builder.yaml")]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    # The last save, of what is not yet on the disk, comes after Ctrl-C; by default launch kills after 10 s.
    return [node(context, "map_builder", ARGUMENTS, sigterm_timeout="60")]
