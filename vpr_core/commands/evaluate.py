"""`vpr-distill evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import (
    PositiveFloat,
)

from vpr_core.commands.options import add_device, file_ending
from vpr_core.errors import FramesError


def define(command: ArgumentParser) -> None:
    """Print Recall@N of query drives or of every pair of runs, beside a grey thumbnail's or a LiDAR's Scan Context."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--database", type=Path, default=None, help="frames folder of the map drive")
    command.add_argument("--queries", type=Path, nargs="+", default=[], help="frames folders of query drives")
    command.add_argument(
        "--runs", type=Path, nargs="+", default=[], help="in their place: frames folders, each the map of all others"
    )
    command.add_argument(
        "--pr",
        type=file_ending(".svg", ".png", ".html"),
        default=None,
        help="also draw precision over recall to this file",
    )
    command.add_argument(
        "--report", type=file_ending(".html"), default=None,
        help="also write all of it to this HTML file: maps, pairs right and wrong, by condition and direction, latency",
    )  # fmt: skip
    command.add_argument("--radius_m", type=PositiveFloat, default=10.0, help="a match within this distance is right")
    command.add_argument("--out", type=Path, default=None, help="also write the rows to this JSON file")
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.evaluation.breakdown import DIRECTIONS, direction_row
    from vpr_core.evaluation.evaluate import evaluate, table_text
    from vpr_core.evaluation.latency import TimedBundle
    from vpr_core.evaluation.methods import bundle_and_baseline
    from vpr_core.evaluation.pairs import average_recall, evaluate_pairs
    from vpr_core.files import write_json
    from vpr_core.retrieval.bundle import Bundle

    runs, database, queries = options["runs"], options["database"], options["queries"]
    if bool(database) != bool(queries) or bool(runs) == bool(queries):
        given = " and ".join(f"--{name}" for name in ("database", "queries", "runs") if options[name])
        raise FramesError(f"evaluate takes --database with --queries, or --runs alone; given: {given or 'none'}")
    drives = [Frames.load(folder) for folder in runs or [database, *queries]]
    bundle = Bundle.load(options["bundle"], options["device"])
    timed, methods = TimedBundle(bundle, options["device"]), bundle_and_baseline(bundle)
    if options["report"]:
        methods["bundle"] = (timed.describe, timed.retrieve)
    found, averages = [], []
    for name, (describe, retrieve) in methods.items():
        if runs:
            found += evaluate_pairs(name, describe, drives, options["radius_m"], retrieve)
            averages.append(average_recall([evaluation for evaluation in found if evaluation.method == name]))
        else:
            found += evaluate(name, describe, drives[0], drives[1:], options["radius_m"], retrieve)
    rows = [evaluation.row() for evaluation in found]
    shares = ("recall_at_1", "recall_at_5", "recall_at_10", "recall_at_1_percent", "average_precision")
    columns = ("method", *(("database",) if runs else ()), "queries", *shares, "recall_at_100_precision")
    print(table_text([*rows, *averages], (*columns, "evaluated", "skipped")))
    right = f"a match within {options['radius_m']:g} m is right"
    print(f"{right}; a query without one is skipped in recall, a negative in precision")
    if left_out := max((average["pairs_left_out"] for average in averages), default=0):
        print(f"{left_out} pairs without any query that has a true match are left out of the averages")
    by_direction = [direction_row(evaluation) for evaluation in found]
    if not runs:
        print("recall_at_1 by direction, the heading of a query against that of its nearest place:")
        print(table_text(by_direction, ("method", "queries", *(name for one in DIRECTIONS
                                                               for name in (one, f"{one}_queries")))))  # fmt: skip
    if options["out"]:
        tables = {"rows": rows, "by_direction": by_direction, **({"averages": averages} if runs else {})}
        write_json(options["out"], tables)
    if options["pr"]:
        from vpr_core.evaluation.figures import write_precision_recall

        write_precision_recall(Path(options["pr"]), found)
    if options["report"]:
        from vpr_core.evaluation.bundle_report import write_bundle_report

        own = [evaluation for evaluation in found if evaluation.method == "bundle"]
        others = [evaluation for evaluation in found if evaluation.method != "bundle"]
        print(write_bundle_report(Path(options["report"]), options["bundle"], timed, own, others))
