"""The live part of the demo: a localizer, a recorder of its matches and a replayed bag, each a process of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vpr_core.errors import VprError
from vpr_core.retrieval.records import read_records

PACKAGE = "vpr_distill_ros"
_TOPIC_PARAMETERS = {"camera": "image_topic", "lidar": "cloud_topic"}


class LiveError(VprError):
    """A ROS 2 process of the demo could not start or ended too early."""


def run_live(
    bundle: Path, place_map: Path, bag: Path, topic: str, rate: float, folder: Path, modality: str = "camera"
) -> list[dict[str, Any]]:
    """Replay `bag` at `rate` times its speed to a localizer over DDS; returns the records of its matches.

    topic: of the bag's images where `modality` is camera, of its clouds where it is lidar, as the bundle is.
    The processes' logs stay in `folder`. Raises LiveError for another modality, and with the end of the log of a
    process that failed.
    """
    if modality not in _TOPIC_PARAMETERS:
        raise LiveError(f"modality is {modality!r}, expected {' or '.join(_TOPIC_PARAMETERS)}")
    folder.mkdir(parents=True, exist_ok=True)
    matches = folder / "matches.jsonl"
    matches.unlink(missing_ok=True)
    environment = _environment(folder)
    sensor = {"modality": modality, _TOPIC_PARAMETERS[modality]: topic}
    localizer = _parameters(bundle=bundle, map=place_map, **sensor, autostart=True)
    with (
        _process("localizer", localizer, environment, folder) as node,
        _process("match_recorder", _parameters(out=matches), environment, folder) as recorder,
    ):
        _await_log(folder / "match_recorder.log", "recording", (node, recorder), folder)
        replay = _parameters(bag=bag, rate=rate, wait_for_subscribers_s=60.0)
        with _process("bag_replay", replay, environment, folder) as player:
            _wait(player, (node, recorder), folder)
        time.sleep(1.0)  # the last image or cloud may still be on its way through the localizer
    return list(read_records(matches))


def installed_prefix() -> Path:
    """The folder under which the nodes are installed, as `ros2 run` finds it; raises LiveError where they are not."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    for prefix in prefixes:
        if (Path(prefix) / "lib" / PACKAGE).is_dir():
            return Path(prefix)
    raise LiveError(
        f"{PACKAGE} is not installed under {', '.join(prefixes)}: run `make env`, or colcon build and source"
    )


def installed_share() -> Path:
    """Where launch files, configuration and bundles are installed; raises LiveError where they are not."""
    return installed_prefix() / "share" / PACKAGE


def _environment(folder: Path) -> dict[str, str]:
    profile = str(installed_share() / "config" / "dds" / "localhost_large_messages.xml")
    environment = {
        # A domain of its own keeps the demo and a robot in the same room apart.
        "ROS_DOMAIN_ID": str(random.randint(1, 100)),
        "ROS_LOG_DIR": str(folder / "log"),
        "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH") or sys.prefix,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,  # its name in Humble and Jazzy
    }
    humble = os.environ.get("ROS_DISTRO") == "humble"
    only_here = {"ROS_LOCALHOST_ONLY": "1"} if humble else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return os.environ | environment | only_here


def _parameters(**values: Any) -> list[str]:
    arguments = ["--ros-args"]
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{name}:={text}"]
    return arguments


@contextmanager
def _process(
    name: str, arguments: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    program = installed_prefix() / "lib" / PACKAGE / name
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], env=environment, stdout=log, stderr=log)
        process.name = name  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_log(
    log: Path, text: str, processes: tuple[subprocess.Popen[bytes], ...], folder: Path, timeout_s: float = 60.0
) -> None:
    """Wait until `text` stands in a process's log; until then what another publishes could be lost."""
    deadline = time.monotonic() + timeout_s
    while text not in log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise LiveError(f"{log} does not say {text!r} after {timeout_s:g} s: does DDS discovery work here?")
        _check_alive(processes, folder)
        time.sleep(0.1)


def _check_alive(processes: tuple[subprocess.Popen[bytes], ...], folder: Path) -> None:
    for process in processes:
        if process.poll() is not None:
            raise LiveError(_failure(process, folder))


def _wait(player: subprocess.Popen[bytes], others: tuple[subprocess.Popen[bytes], ...], folder: Path) -> None:
    while player.poll() is None:
        _check_alive(others, folder)
        time.sleep(0.1)
    if player.returncode != 0:
        raise LiveError(_failure(player, folder))


def _failure(process: subprocess.Popen[bytes], folder: Path) -> str:
    name = process.name  # type: ignore[attr-defined]
    tail = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines()[-5:]
    return f"{name} ended with code {process.returncode}: {' | '.join(tail) or 'it said nothing'}"
