"""What is declared in setup.py, package.xml, the locks and the changelog agrees with the tree and with itself."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import setuptools  # noqa: F401  provides distutils where Python has none
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MANIFESTS = [ROOT / "package.xml", ROOT / "vpr_distill_msgs" / "package.xml"]
LOCKS = {"base.txt": ["base.in", "dev.in"], "ros.txt": ["ros.in"], "base-numpy1.txt": ["base.in", "dev.in"]}

# A folder of one machine, or the host of a package registry.
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:home|root|Users|work|opt/(?!ros/|python/))[\w./-]+")
REGISTRY = re.compile(
    r"pypi\.org|files\.pythonhosted|pypi\.python|registry\.npmjs|download\.pytorch\.org/whl|conda\.anaconda"
)


@pytest.fixture(scope="module")
def setup() -> Any:
    """The distribution that setup.py describes."""
    from distutils.core import run_setup

    before = Path.cwd()
    os.chdir(ROOT)
    try:
        return run_setup("setup.py", stop_after="init")
    finally:
        os.chdir(before)


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode != 0:
        pytest.skip(f"not a git checkout: {answer.stderr.strip()}")
    return [path for name in answer.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def version_of(manifest: Path) -> str:
    return ElementTree.parse(manifest).getroot().findtext("version", "")


@pytest.mark.parametrize(
    "script", ["localizer", "bag_replay", "map_builder", "match_recorder", "snapshot_recorder", "vpr-distill"]
)
def test_executables_resolve_to_callables(setup: Any, script: str) -> None:
    declared = dict(re.split(r"\s*=\s*", entry, maxsplit=1) for entry in setup.entry_points["console_scripts"])
    module, function = declared[script].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_every_launch_and_config_file_is_installed(setup: Any) -> None:
    installed = {name: target for target, names in setup.data_files for name in names}
    for path in [*(ROOT / "launch").rglob("*.launch.py"), *(path for path in (ROOT / "config").rglob("*.*"))]:
        name = path.relative_to(ROOT).as_posix()
        assert installed.get(name) == f"share/vpr_distill_ros/{Path(name).parent.as_posix()}", name
    assert installed["resource/vpr_distill_ros"] == "share/ament_index/resource_index/packages"


def test_every_folder_with_modules_is_an_installed_package(setup: Any) -> None:
    folders = {path.parent for name in ("vpr_core", "vpr_distill_ros") for path in (ROOT / name).rglob("*.py")}
    modules = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert modules == set(setup.packages)


def test_every_data_file_of_the_python_packages_is_installed(setup: Any) -> None:
    patterns = setup.package_data[""]
    for name in ("vpr_core", "vpr_distill_ros"):
        for path in tracked_files():
            if ROOT / name in path.parents and path.suffix != ".py":
                assert any(path.match(pattern) for pattern in patterns), path.relative_to(ROOT)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_package_manifest_is_valid(manifest: Path) -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(manifest), warnings=warnings)
    package.validate(warnings=warnings)
    assert (package.package_format, package.licenses, warnings) == (3, ["Apache-2.0"], [])
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_versions_agree(setup: Any) -> None:
    newest = re.search(r"^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest
    assert {version_of(manifest) for manifest in MANIFESTS} == {setup.get_version()} == {newest[1]}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked(lock: str) -> None:
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    loose = [str(pin) for pin in pinned if [part.operator for part in pin.specifier] != ["=="]]
    names = {canonicalize_name(pin.name) for pin in pinned}
    wanted = [text for name in LOCKS[lock] for text in (ROOT / "requirements" / name).read_text().splitlines()]
    requirements = [Requirement(text.split("#")[0]) for text in wanted if text.split("#")[0].strip()]
    assert not loose
    assert {canonicalize_name(requirement.name) for requirement in requirements} <= names
    assert not [name for name in names if name.startswith("nvidia") or name in {"torchvision", "triton"}]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked_files():
        # This file holds the patterns themselves.
        if path == Path(__file__) or b"\0" in (data := path.read_bytes())[:1024]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if MACHINE_PATH.search(line) or REGISTRY.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found


def test_the_command_line_runs_from_another_folder(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-m", "vpr_core", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "usage: " in answer.stdout
