"""Make the working tree usable from an environment as if colcon had installed it there.

Usage: <environment>/bin/python tools/link_package.py PREFIX

The Python packages become links in site-packages (with the root itself on the path, launch/ would pass for ROS's
`launch`), and so do package.xml, launch, config and bundles under share/, where `ros2 launch` looks. Executables go to
lib/vpr_distill_ros/, where `ros2 run` and launch files look, and those for a shell to bin/ too.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import setuptools  # noqa: F401  provides distutils where Python has none

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "vpr_distill_ros"
FOR_A_SHELL = ("vpr-distill",)
SHARED = ("launch", "config", "bundles")

# The first lines are both shell and Python: a shebang cannot set variables, and the loader reads them at start.
SCRIPT = """#!/bin/sh
'''exec' env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE "AMENT_PREFIX_PATH={prefix}${{AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}}" \
"LD_LIBRARY_PATH={prefix}/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}" "{prefix}/bin/python" "$0" "$@"
' '''
import sys

if __name__ == "__main__":  # a process that this one spawns imports the file again
    from {module} import {function}

    sys.exit({function}())
"""


def console_scripts() -> dict[str, tuple[str, str]]:
    """Name to (module, function) of every executable that setup.py declares."""
    from distutils.core import run_setup

    os.chdir(ROOT)
    declared = run_setup("setup.py", stop_after="init").entry_points["console_scripts"]
    parts = (entry.replace(" ", "").replace("=", ":").split(":") for entry in declared)
    return {name: (module, function) for name, module, function in parts}


def replace_link(link: Path, target: Path) -> None:
    """A link at `link`, whatever link was there before."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def shared_files(folder: str) -> list[str]:
    found = sorted((ROOT / folder).rglob("*"))
    return [str(path.relative_to(ROOT)) for path in found if path.is_file() and "__pycache__" not in path.parts]


def link_files(target: Path, names: list[str]) -> None:
    """File by file: `ros2 launch` looks for launch files without following links to folders."""
    for name in SHARED:
        if (target / name).is_symlink():
            (target / name).unlink()
        shutil.rmtree(target / name, ignore_errors=True)
    for name in names:
        replace_link(target / name, ROOT / name)


def write_scripts(prefix: Path) -> None:
    for name, (module, function) in console_scripts().items():
        script = prefix / "lib" / PACKAGE / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(SCRIPT.format(prefix=prefix, module=module, function=function))
        script.chmod(0o755)
        if name in FOR_A_SHELL:
            replace_link(prefix / "bin" / name, script)


def main(arguments: list[str]) -> None:
    prefix = Path(arguments[0]).absolute()
    for name in ("vpr_core", PACKAGE):
        replace_link(Path(sysconfig.get_path("purelib"), name), ROOT / name)
    share = prefix / "share"
    replace_link(share / "ament_index" / "resource_index" / "packages" / PACKAGE, ROOT / "resource" / PACKAGE)
    link_files(share / PACKAGE, ["package.xml", *(name for folder in SHARED for name in shared_files(folder))])
    write_scripts(prefix)


if __name__ == "__main__":
    main(sys.argv[1:])
