"""Build the interface package vpr_distill_msgs with CMake and install it into an environment.

tf2_msgs, which every ROS 2 has but the one that comes as wheels, is built from its definition where it is absent.

Usage: <environment>/bin/python tools/build_messages.py BUILD_FOLDER [PREFIX [PACKAGE ...]]

PREFIX (by default the environment itself) receives the package, or those whose folders are named instead of it. The
ROS 2 that they are built against is found through AMENT_PREFIX_PATH, and in the environment too when its ROS came as
wheels.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vpr_distill_msgs"
TF_PACKAGE = ROOT / "tools" / "tf2_msgs"
# The wheels' CMake exports carry the include folders of the machine they were made on.
FOREIGN_INCLUDES = re.compile(r'"/opt/python/[^"]*/include/python[^"]*"')


def point_exports_here(prefix: Path) -> int:
    """Make the ROS wheels' CMake exports name this Python's and numpy's headers; returns how many files changed."""
    import numpy

    here = f'"{sysconfig.get_path("include")};{numpy.get_include()}"'
    changed = 0
    for export in prefix.glob("share/*/cmake/export_*__rosidl_generator_pyExport.cmake"):
        text = export.read_text()
        fixed = FOREIGN_INCLUDES.sub(lambda _: here, text)
        if fixed != text:
            export.write_text(fixed)
            changed += 1
    return changed


def build_environment(prefix: Path) -> dict[str, str]:
    """The process environment for CMake: `prefix`, this Python's and its tools come before what is sourced."""
    env = dict(os.environ)
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
        env[name] = os.pathsep.join([str(prefix), sys.prefix, *filter(None, [env.get(name)])])
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    return env


def packages() -> list[Path]:
    """What is to be built. Beside this file a folder passes for a package, so one with messages is asked for."""
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != ROOT / "tools"]
    has_tf = importlib.util.find_spec("tf2_msgs") and importlib.util.find_spec("tf2_msgs.msg")
    return [PACKAGE] if has_tf else [PACKAGE, TF_PACKAGE]


def cmake_commands(package: Path, build: Path, prefix: Path) -> list[list[str]]:
    """Configure, compile and install, in this order."""
    configure = ["cmake", "-S", str(package), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"]
    configure += [f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DPython3_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja", path=build_environment(prefix)["PATH"]):
        configure += ["-G", "Ninja"]
    return [configure, ["cmake", "--build", str(build), "--parallel"], ["cmake", "--install", str(build)]]


def main(arguments: list[str]) -> None:
    build = Path(arguments[0]).resolve()
    prefix = Path(arguments[1] if len(arguments) > 1 else sys.prefix).resolve()
    # A cache of another Python or another prefix would be reused silently.
    shutil.rmtree(build, ignore_errors=True)
    point_exports_here(Path(sys.prefix))
    for package in [Path(folder).resolve() for folder in arguments[2:]] or packages():
        for command in cmake_commands(package, build / package.name, prefix):
            subprocess.run(command, check=True, env=build_environment(prefix))


if __name__ == "__main__":
    main(sys.argv[1:])
