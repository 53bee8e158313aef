"""Build both packages with colcon into build/colcon/install, and check what landed there.

Usage: python3 tools/colcon_build.py ENVIRONMENT          (`make colcon`)
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from host import without_stale_guard

ROOT = Path(__file__).resolve().parent.parent
SPACE = ROOT / "build" / "colcon"
LOG = SPACE / "colcon.log"
PACKAGES = ["vpr_distill_msgs", "vpr_distill_ros"]


def sourced(prefix: Path) -> dict[str, str]:
    """The process environment as the setup file of `prefix` would leave it."""
    env = without_stale_guard() | {"COLCON_HOME": str(SPACE / "home")}
    for name, folder in {"AMENT_PREFIX_PATH": ".", "CMAKE_PREFIX_PATH": ".", "LD_LIBRARY_PATH": "lib"}.items():
        env[name] = os.pathsep.join([str((prefix / folder).resolve()), *filter(None, [env.get(name)])])
    env["PATH"] = os.pathsep.join([str(prefix / "bin"), env["PATH"]])
    return env


def build(prefix: Path) -> None:
    """Raises SystemExit with the log's end where colcon fails."""
    shutil.rmtree(SPACE, ignore_errors=True)
    SPACE.mkdir(parents=True)
    (SPACE.parent / "COLCON_IGNORE").touch()
    command = [str(prefix / "bin" / "python"), "-m", "colcon", "--log-base", str(SPACE / "log"), "build"]
    command += ["--base-paths", ".", "vpr_distill_msgs", "--allow-overriding", *PACKAGES]
    command += ["--build-base", str(SPACE / "build"), "--install-base", str(SPACE / "install")]
    command += ["--event-handlers", "console_cohesion+", "--cmake-args", "-DBUILD_TESTING=OFF"]
    command += ["-DCMAKE_BUILD_TYPE=Release", f"-DPython3_EXECUTABLE={prefix / 'bin' / 'python'}"]
    with LOG.open("w") as output:
        result = subprocess.run(
            command, cwd=ROOT, env=sourced(prefix), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    if result.returncode != 0:
        tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-30:])
        raise SystemExit(f"{tail}\nmake colcon: colcon build failed; its whole output is in {LOG}")


def check(prefix: Path) -> int:
    """Source the install space, as its user would, and look at it from there."""
    python, setup = prefix / "bin" / "python", SPACE / "install" / "setup.bash"
    checker = shlex.join([str(python), str(ROOT / "tools" / "check_install.py"), str(SPACE / "install"), str(ROOT)])
    script = f"source {shlex.quote(str(setup))} && exec {checker}"
    return subprocess.run(["bash", "-c", script], cwd=SPACE, env=sourced(prefix), stdin=subprocess.DEVNULL).returncode


def main(arguments: list[str]) -> int:
    prefix = Path(arguments[0]).absolute()
    if " " in str(ROOT):
        raise SystemExit(f"make colcon: colcon's setup files do not work in a path with a space: {ROOT}")
    build(prefix)
    return check(prefix)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
