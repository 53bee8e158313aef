"""Make the project's Python environment, with a ROS 2 in it where none is sourced.

Usage: python3 tools/make_env.py FOLDER          (`make env` makes .venv)

Each step is done again only when what it depends on has changed, so that a call on a finished environment is quick.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import locks
from host import SetupError, SourcedRos, check_compiler, check_python, sourced_ros, without_stale_guard

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "env"
STAMP = "vpr_env.json"
# Run by the environment's Python: they need what is installed there.
BUILDER, LINKER = ROOT / "tools" / "build_messages.py", ROOT / "tools" / "link_package.py"

# What a failing command's log says, and what to do; the first that fits is shown.
ADVICE = (
    (("Failed to establish a new connection", "Temporary failure in name resolution", "Network is unreachable",
      "Max retries exceeded", "ReadTimeout"), "the package index cannot be reached: is there a network, or a mirror "
     "named in pip's configuration? Then run `make env` again"),
    (("No space left on device",), "the disk is full: about 3 GB are needed"),
    (("ensurepip is not available", "No module named venv"), "this Python lacks venv: apt install python3-venv"),
    (("'cmake'",), "CMake is needed: apt install cmake"),
    (("No matching distribution found",), "no wheel for this machine: Linux on x86_64 with Python 3.10 to 3.13 has "
     "them all; elsewhere source a ROS 2 before `make env`"),
)  # fmt: skip

LOADED = (
    *("PIL", "cv2", "faiss", "numpy", "onnx", "onnxruntime", "pyarrow", "rclpy", "safetensors", "small_gicp"),
    *("tokenizers", "torch", "transformers"),
)


@dataclass(frozen=True)
class Step:
    """One part of the environment: `inputs` (text and files) decide whether what is there is still right."""

    name: str
    run: Callable[[], None]
    inputs: Sequence[str | Path]

    @property
    def key(self) -> str:
        digest = hashlib.sha256(self.name.encode())
        for item in self.inputs:
            digest.update(item.read_bytes() if isinstance(item, Path) else item.encode())
            digest.update(b"\0")
        return digest.hexdigest()


class Environment:
    """A virtual environment under `prefix`; `ros` is the sourced ROS 2 that it stands on, or None."""

    def __init__(self, prefix: Path, ros: SourcedRos | None) -> None:
        self.prefix, self.ros = prefix, ros
        self.python = prefix / "bin" / "python"
        self.lock = "base-numpy1.txt" if ros and ros.needs_numpy_1 else "base.txt"
        self.provided = ros.provided if ros else frozenset()

    @property
    def constraints(self) -> dict[str, str]:
        """For torch's dependencies, and for what builds empy, which has no wheel. pip's versions differ in the name."""
        return dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), f"requirements/{self.lock}")

    def steps(self) -> list[Step]:
        """Everything to be done, in order."""
        base = f"{self.prefix} {sys.version} {sys.base_prefix} {self.ros.distro if self.ros else 'wheels'}"
        same = [base, Path(__file__)]
        lock, ros_lock = (locks.REQUIREMENTS / name for name in (self.lock, "ros.txt"))
        package = ROOT / "vpr_distill_msgs"
        sources = [package / "CMakeLists.txt", package / "package.xml", *sorted(package.glob("[ms][sr][gv]/*"))]
        shared = [
            str(path) for folder in ("launch", "config", "bundles") for path in sorted((ROOT / folder).rglob("*.*"))
        ]
        steps = [
            Step("virtual environment", self.create, [base]),
            Step("torch", self.install_torch, [*same, *locks.pins(self.lock)["torch"]]),
            Step("Python packages", self.install_packages, [*same, lock]),
            Step("ROS 2 Kilted as wheels", self.install_ros, [*same, ros_lock]),
            Step("vpr_distill_msgs", self.build_messages, [*same, ros_lock, BUILDER, *sources]),
            Step("vpr_distill_ros", self.link, [*same, str(ROOT), ROOT / "setup.py", LINKER, *shared]),
        ]
        if self.ros:
            steps = [step for step in steps if step.run != self.install_ros]
        return [*steps, Step("everything imports", self.verify, [step.key for step in steps])]

    def create(self) -> None:
        if self.prefix.exists() and any(self.prefix.iterdir()) and not (self.prefix / "pyvenv.cfg").exists():
            raise SetupError(f"{self.prefix} is there and is not a virtual environment: name another folder")
        flags = ["--system-site-packages"] if self.ros else []
        # Without a stamp it is somebody's own or half made: it is completed, not emptied.
        flags += ["--clear"] if (self.prefix / STAMP).exists() else []
        self.logged("venv", [sys.executable, "-m", "venv", *flags, str(self.prefix)])
        (self.prefix / "COLCON_IGNORE").touch()

    def install_torch(self) -> None:
        """By its exact version and before all others, so that none of them brings another build of it."""
        if "torch" not in self.provided:
            (pin,) = locks.pins(self.lock)["torch"]
            self.pip("torch", [pin])

    def install_packages(self) -> None:
        added = locks.without(self.lock, {*self.provided, "torch"})
        self.install_pins("packages", added)
        replaced = self.conflicting(added) if self.ros else set()
        while replaced:
            extra = {name: locks.pins(self.lock)[name] for name in replaced}
            self.install_pins("packages-replaced", extra)
            added |= extra
            replaced = self.conflicting(added)

    def conflicting(self, added: dict[str, list[str]]) -> set[str]:
        """The system's packages that do not go together with `added`."""
        command = [self.python, "-m", "pip", "check"]
        check = subprocess.run(command, capture_output=True, text=True, env=without_stale_guard())
        return locks.missing_after(check.stdout, self.lock, added)

    def install_ros(self) -> None:
        self.install_pins("ros", locks.pins("ros.txt"))

    def install_pins(self, log: str, pins: dict[str, list[str]]) -> None:
        """The locks are complete, so nothing has to be resolved, and nothing else comes along."""
        chosen = LOGS / f"{log}.txt"
        chosen.write_text("\n".join(line for lines in pins.values() for line in lines) + "\n")
        self.pip(log, ["--no-deps", "--requirement", str(chosen)])

    def build_messages(self) -> None:
        if self.ros and self.messages_are_sourced():
            return
        build = ROOT / "build" / "messages"
        self.logged("messages", [str(self.python), str(BUILDER), str(build), str(self.prefix)])

    def messages_are_sourced(self) -> bool:
        """Whether vpr_distill_msgs comes from a sourced workspace, and not from an earlier build of ours."""
        # A name is asked for: in the working tree the package's source folder itself passes for an empty package.
        code = "from vpr_distill_msgs.msg import PlaceMatch; import vpr_distill_msgs as m; print(m.__file__)"
        command = [self.python, "-c", code]
        answer = subprocess.run(command, capture_output=True, text=True, env=without_stale_guard())
        return answer.returncode == 0 and self.prefix not in Path(answer.stdout.strip()).parents

    def link(self) -> None:
        self.logged("link", [str(self.python), str(LINKER), str(self.prefix)])

    def verify(self) -> None:
        """What has extension modules is loaded in one process, where their libraries meet."""
        libraries = os.pathsep.join([str(self.prefix / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
        code = f"import {', '.join(LOADED)}; from vpr_distill_msgs.msg import PlaceMatch; PlaceMatch(); "
        code += "from tf2_msgs.msg import TFMessage; TFMessage(); "
        code += "print(torch.__version__, torch.version.cuda or '')"
        self.logged("verify", ["env", f"LD_LIBRARY_PATH={libraries}", str(self.python), "-c", code])
        version, *cuda = (LOGS / "verify.log").read_text().split()[-2:]
        if cuda and "torch" not in self.provided:
            print("env: torch came with CUDA. A CPU build is far smaller: name PyTorch's index of CPU wheels to pip")

    def pip(self, log: str, arguments: list[str]) -> None:
        quiet = ["--no-input", "--progress-bar", "off", "--disable-pip-version-check", "--retries", "2"]
        self.logged(log, [str(self.python), "-m", "pip", "install", *quiet, *arguments])

    def logged(self, log: str, command: list[str]) -> None:
        """Run with the output in build/env/`log`.log. Raises SetupError with its end and what to do."""
        path = LOGS / f"{log}.log"
        with path.open("w") as output:
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
            result = subprocess.run(command, cwd=ROOT, env=without_stale_guard() | self.constraints, **streams)
        if result.returncode != 0:
            text = path.read_text(errors="replace")
            advice = next((what for signs, what in ADVICE if any(sign in text for sign in signs)), "the log says more")
            tail = "\n".join(text.splitlines()[-15:])
            raise SetupError(f"{tail}\nmake env: the step above failed ({path}): {advice}")


def make(environment: Environment) -> None:
    """Do the steps whose inputs have changed; what is done is written down after each."""
    stamp = environment.prefix / STAMP
    done = json.loads(stamp.read_text()) if stamp.exists() else {}
    for step in environment.steps():
        if done.get(step.name) == step.key:
            continue
        start = time.monotonic()
        step.run()
        done = (done if stamp.exists() else {}) | {step.name: step.key}
        stamp.write_text(json.dumps(done, indent=1))
        print(f"env: {step.name} ({time.monotonic() - start:.0f} s)", flush=True)


def main(arguments: list[str]) -> int:
    prefix = Path(os.path.abspath(arguments[0]))
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS.parent / "COLCON_IGNORE").touch()
    try:
        check_python()
        ros = sourced_ros()
        if not ros:
            check_compiler()
        with (LOGS / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            make(Environment(prefix, ros))
    except SetupError as failure:
        print(f"make env failed: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
