"""What the machine offers before the environment is made: its Python, and a ROS 2 that is sourced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

PYTHONS = ((3, 10), (3, 13))

# Run by a Python outside the environment, with what is sourced.
PROBE = """
import importlib.metadata, importlib.util, json
def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
names = sorted({(d.metadata["Name"] or "").lower().replace("_", "-") for d in importlib.metadata.distributions()})
try:
    import numpy
    numpy_version = numpy.__version__
except ImportError:
    numpy_version = ""
print(json.dumps({"names": names, "numpy": numpy_version, "cv2": has("cv2"), "torch": has("torch")}))
"""


def without_stale_guard() -> dict[str, str]:
    """This process's environment less the guard that the ROS wheels leave to child processes.

    With it, the Python of another environment would not look for its own libraries.
    """
    return {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}


class SetupError(Exception):
    """The environment cannot be made; the text says why and what to do."""


@dataclass(frozen=True)
class SourcedRos:
    """A ROS 2 installation whose setup file was sourced, and the Python packages that come with its system."""

    distro: str
    provided: frozenset[str]
    numpy: str

    @property
    def needs_numpy_1(self) -> bool:
        """Extension modules compiled for NumPy 1 do not load with NumPy 2."""
        return self.numpy.startswith("1.")


def check_python() -> None:
    """Raises SetupError unless this Python is one for which every locked package has a wheel."""
    low, high = PYTHONS
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f"Python {sys.version.split()[0]} ({sys.executable}) cannot be used: 3.{low[1]} to 3.{high[1]} is needed. "
            "Name another one: make env PYTHON=python3.12"
        )


def check_compiler() -> None:
    """Raises SetupError where our messages cannot be compiled for this Python."""
    if not shutil.which("c++") or not shutil.which("cc"):
        raise SetupError("a C and a C++ compiler are needed for the messages: apt install build-essential")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise SetupError(f"{sys.executable} has no headers (Python.h): apt install python3-dev")


def sourced_ros() -> SourcedRos | None:
    """The sourced ROS 2; None where none is. Raises SetupError where it is not for this Python."""
    distro = os.environ.get("ROS_DISTRO")
    if not distro:
        return None
    if subprocess.run([sys.executable, "-c", "import rclpy"], capture_output=True).returncode != 0:
        raise SetupError(
            f"ROS 2 {distro} is sourced, but {sys.executable} cannot import its rclpy. Name the Python that it was "
            "built for (mostly: make env PYTHON=/usr/bin/python3), or use a shell where no ROS is sourced"
        )
    answer = json.loads(subprocess.check_output([sys.executable, "-c", PROBE]))
    provided = set(answer["names"])
    # Debian's OpenCV comes without the metadata that pip would know it by; a robot's torch may be its vendor's.
    provided |= {"opencv-python-headless"} if answer["cv2"] else set()
    provided |= {"torch"} if answer["torch"] else set()
    return SourcedRos(distro, frozenset(provided), answer["numpy"])
