"""Build the interface package vpr_distill_msgs with CMake and install it into an environment.

Usage: <environment>/bin/python tools/build_messages.py BUILD_FOLDER [PREFIX]

PREFIX (by default the environment itself) receives the package. The ROS 2 that it is built against is found through
AMENT_PREFIX_PATH, and in the environment too when its ROS came as wheels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "vpr_distill_msgs"
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
    """The process environment for CMake: `prefix` and its tools come before what is sourced."""
    env = dict(os.environ)
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
        env[name] = os.pathsep.join([str(prefix), *filter(None, [env.get(name)])])
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    return env


def cmake_commands(build: Path, prefix: Path) -> list[list[str]]:
    """Configure, compile and install, in this order."""
    configure = ["cmake", "-S", str(PACKAGE), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"]
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
    for command in cmake_commands(build, prefix):
        subprocess.run(command, check=True, env=build_environment(prefix))


if __name__ == "__main__":
    main(sys.argv[1:])
