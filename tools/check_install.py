"""Check what a colcon build installed. Prints one line per part; names what is missing and exits with 1.

Usage: source INSTALL/setup.bash, then python tools/check_install.py INSTALL TREE
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoints, PackageNotFoundError, distribution
from pathlib import Path

from ament_index_python.packages import get_package_prefix

PACKAGE, MESSAGES = "vpr_distill_ros", "vpr_distill_msgs"


def files_below(folder: Path, *patterns: str) -> list[Path]:
    """Relative paths of the files that match, without Python's caches."""
    found = (path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    return sorted(path.relative_to(folder) for path in found if "__pycache__" not in path.parts)


def absent(source: Path, target: Path, *patterns: str) -> list[str]:
    """What matches below `source` and is not below `target`."""
    return [str(source.name / path) for path in files_below(source, *patterns) if not (target / path).is_file()]


def index_problems(install: Path) -> Iterator[str]:
    for package in (PACKAGE, MESSAGES):
        try:
            prefix = Path(get_package_prefix(package))
        except (LookupError, OSError) as error:
            yield str(error)
            continue
        if install not in prefix.parents:
            yield f"{package} is found in {prefix}, not in {install}"


def python_problems(install: Path, tree: Path) -> Iterator[str]:
    for name in ("vpr_core", PACKAGE):
        folder = Path(importlib.import_module(name).__file__ or "").parent
        if install not in folder.parents:
            yield f"{name} is imported from {folder}, not from {install}"
        yield from absent(tree / name, folder, "*.py", "*.csv", "*.html", "*.json", "*.yaml")


def shared_problems(install: Path, tree: Path, folder: str, pattern: str) -> Iterator[str]:
    source = tree / folder
    if not files_below(source, pattern):
        yield f"{folder}/{pattern}: none in the tree"
    yield from absent(source, install / PACKAGE / "share" / PACKAGE / folder, pattern)


def launch_problems(install: Path, tree: Path) -> Iterator[str]:
    """Where launch is at hand, every launch file is read too: what it imports has to be installed."""
    yield from shared_problems(install, tree, "launch", "*.launch.py")
    if importlib.util.find_spec("launch_ros") is None:
        return
    for path in (install / PACKAGE / "share" / PACKAGE / "launch").glob("*.launch.py"):
        try:
            runpy.run_path(str(path))["generate_launch_description"]()
        except Exception as error:
            yield f"{path.name}: {error}"


def executable_problems(install: Path) -> Iterator[str]:
    try:
        scripts = distribution(PACKAGE).entry_points.select(group="console_scripts")
    except PackageNotFoundError:
        scripts = EntryPoints()
    if not scripts:
        yield "no console script is declared"
    for script in scripts:
        path = install / PACKAGE / "lib" / PACKAGE / script.name
        if not os.access(path, os.X_OK):
            yield f"{path} is not an executable"
        try:
            script.load()
        except (ImportError, AttributeError) as error:
            yield f"{script.name}: {error}"
    command_line = install / PACKAGE / "lib" / PACKAGE / "vpr-distill"
    if not command_line.exists():
        return
    answer = subprocess.run([command_line, "--help"], capture_output=True, text=True)
    if answer.returncode != 0 or "usage" not in answer.stdout:
        yield f"{command_line} --help: {answer.stderr.strip()[-300:]}"


def message_problems(install: Path, tree: Path) -> Iterator[str]:
    for kind in ("msg", "srv"):
        try:
            module = importlib.import_module(f"{MESSAGES}.{kind}")
        except ImportError as error:
            yield str(error)
            continue
        if install not in Path(module.__file__ or "").parents:
            yield f"{module.__name__} is imported from {module.__file__}, not from {install}"
        for source in (tree / MESSAGES / kind).glob(f"*.{kind}"):
            interface = getattr(module, source.stem, None)
            if interface is None:
                yield f"{MESSAGES}/{kind}/{source.stem}"
            else:
                interface.__class__.__import_type_support__()


def main(arguments: list[str]) -> int:
    install, tree = (Path(argument).resolve() for argument in arguments)
    parts = {
        "both packages in the ament index": index_problems(install),
        "Python packages": python_problems(install, tree),
        "launch files": launch_problems(install, tree),
        "configuration": shared_problems(install, tree, "config", "*.*"),
        "bundles": shared_problems(install, tree, "bundles", "*.*"),
        "executables": executable_problems(install),
        "messages and services": message_problems(install, tree),
    }
    failed = False
    for part, problems in parts.items():
        found = list(problems)
        failed = failed or bool(found)
        print(f"colcon: {part}: {'ok' if not found else 'MISSING ' + '; '.join(found)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
