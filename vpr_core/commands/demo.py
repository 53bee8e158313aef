"""`vpr-distill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt


def define(command: ArgumentParser) -> None:
    """Record drives, train a teacher and its students, and recognise places live in a ROS 2 node.

    It ends with report.html, demo.json and overview.jpg in the folder; bags, checkpoints, bundles and maps stay there.
    """
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder to write; an older demo is replaced")
    command.add_argument("--steps", type=PositiveInt, default=200, help="of every network; the recipes have 300")
    command.add_argument("--live", type=bool, default=True, help="run the ROS 2 nodes")


def run(options: dict[str, Any]) -> None:
    from vpr_core.experiments.demo import run_demo

    run_demo(**options)
