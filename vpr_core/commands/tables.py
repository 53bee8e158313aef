"""`vpr-distill tables`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveFloat, PositiveInt

from vpr_core.commands.options import add_device, file_ending

if TYPE_CHECKING:
    from vpr_core.experiments.sources import Source


def define(command: ArgumentParser) -> None:
    """Make the tables of a paper's plan: a teacher, and its students alone and distilled by every method, over seeds.

    A plan names columns (a teacher and a student) and rows (methods); each network is trained on made-up towns, tested
    in others, and printed beside the paper's figure, with what the order of the methods has in common. Every network
    that is finished adds its rows to the CSV file, and those that stand in it are not trained again; so the command
    goes on where it was stopped. Networks are trained side by side, one a core, with one thread each, some minutes
    each: choose with --columns, --methods and --seeds, and look with --train false before. `tables structvpr` makes
    the tables of StructVPR: for each seed both branches of its stage I once, the weights of the samples that `weigh`
    gives each row, and the students. For recipes of your own, write a plan like config/tables/table1_2.yaml.
    """
    command.add_argument(
        "plans", type=Path, nargs="*", default=[Path("distilvpr")],
        help="YAML files, folders of them, or distilvpr (the default) or structvpr for all tables of that paper",
    )  # fmt: skip
    command.add_argument("--columns", type=str, nargs="+", default=[], help="columns of the plans; all by default")
    command.add_argument("--methods", type=str, nargs="+", default=[], help="methods of the rows; all by default")
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of weights and batches")
    command.add_argument(
        "--data", choices=["town", "town_labels", "oxford", "boreas"], default=None,
        help="which of a plan's recipes, and drives; by default the town, with label images where the plans need them",
    )  # fmt: skip
    command.add_argument("--train_towns", type=int, nargs="+", default=[1], help="towns to train on")
    command.add_argument("--test_towns", type=int, nargs="+", default=[2, 4], help="towns to test in")
    add_folders(command)
    command.add_argument("--steps", type=PositiveInt | None, default=None, help="instead of the recipes' own")
    command.add_argument("--train", type=bool, default=True, help="false: print what stands in the file, and no more")
    command.add_argument(
        "--out",
        type=Path,
        default=None,
        help="CSV file to add rows to (default: tables/town.csv, town_structvpr.csv with labels, or of the other data)",
    )
    command.add_argument("--work", type=Path, default=Path("runs"), help="folder for drives and checkpoints")
    command.add_argument("--workers", type=PositiveInt | None, default=None, help="processes; one a core by default")
    add_device(command, "where the networks run; on cuda with one worker, where --workers says nothing else")
    command.add_argument("--details", type=bool, default=False, help="also print recall by town and condition")
    command.add_argument(
        "--picture", type=file_ending(".svg", ".png"), default=None,
        help="also draw what each method adds to the student alone, and what it adds in the paper, to this file",
    )  # fmt: skip
    command.add_argument(
        "--pictures", type=Path, default=None,
        help="of structvpr: also write its Figs. 1, 5 and 6 into this folder, of the networks that --work holds",
    )  # fmt: skip


def add_folders(command: ArgumentParser) -> None:
    """Of the data sets, as `vpr-distill prepare` leaves them."""
    command.add_argument("--frames", type=Path, nargs="+", default=[], help="of oxford or boreas: folders to train on")
    command.add_argument("--validation", type=Path, nargs="+", default=[], help="a map drive, and drives that query it")
    command.add_argument("--runs", type=Path, nargs="+", default=[], help="test runs, each the map of all others")
    command.add_argument("--radius_m", type=PositiveFloat, default=25.0, help="of them, a match so near is right")


def run(options: dict[str, Any]) -> None:
    from vpr_core.experiments.cells import cells_of
    from vpr_core.experiments.plans import choose, data_of, read_plans
    from vpr_core.experiments.table_report import report
    from vpr_core.experiments.tables import read_rows, rows_of, run_tables

    plans = read_plans(options["plans"])
    data = options["data"] or data_of(plans)
    plans = choose(plans, options["columns"], options["methods"], data)
    cells = cells_of(plans, data, options["seeds"], options["steps"])
    source, out = _source(data, options), options["out"] or Path("tables") / OUT.get(data, f"{data}.csv")
    if options["train"]:
        workers = options["workers"] or (1 if options["device"] == "cuda" else None)
        measured = [cell for cell in cells if cell.plan.shows == "recall"]
        run_tables(measured, out, source, workers=workers, device=options["device"])
    rows = rows_of(cells, read_rows(out, source.columns), source)
    print(report(plans, rows, source, options["details"] and data.startswith("town")))
    if options["picture"]:
        from vpr_core.experiments.table_picture import write_picture

        write_picture(options["picture"], plans, rows, source)
    if options["pictures"]:
        from vpr_core.experiments.structvpr_pictures import write_pictures

        print(*write_pictures(options["pictures"], rows, source), sep="\n")


OUT = {"town_labels": "town_structvpr.csv"}
"""Names of tables that are not those of their data."""


def _source(data: str, options: dict[str, Any]) -> Source:
    from vpr_core.experiments.sources import RunSource, TownSource

    if data.startswith("town"):
        towns = options["train_towns"], options["test_towns"]
        return TownSource(options["work"], *towns, labelled=data == "town_labels")
    frames, validation, runs = (options[name] for name in ("frames", "validation", "runs"))
    return RunSource(options["work"], data, frames, validation, runs, options["radius_m"])
