"""What the launch files share: a node's parameters as arguments, on top of a parameter file. Needs launch_ros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = "vpr_distill_ros"


@dataclass(frozen=True)
class Argument:
    """A parameter of a node that is an argument of its launch file too."""

    description: str
    kind: type = str
    """str, bool, int or float: that of the parameter."""


def share(launch_file: str) -> Path:
    """The folder that holds launch/ and config/, in the working tree as where it is installed."""
    return Path(launch_file).resolve().parents[1]


def declare_parameters(arguments: Mapping[str, Argument]) -> list[DeclareLaunchArgument]:
    """One that is not given leaves what the parameter file says."""
    return [
        DeclareLaunchArgument(name, default_value="", description=f"{argument.description} [as in params_file]")
        for name, argument in arguments.items()
    ]


def declare_node(params_file: Path) -> list[DeclareLaunchArgument]:
    """What every node has: its parameter file, its namespace and its log level."""
    return [
        DeclareLaunchArgument(
            "params_file", default_value=str(params_file), description="parameters of the node (YAML)"
        ),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
    ]


def text(context: LaunchContext, name: str) -> str:
    """What was given for an argument, without blanks around it."""
    return LaunchConfiguration(name).perform(context).strip()


def flag(context: LaunchContext, name: str) -> bool:
    return truth(name, text(context, name))


def files_of(context: LaunchContext, name: str, folder: Path) -> list[Path]:
    """The YAML file of a folder that an argument names; none where it is empty. Raises ValueError on another word."""
    given = text(context, name)
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if given and given not in known:
        raise ValueError(f"{name}:={given} is not understood: expected one of {', '.join(known)}")
    return [known[given]] if given else []


def whole_number(context: LaunchContext, name: str) -> int:
    """Raises ValueError unless a number from 0 up was given."""
    given = text(context, name)
    if not given.isdecimal():
        raise ValueError(f"{name}:={given} is not understood: expected a whole number, 0 or more")
    return int(given)


def truth(name: str, given: str) -> bool:
    """Raises ValueError on anything but true and false."""
    if given.lower() not in ("true", "false"):
        raise ValueError(f"{name}:={given} is not understood: expected true or false")
    return given.lower() == "true"


def node(
    context: LaunchContext,
    executable: str,
    arguments: Mapping[str, Argument],
    *,
    params_file: str = "params_file",
    overlays: Sequence[Path] = (),
    overrides: Mapping[str, object] | None = None,
    **process: Any,
) -> Node:
    """An executable of this package under its own name, with the arguments that were given above its parameter file.

    params_file: name of the argument that names the file.
    overlays: further parameter files, which stand above it and below the arguments.
    overrides: parameters that stand above both.
    process: options of launch's ExecuteProcess.
    """
    given = {name: text(context, name) for name in arguments}
    values = {name: _value(name, word, arguments[name].kind) for name, word in given.items() if word}
    values |= overrides or {}
    return Node(
        package=PACKAGE,
        executable=executable,
        name=executable,
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration(params_file), *map(str, overlays), *([values] if values else [])],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
        **process,
    )


def rviz(layout: Path, use_sim_time: bool) -> Node:
    """RViz with a layout; what the layout shows are the topics of no namespace."""
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        parameters=[{"use_sim_time": use_sim_time}],
        arguments=["-d", str(layout)],
        output="log",
    )


def _value(name: str, word: str, kind: type) -> object:
    if kind is bool:
        return truth(name, word)
    if kind is str:
        return ParameterValue(word, value_type=str)  # or a folder named 2024 would become a number
    try:
        return kind(word)
    except ValueError as error:
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"{name}:={word} is not understood: expected {wanted}") from error
