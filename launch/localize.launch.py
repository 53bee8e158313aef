"""Start the localizer: ros2 launch vpr_distill_ros localize.launch.py bundle:=FOLDER map:=FOLDER"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHIPPED_PARAMETERS = Path(__file__).resolve().parents[1] / "config" / "nodes" / "localizer.yaml"

# Parameters of the node that are arguments too; one that is not given leaves what params_file says.
STRINGS = {
    "modality": "sensor to recognise places by, camera or lidar: that of the bundle",
    "bundle": "folder of the model, written by `vpr-distill export`",
    "map": "folder of the place map, written by `vpr-distill map`",
    "image_topic": "topic of the camera, Image or CompressedImage; read with modality camera",
    "cloud_topic": "topic of the LiDAR, PointCloud2; read with modality lidar",
}
BOOLEANS = {
    "use_sim_time": "take the time from /clock",
    "autostart": "configure and activate at once; false leaves that to a lifecycle manager",
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value="", description=f"{description} [as in params_file]")
        for name, description in {**STRINGS, **BOOLEANS}.items()
    ]
    arguments += [
        DeclareLaunchArgument("params_file", default_value=str(SHIPPED_PARAMETERS), description="parameters (YAML)"),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_localizer)])


def _localizer(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in (*STRINGS, *BOOLEANS)}
    overrides = {name: _value(name, text) for name, text in given.items() if text}
    parameters = [LaunchConfiguration("params_file"), *([overrides] if overrides else [])]
    return [
        Node(
            package="vpr_distill_ros",
            executable="localizer",
            name="localizer",
            namespace=LaunchConfiguration("namespace"),
            parameters=parameters,
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]


def _value(name: str, text: str) -> object:
    if name not in BOOLEANS:
        return ParameterValue(text, value_type=str)  # or a folder named 2024 would become a number
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name}:={text} is not understood: expected true or false")
    return text.lower() == "true"
