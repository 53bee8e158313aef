"""`vpr-distill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser


def define(command: ArgumentParser) -> None:
    """Record drives, train, map, and recognise places live in a ROS 2 node; writes demo/report.html."""
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder to write; an older demo is replaced")
    command.add_argument("--steps", type=int, default=None, help="training steps; the demo's own number by default")
    command.add_argument("--live", type=bool, default=True, help="run the ROS 2 nodes")


def run(options: dict[str, Any]) -> None:
    from vpr_core.experiments.demo import run_demo

    run_demo(**options)
