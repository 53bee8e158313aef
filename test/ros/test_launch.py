"""localize.launch.py: what it starts, with the shipped parameters; for real where launch_ros is there."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.srv import GetParameters

ROOT = Path(__file__).parents[2]
LAUNCH_FILE = ROOT / "launch" / "localize.launch.py"
SHIPPED = ROOT / "config" / "nodes" / "localizer.yaml"

# What `ros2 launch` does with a launch file; ros2cli need not be there for it.
RUN_LAUNCH_FILE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
source = PythonLaunchDescriptionSource(path)
pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)]))
sys.exit(service.run())
"""


def started_by_launch_file() -> dict[str, str]:
    """The constant arguments of the one Node in the launch file."""
    calls = [node for node in ast.walk(ast.parse(LAUNCH_FILE.read_text())) if isinstance(node, ast.Call)]
    (node,) = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Node"]
    return {str(word.arg): str(word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)}


def values(probe: Any, node: str, *names: str) -> list[Any]:
    answers = probe.call(GetParameters, f"{node}/get_parameters", names=list(names)).values
    kinds = {1: "bool_value", 2: "integer_value", 3: "double_value", 4: "string_value"}
    return [getattr(answer, kinds[answer.type]) for answer in answers]


@pytest.mark.parametrize(
    ("modality", "names", "active"),
    [
        ("camera", ("bundle", "place_map"), "active, images from /camera/image/compressed"),
        ("lidar", ("lidar_bundle", "lidar_map"), "active, clouds from /lidar/points"),
    ],
    ids=["camera", "lidar"],
)
def test_the_executable_of_the_launch_file_runs_with_the_shipped_parameters(
    request: pytest.FixtureRequest, probe: Any, start: Callable[..., Any], namespace: str, modality: str,
    names: tuple[str, str], active: str,
) -> None:  # fmt: skip
    bundle, place_map = map(request.getfixturevalue, names)
    node = started_by_launch_file()
    assert node["package"] == "vpr_distill_ros"
    renamed = ["-r", f"__node:={node['name']}", "-r", f"__ns:={namespace}"]
    given = ["-p", f"modality:={modality}", "-p", f"bundle:={bundle}", "-p", f"map:={place_map}"]
    process = start(node["executable"], "--ros-args", "--params-file", str(SHIPPED), *renamed, *given)
    process.says(active)
    name = f"{namespace}/{node['name']}"
    assert values(probe, name, "bundle", "top_k", "image_transport") == [str(bundle), 5, "auto"]
    assert process.signalled() == 0


def test_a_value_in_the_file_that_is_out_of_range_ends_the_node_with_one_line(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SHIPPED.read_text().replace("top_k: 5", "top_k: 0"))
    process = start(started_by_launch_file()["executable"], "--ros-args", "--params-file", str(wrong))
    assert process.ends() == 1
    assert process.output.startswith("error: ") and "top_k" in process.output
    assert len(process.output.strip().splitlines()) == 1


def launched(start_folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    prefixes = [sys.prefix, *filter(None, [environment.get("AMENT_PREFIX_PATH")])]
    environment["AMENT_PREFIX_PATH"] = os.pathsep.join(prefixes)
    log = (start_folder / "launch.log").open("w")
    command = [sys.executable, "-c", RUN_LAUNCH_FILE, str(LAUNCH_FILE), *arguments]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True)


def test_launch_for_real(probe: Any, namespace: str, bundle: Path, place_map: Path, tmp_path: Path) -> None:
    pytest.importorskip("launch_ros")
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    top_k: 3\n    device: cpu\n    image_topic: /from_file\n")
    service = launched(
        tmp_path,
        f"bundle:={bundle}",
        f"map:={place_map}",
        f"namespace:={namespace}",
        f"params_file:={parameters}",
        "image_topic:=/given",
        "use_sim_time:=true",
    )
    try:
        name = f"{namespace}/localizer"
        names = ("top_k", "image_topic", "bundle", "use_sim_time", "stale_s", "autostart")
        assert values(probe, name, *names) == [3, "/given", str(bundle), True, 3.0, True]
        log = tmp_path / "launch.log"
        probe.until(lambda: "active, images from /given" in log.read_text(), f"the node in\n{log.read_text()}")
        service.send_signal(signal.SIGINT)
        probe.until(lambda: service.poll() is not None, "the end of the launch")
        assert service.returncode == 0 and "process has finished cleanly" in log.read_text(), log.read_text()
    finally:
        service.kill()
        service.wait()
