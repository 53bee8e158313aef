"""Nodes of the package as processes of their own, over DDS: what the demo, benchmarks and tests of whole drives run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vpr_core.errors import VprError
from vpr_core.retrieval.records import read_records

PACKAGE = "vpr_distill_ros"
TOPIC_PARAMETERS = {"camera": "image_topic", "lidar": "cloud_topic"}
_POLL_S = 0.1
_PATIENCE_S = 120.0


class LiveError(VprError):
    """A ROS 2 process could not start, ended too early or did not do in time what was waited for."""


def run_live(
    bundle: Path, place_map: Path, bag: Path, topic: str, rate: float, folder: Path, modality: str = "camera"
) -> list[dict[str, Any]]:
    """Replay `bag` at `rate` times its speed to a localizer over DDS; returns the records of its matches.

    topic: of the bag's images where `modality` is camera, of its clouds where it is lidar, as the bundle is.
    The processes' logs stay in `folder`. Raises LiveError for another modality, and with the end of the log of a
    process that failed.
    """
    if modality not in TOPIC_PARAMETERS:
        raise LiveError(f"modality is {modality!r}, expected {' or '.join(TOPIC_PARAMETERS)}")
    matches = folder / "matches.jsonl"
    matches.unlink(missing_ok=True)
    sensor = {"modality": modality, TOPIC_PARAMETERS[modality]: topic}
    with Graph(folder) as graph:
        graph.start("localizer", bundle=bundle, map=place_map, **sensor, autostart=True)
        graph.start("match_recorder", out=matches)
        # Until then what another publishes could be lost.
        graph.wait_for_log("match_recorder", "recording")
        graph.wait_for_end(graph.start("bag_replay", bag=bag, rate=rate, wait_for_subscribers_s=60.0))
        time.sleep(1.0)  # the last image or cloud may still be on its way through the localizer
    return list(read_records(matches))


class Graph:
    """Executables of the package as processes in a ROS graph of their own, ended with the block.

    folder: where their logs stay, `<name>.log`. Raises LiveError where the package is not installed, and as its methods
    say.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.domain = 1 + (os.getpid() + 50) % 101
        """Of its own, to keep it, a robot in the same room and other processes like this one apart."""
        self.environment = _environment(folder, self.domain)
        """Of the processes; another one that takes part needs it too."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, executable: str, namespace: str = "", **parameters: Any) -> subprocess.Popen[bytes]:
        """Start one under a namespace; in the logs and for `wait_for_log` its name is that of both."""
        name = "_".join(filter(None, [namespace.strip("/"), executable]))
        words: list[str | Path] = [
            installed_prefix() / "lib" / PACKAGE / executable,
            *_arguments(namespace, parameters),
        ]
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(words, env=os.environ | self.environment, stdout=log, stderr=log)
        self._processes[name] = process
        return process

    def wait_for_log(self, name: str, text: str) -> None:
        """Wait until a process has said `text`; raises as `wait_until`."""
        log = self._log(name)
        what = f"{text!r} in {log}: does DDS discovery work here?"
        self.wait_until(lambda: text in log.read_text(errors="replace"), what)

    def wait_for_end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process has ended well; raises LiveError where it, or another meanwhile, did not."""
        while process.poll() is None:
            self.check()
            time.sleep(_POLL_S)
        if process.returncode != 0:
            self.check()
        self._processes = {name: other for name, other in self._processes.items() if other is not process}

    def wait_until(self, condition: Callable[[], object], what: str, timeout_s: float = _PATIENCE_S) -> None:
        """Wait for a condition; raises LiveError where a process ends meanwhile, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise LiveError(f"waited {timeout_s:g} s for {what}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise LiveError with the end of the log of a process that has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                tail = self._log(name).read_text(errors="replace").strip().splitlines()[-5:]
                raise LiveError(f"{name} ended with code {process.returncode}: {' | '.join(tail) or 'it said nothing'}")

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


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


def _environment(folder: Path, domain: int) -> dict[str, str]:
    profile = str(installed_share() / "config" / "dds" / "localhost_large_messages.xml")
    distro = os.environ.get("ROS_DISTRO")
    only_here = {"ROS_LOCALHOST_ONLY": "1"} if distro == "humble" else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    # Fast DDS 3 reads the file of the older name too, and then complains of every transport that is there twice.
    library = "FASTRTPS" if distro in ("humble", "jazzy") else "FASTDDS"
    return {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_LOG_DIR": str(folder / "log"),
        "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH") or sys.prefix,
        f"{library}_DEFAULT_PROFILES_FILE": profile,
        **only_here,
    }


def _arguments(namespace: str, parameters: Mapping[str, Any]) -> list[str]:
    arguments = ["--ros-args", *(["-r", f"__ns:={namespace}"] if namespace else [])]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{name}:={text}"]
    return arguments
