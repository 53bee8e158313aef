"""The launch files: what they start, with the shipped parameters; for real where launch_ros is there."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rcl_interfaces.srv import GetParameters

from vpr_distill_msgs.msg import PlaceMatchArray
from vpr_distill_ros.recording import Recording, read_topics, record_command

ROOT = Path(__file__).parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
LAUNCH_FILE = ROOT / "launch" / "localize.launch.py"
MAP_FILE = ROOT / "launch" / "map.launch.py"
REPLAY_FILE = ROOT / "launch" / "replay.launch.py"
RECORD_FILE = ROOT / "launch" / "record.launch.py"
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


def started_by(launch_file: Path) -> list[str]:
    """Names of the executables that a launch file starts; a node has that of its executable."""
    calls = [node for node in ast.walk(ast.parse(launch_file.read_text())) if isinstance(node, ast.Call)]
    calls = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "node"]
    return [str(word.value) for call in calls for word in call.args if isinstance(word, ast.Constant)]


def arguments_of(launch_file: Path) -> list[str]:
    """Names of the arguments that are parameters of the node too: the keys of ARGUMENTS."""
    tree = ast.parse(launch_file.read_text())
    (table,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and [name.id for name in node.targets if isinstance(name, ast.Name)] == ["ARGUMENTS"]
    ]
    assert isinstance(table, ast.Dict)
    return [str(key.value) for key in table.keys if isinstance(key, ast.Constant)]


@pytest.mark.parametrize("launch_file", LAUNCH_FILES, ids=lambda path: path.name.split(".")[0])
def test_arguments_are_parameters_of_the_node_that_is_started(launch_file: Path) -> None:
    executables = started_by(launch_file)
    if not executables:  # rosbag2 records
        return
    described = yaml.safe_load((ROOT / "config" / "nodes" / f"{executables[0]}.yaml").read_text())
    known = set(described["/**"]["ros__parameters"]) | {"use_sim_time"}
    assert set(arguments_of(launch_file)) <= known


def test_map_builder_runs_with_the_shipped_parameters(
    probe: Any, start: Callable[..., Any], namespace: str, bundle: Path, tmp_path: Path
) -> None:
    (executable,) = started_by(MAP_FILE)
    shipped = ROOT / "config" / "nodes" / "map_builder.yaml"
    given = ["-p", f"bundle:={bundle}", "-p", f"map:={tmp_path / 'map'}", "-r", f"__ns:={namespace}"]
    process = start(executable, "--ros-args", "--params-file", str(shipped), *given)
    process.says("active, images from /camera/image/compressed")
    assert values(probe, f"{namespace}/{executable}", "keyframe_m", "odometry_topic") == [2.0, "/odom"]
    assert process.signalled() == 0


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
    (executable,) = started_by(LAUNCH_FILE)
    renamed = ["-r", f"__node:={executable}", "-r", f"__ns:={namespace}"]
    given = ["-p", f"modality:={modality}", "-p", f"bundle:={bundle}", "-p", f"map:={place_map}"]
    process = start(executable, "--ros-args", "--params-file", str(SHIPPED), *renamed, *given)
    process.says(active)
    name = f"{namespace}/{executable}"
    assert values(probe, name, "bundle", "top_k", "image_transport") == [str(bundle), 5, "auto"]
    assert process.signalled() == 0


def test_a_value_in_the_file_that_is_out_of_range_ends_the_node_with_one_line(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SHIPPED.read_text().replace("top_k: 5", "top_k: 0"))
    process = start(*started_by(LAUNCH_FILE), "--ros-args", "--params-file", str(wrong))
    assert process.ends() == 1
    assert process.output.startswith("error: ") and "top_k" in process.output
    assert len(process.output.strip().splitlines()) == 1


def launched(start_folder: Path, launch_file: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    prefixes = [*filter(None, [environment.get("AMENT_PREFIX_PATH")]), sys.prefix]
    environment["AMENT_PREFIX_PATH"] = os.pathsep.join(prefixes)
    log = (start_folder / "launch.log").open("w")
    command = [sys.executable, "-c", RUN_LAUNCH_FILE, str(launch_file), *arguments]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True)


def described(launch_file: Path, **given: str) -> list[Any]:
    """What a launch file hands to launch for these arguments."""
    pytest.importorskip("launch_ros")
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    context = LaunchContext()
    context.launch_configurations.update(given)
    description = PythonLaunchDescriptionSource(str(launch_file)).get_launch_description(context)
    return [made for entity in description.entities for made in entity.visit(context) or []]


@pytest.mark.parametrize("launch_file", LAUNCH_FILES, ids=lambda path: path.name.split(".")[0])
def test_every_argument_is_explained(launch_file: Path) -> None:
    pytest.importorskip("launch_ros")
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    description = PythonLaunchDescriptionSource(str(launch_file)).get_launch_description(LaunchContext())
    arguments = description.get_launch_arguments()
    assert len(arguments) > 5 and len({argument.name for argument in arguments}) == len(arguments)
    for argument in arguments:
        assert len(argument.description) > 15 and argument.default_value is not None, argument.name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"autostart": "no"}, "autostart:=no is not understood: expected true or false"),
        ({"use_sim_time": "yes"}, "use_sim_time:=yes is not understood: expected true or false"),
        ({"rviz": "1"}, "rviz:=1 is not understood: expected true or false"),
        ({"adapter": "amcl"}, "adapter:=amcl is not understood: expected one of nav2, rtabmap, slam_toolbox"),
    ],
)
def test_a_word_that_is_no_value_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        described(LAUNCH_FILE, **given)


def test_a_word_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="keyframe_m:=2m is not understood: expected a number"):
        described(MAP_FILE, keyframe_m="2m")


def test_recording_runs_the_command_of_rosbag2(tmp_path: Path) -> None:
    pytest.importorskip("launch_ros")
    from launch import LaunchContext

    out = tmp_path / "drives"
    (process,) = described(RECORD_FILE, drive="lidar", out=str(out), name="first", max_bag_duration_s="60")
    words = ["".join(part.perform(LaunchContext()) for part in word) for word in process.cmd]
    expected = Recording(
        topics=read_topics(ROOT / "config" / "record" / "lidar_drive.yaml"),
        out=out / "first",
        storage_config=ROOT / "config" / "record" / "mcap_zstd.yaml",
        qos_overrides=ROOT / "config" / "record" / "qos_overrides.yaml",
        max_bag_duration_s=60,
    )
    assert words == record_command(expected, os.environ.get("ROS_DISTRO", ""))
    assert out.is_dir() and not (out / "first").exists()
    with pytest.raises(ValueError, match="drive:=tram is not understood: expected one of camera, lidar, teacher"):
        described(RECORD_FILE, drive="tram")
    with pytest.raises(ValueError, match="cache_mib:=1.5 is not understood: expected a whole number"):
        described(RECORD_FILE, out=str(out), cache_mib="1.5")


@pytest.fixture
def launch(probe: Any, tmp_path: Path) -> Iterator[Callable[..., Callable[[str], str]]]:
    """launch(file, *arguments) launches it; what comes back waits until the output has a text, and gives the output."""
    pytest.importorskip("launch_ros")
    services: list[subprocess.Popen[str]] = []
    log = tmp_path / "launch.log"

    def run(launch_file: Path, *arguments: str) -> Callable[[str], str]:
        services.append(launched(tmp_path, launch_file, *arguments))

        def says(text: str) -> str:
            probe.until(lambda: text in log.read_text() or services[0].poll() is not None, f"{text!r} in {log}")
            assert text in log.read_text(), log.read_text()
            return log.read_text()

        return says

    yield run
    for service in services:
        service.send_signal(signal.SIGINT)
        probe.until(lambda service=service: service.poll() is not None, "the end of the launch")
        assert service.returncode == 0 and "process has finished cleanly" in log.read_text(), log.read_text()


def test_launch_for_real(
    launch: Callable[..., Any], probe: Any, namespace: str, bundle: Path, place_map: Path, tmp_path: Path
) -> None:
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    top_k: 3\n    device: cpu\n    image_topic: /from_file\n")
    given = {"bundle": bundle, "map": place_map, "namespace": namespace, "params_file": parameters}
    words = [f"{name}:={value}" for name, value in given.items()]
    says = launch(LAUNCH_FILE, *words, "image_topic:=/given", "use_sim_time:=true")
    says("active, images from /given")
    names = ("top_k", "image_topic", "bundle", "use_sim_time", "stale_s", "autostart")
    assert values(probe, f"{namespace}/localizer", *names) == [3, "/given", str(bundle), True, 3.0, True]


def test_an_adapter_lies_over_the_parameter_file_and_below_the_arguments(
    launch: Callable[..., Any], probe: Any, namespace: str, bundle: Path, place_map: Path, tmp_path: Path
) -> None:
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    filter: false\n    odometry_topic: /from_file\n")
    given = {"bundle": bundle, "map": place_map, "namespace": namespace, "params_file": parameters,
             "adapter": "rtabmap", "base_frame": "cart"}  # fmt: skip
    launch(LAUNCH_FILE, *[f"{name}:={value}" for name, value in given.items()])("active, images from")
    names = ("odometry_topic", "global_pose_topic", "base_frame", "filter")
    found = values(probe, f"{namespace}/localizer", *names)
    assert found == ["/odom", "/rtabmap/global_pose", "cart", False]


def test_the_map_builder_is_launched_for_real(
    launch: Callable[..., Any], probe: Any, namespace: str, bundle: Path, tmp_path: Path
) -> None:
    given = {"bundle": bundle, "map": tmp_path / "map", "namespace": namespace, "keyframe_m": 3, "session": 2024}
    launch(MAP_FILE, *[f"{name}:={value}" for name, value in given.items()])("active, images from")
    names = ("keyframe_m", "session", "save_period_s", "continue_map")
    assert values(probe, f"{namespace}/map_builder", *names) == [3.0, "2024", 60.0, True]


def test_a_replay_to_a_localizer_is_launched_for_real(
    launch: Callable[..., Any], probe: Any, namespace: str, bundle: Path, place_map: Path, bag: Path
) -> None:
    matches = probe.collect(PlaceMatchArray, f"{namespace}/localizer/matches")
    given = {"bag": bag, "rate": 4, "wait_for_subscribers_s": 60, "localize": "true", "bundle": bundle,
             "map": place_map, "namespace": namespace}  # fmt: skip
    says = launch(REPLAY_FILE, *[f"{name}:={value}" for name, value in given.items()])
    # The replay first, which ends: it waits until the localizer listens.
    assert values(probe, f"{namespace}/bag_replay", "rate", "bag") == [4.0, str(bag)]
    assert values(probe, f"{namespace}/localizer", "use_sim_time", "bundle") == [True, str(bundle)]
    says("bag_replay]: replayed ")
    probe.until(lambda: matches, "a match")
