"""`vpr-distill tables`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveFloat, PositiveInt

from vpr_core.commands.options import add_device, file_ending


def define(command: ArgumentParser) -> None:
    """Make the tables of a paper's plan: a teacher, and its students alone and distilled by every method, over seeds.

    A plan names columns (a teacher and a student) and rows (methods); each network is trained on made-up towns, tested
    in others, and printed beside the paper's figure, with what the order of the methods has in common. Every network
    that is finished adds its rows to the CSV file, and those that stand in it are not trained again; so the command
    goes on where it was stopped. Networks are trained side by side, one a core, with one thread each, some minutes
    each: choose with --columns, --methods and --seeds, and look with --train false before. For recipes of your own,
    write a plan like config/tables/table1_2.yaml.
    """
    command.add_argument(
        "plans", type=Path, nargs="*", default=[Path("config/tables")],
        help="YAML files, or folders of them (default: config/tables)",
    )  # fmt: skip
    command.add_argument("--columns", type=str, nargs="+", default=[], help="columns of the plans; all by default")
    command.add_argument("--methods", type=str, nargs="+", default=[], help="methods of the rows; all by default")
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of weights and batches")
    command.add_argument(
        "--data", choices=["town", "oxford", "boreas"], default="town", help="which of a plan's recipes, and drives"
    )
    command.add_argument("--train_towns", type=int, nargs="+", default=[1], help="towns to train on")
    command.add_argument("--test_towns", type=int, nargs="+", default=[2, 4], help="towns to test in")
    add_folders(command)
    command.add_argument("--steps", type=PositiveInt | None, default=None, help="instead of the recipes' own")
    command.add_argument("--train", type=bool, default=True, help="false: print what stands in the file, and no more")
    command.add_argument(
        "--out",
        type=Path,
        default=None,
        help="CSV file to add rows to (default: tables/town.csv, or of the other data)",
    )
    command.add_argument("--work", type=Path, default=Path("runs"), help="folder for drives and checkpoints")
    command.add_argument("--workers", type=PositiveInt | None, default=None, help="processes; one a core by default")
    add_device(command, "where the networks run; on cuda with one worker, where --workers says nothing else")
    command.add_argument("--details", type=bool, default=False, help="also print recall by town and condition")
    command.add_argument(
        "--picture", type=file_ending(".svg", ".png"), default=None,
        help="also draw what each method adds to the student alone, and what it adds in the paper, to this file",
    )  # fmt: skip


def add_folders(command: ArgumentParser) -> None:
    """Of the data sets, as `vpr-distill prepare` leaves them."""
    command.add_argument("--frames", type=Path, nargs="+", default=[], help="of oxford or boreas: folders to train on")
    command.add_argument("--validation", type=Path, nargs="+", default=[], help="a map drive, and drives that query it")
    command.add_argument("--runs", type=Path, nargs="+", default=[], help="test runs, each the map of all others")
    command.add_argument("--radius_m", type=PositiveFloat, default=25.0, help="of them, a match so near is right")


def run(options: dict[str, Any]) -> None:
    from vpr_core.experiments.plans import cells_of, choose, read_plans
    from vpr_core.experiments.sources import RunSource, Source, TownSource
    from vpr_core.experiments.table_report import report
    from vpr_core.experiments.tables import read_rows, rows_of, run_tables

    data, out = options["data"], options["out"] or Path("tables") / f"{options['data']}.csv"
    plans = choose(read_plans(options["plans"]), options["columns"], options["methods"], data)
    cells = cells_of(plans, data, options["seeds"], options["steps"])
    source: Source = TownSource(options["work"], options["train_towns"], options["test_towns"])
    if data != "town":
        frames, validation, runs = (options[name] for name in ("frames", "validation", "runs"))
        source = RunSource(options["work"], data, frames, validation, runs, options["radius_m"])
    if options["train"]:
        workers = options["workers"] or (1 if options["device"] == "cuda" else None)
        run_tables(cells, out, source, workers=workers, device=options["device"])
    rows = rows_of(cells, read_rows(out), source)
    print(report(plans, rows, source, options["details"] and data == "town"))
    if options["picture"]:
        from vpr_core.experiments.table_picture import write_picture

        write_picture(options["picture"], plans, rows, source)
