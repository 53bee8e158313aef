"""`vpr-distill tables`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import (
    PositiveInt,
)


def define(command: ArgumentParser) -> None:
    """Measure what distillation gives: a teacher, students alone and distilled, over seeds and towns.

    Every network that is finished adds its rows to the CSV file, and those that stand in it are not trained again; so
    the command goes on where it was stopped. Networks are trained side by side, one a core, with one thread each.
    """
    command.add_argument("--out", type=Path, default=Path("tables/town.csv"), help="CSV file to add rows to")
    command.add_argument("--work", type=Path, default=Path("runs"), help="folder for drives and checkpoints")
    command.add_argument("--teacher", type=Path, default=Path("config/teacher/town.yaml"), help="recipe of the teacher")
    command.add_argument(
        "--students",
        type=Path,
        nargs="+",
        default=[Path("config/distill/town_camera.yaml"), Path("config/distill/town_lidar.yaml")],
        help="recipes of students; each is trained as it is and without its distillation",
    )
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="of weights and batches")
    command.add_argument("--train_towns", type=int, nargs="+", default=[1], help="towns to train on")
    command.add_argument("--test_towns", type=int, nargs="+", default=[2, 4], help="towns to test in")
    command.add_argument("--steps", type=PositiveInt | None, default=None, help="instead of the recipes' own")
    command.add_argument("--workers", type=PositiveInt | None, default=None, help="processes; one a core by default")


def run(options: dict[str, Any]) -> None:
    from vpr_core.experiments.tables import run_tables, tables_text

    print(tables_text(run_tables(**options)))
