"""Replay a drive, to a localizer where one is asked for, or make training frames of it:

ros2 launch vpr_distill_ros replay.launch.py bag:=FOLDER
ros2 launch vpr_distill_ros replay.launch.py bag:=FOLDER localize:=true bundle:=FOLDER map:=FOLDER
ros2 launch vpr_distill_ros replay.launch.py bag:=FOLDER mode:=frames frames:=FOLDER pose_topic:=/odom
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from vpr_distill_ros.launch_arguments import Argument, declare_node, declare_parameters, flag, node, rviz, share

CONFIG = share(__file__) / "config"
ARGUMENTS = {
    "bag": Argument("rosbag2 folder, .mcap or .db3 file"),
    "mode": Argument("publish: replay the bag; frames: make training frames of it and end; record_frames: make them of "
                     "live topics"),
    "rate": Argument("speed: 1.0 as recorded, 2.0 twice as fast", float),
    "loop": Argument("begin again at the end, with stamps that go on", bool),
    "start_offset_s": Argument("begin so long after the beginning of the bag [s]", float),
    "publish_clock": Argument("publish the bag's time on /clock", bool),
    "wait_for_subscribers_s": Argument("begin at the latest after so long without subscribers [s]", float),
    "subscribers": Argument("begin once the topics have so many together", int),
    "frames": Argument("folder of training frames to write, in the modes frames and record_frames"),
    "image_topic": Argument("topic of the camera: for frames, and for the localizer"),
    "cloud_topic": Argument("topic of the LiDAR: for frames, and for the localizer"),
    "pose_topic": Argument("topic of the poses, for frames; none makes frames without"),
    "keyframe_m": Argument("distance from a frame to the next [m]", float),
    "session": Argument("name of the drive in the frames; empty: that of the folder"),
    "area": Argument("name of the town or site, in the frames"),
    "overwrite": Argument("replace a frames folder that is there", bool),
}  # fmt: skip
LOCALIZER = {
    "bundle": Argument("of the localizer: folder of the model, written by `vpr-distill export`"),
    "map": Argument("of the localizer: folder of the place map"),
    "modality": Argument("of the localizer: camera or lidar, as the bundle"),
}
SHARED = ("image_topic", "cloud_topic")
SWITCHES = {
    "localize": "start a localizer too, by the bag's time; it stays when the bag has ended",
    "rviz": "start RViz with config/rviz/localize.rviz",
}


def generate_launch_description() -> LaunchDescription:
    params, meaning = str(CONFIG / "nodes" / "localizer.yaml"), "parameters of the localizer (YAML)"
    arguments = [
        *declare_parameters(ARGUMENTS | LOCALIZER),
        *declare_node(CONFIG / "nodes" / "bag_replay.yaml"),
        DeclareLaunchArgument("localizer_params_file", default_value=params, description=meaning),
        *(DeclareLaunchArgument(name, default_value="false", description=text) for name, text in SWITCHES.items()),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    # Frames that were made are written down after Ctrl-C; by default launch kills after 10 s.
    nodes = [node(context, "bag_replay", ARGUMENTS, sigterm_timeout="60")]
    if flag(context, "localize"):
        arguments = LOCALIZER | {name: ARGUMENTS[name] for name in SHARED}
        by_clock = {"use_sim_time": True}
        nodes.append(node(context, "localizer", arguments, params_file="localizer_params_file", overrides=by_clock))
    if flag(context, "rviz"):
        nodes.append(rviz(CONFIG / "rviz" / "localize.rviz", use_sim_time=True))
    return nodes
