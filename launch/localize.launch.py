"""Start the localizer: ros2 launch vpr_distill_ros localize.launch.py bundle:=FOLDER map:=FOLDER

Loop closures of the drive itself, without a map: mode:=loop_closure odometry_topic:=/odom bundle:=FOLDER
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from vpr_distill_ros.launch_arguments import (
    PACKAGE,
    Argument,
    declare_node,
    declare_parameters,
    files_of,
    flag,
    node,
    rviz,
    share,
    text,
)

CONFIG = share(__file__) / "config"
ARGUMENTS = {
    "mode": Argument("localize: places of a map; loop_closure: of the robot's own past, which needs odometry_topic"),
    "modality": Argument("sensor to recognise places by, camera or lidar: that of the bundle"),
    "bundle": Argument("folder of the model, written by `vpr-distill export`"),
    "base_frame": Argument("the vehicle's frame, on which /tf_static tells where the sensors are"),
    "map": Argument("folder of the place map, written by `vpr-distill map` or by the node map_builder"),
    "image_topic": Argument("topic of the camera, Image or CompressedImage; read with modality camera"),
    "cloud_topic": Argument("topic of the LiDAR, PointCloud2; read with modality lidar"),
    "odometry_topic": Argument("topic of nav_msgs/Odometry, which may drift; none by default in mode localize"),
    "use_sim_time": Argument("take the time from /clock", bool),
    "autostart": Argument("configure and activate at once; false leaves that to a lifecycle manager", bool),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *declare_parameters(ARGUMENTS),
        *declare_node(CONFIG / "nodes" / "localizer.yaml"),
        DeclareLaunchArgument(
            "adapter",
            default_value="",
            description="who is given poses: nav2, rtabmap, slam_toolbox; empty: nobody",
        ),
        DeclareLaunchArgument(
            "snapshots",
            default_value="",
            description="folder for bags of what the localizer refuses, for `vpr-distill hard-pairs`; what they hold "
            "is in config/nodes/snapshot_recorder.yaml [none]",
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="start RViz with config/rviz/localize.rviz"),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    nodes = [node(context, "localizer", ARGUMENTS, overlays=files_of(context, "adapter", CONFIG / "adapters"))]
    if snapshots := text(context, "snapshots"):
        nodes.append(_snapshot_recorder(context, snapshots))
    if flag(context, "rviz"):
        nodes.append(rviz(CONFIG / "rviz" / "localize.rviz", text(context, "use_sim_time").lower() == "true"))
    return nodes


def _snapshot_recorder(context: LaunchContext, out: str) -> Node:
    """Beside the localizer, with its topics."""
    given = {"out": out, "use_sim_time": text(context, "use_sim_time").lower() == "true"}
    return Node(
        package=PACKAGE,
        executable="snapshot_recorder",
        namespace=text(context, "namespace"),
        parameters=[str(CONFIG / "nodes" / "snapshot_recorder.yaml"), given],
        output="screen",
    )
