"""Dockerfile and CI, which run elsewhere: what can be checked of them here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def required(name: str) -> dict[str, str]:
    """The lines of a requirements file by package."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements" / name).read_text().splitlines()]
    return {canonicalize_name(Requirement(line).name): line for line in lines if line}


def shell_commands() -> list[tuple[str, str]]:
    """Name and text of each command that CI, or the building of the image, gives to bash."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"] if "run" in step]
    named = [(step.get("name", step["run"]), re.sub(r"\$\{\{.*?\}\}", "x", step["run"])) for step in steps]
    joined = DOCKERFILE.replace("\\\n", " ")
    return named + [(f"RUN {number}", text) for number, text in enumerate(re.findall(r"^RUN (.*)", joined, re.M))]


@pytest.mark.parametrize(("name", "command"), shell_commands(), ids=[name for name, _ in shell_commands()])
def test_commands_are_bash_and_name_targets_and_files_that_are_there(name: str, command: str) -> None:
    parsed = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True)
    assert parsed.returncode == 0 and not parsed.stderr, parsed.stderr
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z]+)(?= |$)", command, re.M)) <= targets
    for file in re.findall(r"(?<=src/vpr_distill_ros/)[\w/]+\.py", command):
        assert (ROOT / file).is_file(), file


def test_ci_covers_every_python_and_distribution() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as true
    matrices = {name: job["strategy"]["matrix"] for name, job in workflow["jobs"].items()}
    assert matrices["plain"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert matrices["ros"]["distro"] == ["humble", "jazzy", "kilted"]
    assert set(matrices["image"]["distro"]) < set(matrices["ros"]["distro"])


def test_the_image_is_built_from_what_is_there() -> None:
    copied = [source for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.M) for source in line.split()[:-1]]
    assert copied and all((ROOT / source).exists() for source in copied)
    (torch,) = re.findall(r"^ARG TORCH=(.+)$", DOCKERFILE, re.M)
    assert torch == required("base.in")["torch"]
    assert (ROOT / "docker" / "entrypoint.sh").stat().st_mode & 0o111


def test_what_runs_on_a_robot_is_part_of_what_is_tested() -> None:
    runtime, tested = required("runtime.in"), required("base.in") | {"setuptools": "setuptools"}
    assert {name: tested.get(name) for name in runtime} == {**runtime, "jinja2": "jinja2"}
    assert "torch" not in runtime
