"""`vpr-distill evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveFloat
from tqdm import tqdm

from vpr_core.commands.options import add_device, check_output_file, file_ending, named_path
from vpr_core.commands.submission import submitted
from vpr_core.errors import FramesError, VprError

if TYPE_CHECKING:
    from vpr_core.evaluation.comparison import Compared, Drives
    from vpr_core.evaluation.evaluate import Evaluation
    from vpr_core.evaluation.latency import TimedBundle
    from vpr_core.evaluation.methods import Method
    from vpr_core.evaluation.reranking import Reranked
    from vpr_core.evaluation.results import Tables
    from vpr_core.retrieval.local_features import FeatureKind

METRICS = ("cosine", "euclidean")


def define(command: ArgumentParser) -> None:
    """Print Recall@N, precision and recall of query drives or of every pair of runs, for any number of methods.

    A method is a bundle, beside which stands a grey thumbnail or a LiDAR's Scan Context; a checkpoint, a fused teacher
    too; or the descriptors or ranked lists that any other program wrote. docs/metrics.md defines every figure and the
    formats of files.
    """
    command.add_argument("--bundle", type=Path, default=None, help="folder written by `export`")
    command.add_argument(
        "--checkpoints", nargs="+", default=[], metavar="[NAME=]FOLDER",
        help="folders written by the trainings; NAME is what tables call it, otherwise the folder's name",
    )  # fmt: skip
    command.add_argument(
        "--descriptors", nargs="+", default=[], metavar="[NAME=]FILE",
        help=".npz of any method: arrays database [M, D] and query [N, D] (query_NAME of several drives, run_NAME of "
        "--runs), a row for each frame in the order of frames.csv",
    )  # fmt: skip
    command.add_argument(
        "--ranked", nargs="+", default=[], metavar="[NAME=]FILE",
        help=".npz with ranked [N, K], rows of the database for each query, or CSV with the columns query_stamp_ns, "
        "database_stamp_ns_1, ...; without scores there is no precision over recall",
    )  # fmt: skip
    command.add_argument("--database", type=Path, default=None, help="frames folder of the map drive")
    command.add_argument(
        "--map", type=Path, default=None,
        help="in place of --database: a place map made with --bundle, as it is stored (several sessions, pruned)",
    )  # fmt: skip
    command.add_argument("--queries", type=Path, nargs="+", default=[], help="frames folders of query drives")
    command.add_argument(
        "--runs", type=Path, nargs="+", default=[], help="in their place: frames folders, each the map of all others"
    )
    command.add_argument(
        "--metric", choices=[*METRICS, "both"], default="cosine",
        help="what ranks the places: the angle between descriptors, as DistilVPR evaluates, or the distance of raw "
        "ones, as PointNetVLAD and MinkLoc++ do; the same for descriptors of unit length, which then have one row",
    )  # fmt: skip
    command.add_argument("--radius_m", type=PositiveFloat, default=10.0, help="a match within this distance is right")
    command.add_argument(
        "--max_heading_deg", type=PositiveFloat, default=None,
        help="and only where the headings differ by no more than this, as in MSLS with 40; any heading by default",
    )  # fmt: skip
    command.add_argument("--out", type=file_ending(".json", ".csv"), default=None, help="also write the tables to this")
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
    command.add_argument(
        "--save_descriptors", type=file_ending(".npz"), default=None,
        help="also write the descriptors of the bundle, or else of the first checkpoint, as --descriptors reads them",
    )  # fmt: skip
    command.add_argument(
        "--submission", type=file_ending(".csv", ".txt"), default=None,
        help="in place of figures write the file of the MSLS challenge, a query's key and those of the ranked places a "
        "line, by the first method given; needs no poses (docs/datasets.md)",
    )  # fmt: skip
    command.add_argument(
        "--rerank", type=NonNegativeInt, default=0,
        help="also put so many places that the bundle and the checkpoints find by cosine in the order of what their "
        "pictures share with the query's (the paper: 100), with recall, times and memory beside those without",
    )  # fmt: skip
    command.add_argument(
        "--features",
        type=str,
        default=None,
        metavar="NAME",
        help="local features that --rerank compares, by the names of `map --features`; sift by default",
    )
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.evaluation.descriptors import by_array, save_described
    from vpr_core.evaluation.latency import TimedBundle
    from vpr_core.evaluation.methods import raw
    from vpr_core.evaluation.results import tables
    from vpr_core.retrieval.bundle import Bundle

    _check(options)
    for name in ("out", "pr", "report", "save_descriptors", "submission"):
        check_output_file(Path(options[name]) if options[name] else None, f"--{name}")
    kind = _features(options)
    drives = _drives(options)
    if options["save_descriptors"]:
        by_array(drives.database, drives.queries)
    bundle = raw(Bundle.load(options["bundle"], options["device"])) if options["bundle"] else None
    timed = TimedBundle(bundle, options["device"]) if bundle and (options["report"] or options["rerank"]) else None
    methods = _methods(options, drives, bundle=bundle, timed=timed)
    if options["submission"]:
        print(submitted(Path(options["submission"]), methods, options, drives))
        return
    lists = _ranked(options, drives)
    read_first = sorted(methods, key=lambda method: not method.is_read)  # what does not fit shows before the long part
    by_name = {method.name: _evaluated(method, drives, options) for method in read_first}
    compared = [by_name[method.name] for method in methods]
    reranked = _reranked(compared, drives, options, kind)
    found = [evaluation for one in compared for evaluation in one.evaluations] + lists
    found += [one.evaluation for one in reranked]
    of_all = {**tables(found, drives), **_costs(reranked, timed)}
    _print(found, of_all)
    _say_what_is_alike(compared, options["metric"])
    if options["save_descriptors"]:
        print(save_described(Path(options["save_descriptors"]), compared[0].described(drives)))
    _write(found, of_all, options, timed)


def _check(options: dict[str, Any]) -> None:
    """Raise VprError where options do not go together."""
    runs, database, queries = options["runs"], options["database"] or options["map"], options["queries"]
    if bool(database) != bool(queries) or bool(runs) == bool(queries) or (options["database"] and options["map"]):
        given = " and ".join(f"--{name}" for name in ("database", "map", "queries", "runs") if options[name])
        raise FramesError(
            f"evaluate takes --database or --map with --queries, or --runs alone; given: {given or 'none'}"
        )
    _check_map(options)
    if not any(options[name] for name in ("bundle", "checkpoints", "descriptors", "ranked")):
        raise VprError("nothing to evaluate: give --bundle, --checkpoints, --descriptors or --ranked")
    if options["save_descriptors"] and not (options["bundle"] or options["checkpoints"]):
        raise VprError("--save_descriptors writes those of a --bundle or of --checkpoints; neither is given")
    others = [name for name in ("out", "pr", "report", "save_descriptors") if options[name]]
    if options["submission"] and others:
        raise VprError(f"--submission stands in place of figures: give it without --{others[0]}")
    if options["features"] and not options["rerank"]:
        raise VprError("--features are what --rerank compares: give --rerank too, such as --rerank 100")
    if options["rerank"] and (options["metric"] == "euclidean" or not (options["bundle"] or options["checkpoints"])):
        raise VprError("--rerank takes what a --bundle or --checkpoints find by cosine: give one, and --metric cosine")
    named = [named_path(text)[0] for name in ("checkpoints", "descriptors", "ranked") for text in options[name]]
    named += ["bundle", "thumbnail", "scan_context"] if options["bundle"] else []
    if twice := [name for name in named if named.count(name) > 1]:
        raise VprError(f"two methods are called {twice[0]}: give one another name, as in --descriptors NAME=FILE")


def _check_map(options: dict[str, Any]) -> None:
    """Raise VprError where an option needs more of the database than a map has."""
    if not options["map"]:
        return
    if not options["bundle"]:
        raise VprError("--map has descriptors of a bundle: give the --bundle that it was made with")
    beside = ("checkpoints", "descriptors", "ranked", "rerank", "report", "save_descriptors", "submission")
    if others := [name for name in beside if options[name]]:
        raise VprError(f"--{others[0]} takes the database's frames, which a map does not have: give --database")
    if options["metric"] != "cosine":
        raise VprError("--map has descriptors of unit length, which cosine ranks: leave --metric as it is")


def _drives(options: dict[str, Any]) -> Drives:
    from vpr_core.data.frames import Frames
    from vpr_core.evaluation.comparison import Drives
    from vpr_core.evaluation.of_map import drive_of_map

    drives = tuple(Frames.load(folder) for folder in options["runs"] or options["queries"])
    if options["map"]:
        return Drives(drive_of_map(options["map"], drives[0].area[0]), drives)
    return Drives(Frames.load(options["database"]) if options["database"] else None, drives)


def _methods(options: dict[str, Any], drives: Drives, *, bundle: Any, timed: TimedBundle | None) -> list[Method]:
    """What describes drives; files are read before anything is described."""
    from vpr_core.evaluation.comparison import described_method
    from vpr_core.evaluation.descriptors import load_described
    from vpr_core.evaluation.methods import Method, baseline, bundle_method
    from vpr_core.evaluation.of_map import map_method
    from vpr_core.evaluation.search import SEARCH

    if options["map"]:
        return [map_method(bundle, options["map"])]
    methods = []
    if timed:
        methods.append(Method("bundle", timed.describe, {**SEARCH, "cosine": timed.retrieve}))
    elif bundle:
        methods.append(bundle_method(bundle))
    methods += [_checkpoint(*named_path(text), drives, options["device"]) for text in options["checkpoints"]]
    methods += [baseline(bundle)] if bundle else []
    for name, path in map(named_path, options["descriptors"]):
        methods.append(described_method(name, load_described(path), drives))
    return methods


def _checkpoint(name: str, folder: Path, drives: Drives, device: str) -> Method:
    from vpr_core.data.frames import Frames
    from vpr_core.data.samples import Samples
    from vpr_core.evaluation.methods import Method
    from vpr_core.training.checkpoint import load_checkpoint
    from vpr_core.training.network_input import EMBEDDING, NetworkInput, check_sensors
    from vpr_core.training.validate import describe_samples

    loaded = load_checkpoint(folder)
    model, taken = loaded.model.to(device), NetworkInput.from_json(loaded.modality, loaded.input)
    check_sensors(loaded.modality, [*([drives.database] if drives.database else []), *drives.queries], taken.labels)

    def describe(drive: Frames) -> Any:
        return describe_samples(model, taken, Samples([drive]), normalize=False)[EMBEDDING]

    return Method(name, describe)


def _evaluated(method: Method, drives: Drives, options: dict[str, Any]) -> Compared:
    from vpr_core.evaluation.comparison import evaluate_method

    metrics = METRICS if options["metric"] == "both" else (options["metric"],)
    frames = sum({drive.folder: len(drive) for drive in drives.all}.values())
    with tqdm(total=frames, desc=method.name, unit="frame", disable=method.is_read) as bar:
        return evaluate_method(method, drives, options["radius_m"], metrics, bar.update, options["max_heading_deg"])


def _ranked(options: dict[str, Any], drives: Drives) -> list[Evaluation]:
    from vpr_core.evaluation.comparison import evaluate_ranked
    from vpr_core.evaluation.ranked import load_ranked

    return [
        evaluation
        for name, path in map(named_path, options["ranked"])
        for evaluation in evaluate_ranked(
            name, load_ranked(path), drives, options["radius_m"], options["max_heading_deg"]
        )
    ]


def _features(options: dict[str, Any]) -> FeatureKind | None:
    """What --rerank compares, loaded before the long part."""
    from vpr_core.retrieval.local_features import DEFAULT, load_features

    return load_features(options["features"] or DEFAULT, options["device"]) if options["rerank"] else None


def _reranked(
    compared: Sequence[Compared], drives: Drives, options: dict[str, Any], kind: FeatureKind | None
) -> list[Reranked]:
    from vpr_core.evaluation.reranking import ReRanking

    if kind is None:
        return []
    networks = {"bundle", *(named_path(text)[0] for text in options["checkpoints"])}
    chosen = [
        (evaluation, one.rows)
        for one in compared
        for evaluation in one.evaluations
        if evaluation.method in networks and evaluation.metric == "cosine"
    ]
    with tqdm(desc=f"re-rank by {kind.name}", unit="frame") as bar:
        reranking = ReRanking(kind, options["rerank"], bar.update)
        bar.reset(reranking.frames([evaluation for evaluation, _ in chosen]))
        return [reranking(evaluation, drives, rows) for evaluation, rows in chosen]


def _costs(reranked: Sequence[Reranked], timed: TimedBundle | None) -> Tables:
    """The table of what re-ranking gives and costs; none without it."""
    rows = [
        one.row(timed.median_query_ms(one.before.queries) if timed and one.before.method == "bundle" else None)
        for one in reranked
    ]
    return {"reranking": rows} if rows else {}


def _print(found: Sequence[Evaluation], of_all: Tables) -> None:
    from vpr_core.evaluation.results import direction_text, figures_text, reranking_text

    print(figures_text(of_all))
    print(
        f"a match within {found[0].limits_text()} is right; a query without one is skipped in recall, a "
        "negative in precision; docs/metrics.md defines every figure"
    )
    if left_out := max((average["pairs_left_out"] for average in of_all.get("averages", [])), default=0):
        print(f"{left_out} pairs without any query that has a true match are left out of the averages")
    print("by direction, the heading of a query against that of its nearest place:")
    print(direction_text(of_all))
    if rows := of_all.get("reranking"):
        print("re-ranked, medians of times [ms] for a query and memory of a place [KiB]:")
        print(reranking_text(rows))


def _say_what_is_alike(compared: Sequence[Compared], metric: str) -> None:
    alike = list(dict.fromkeys(one.evaluations[0].method for one in compared if one.has_unit_length))
    if metric == "cosine" or not alike:
        return
    print(
        f"{', '.join(alike)}: descriptors of unit length, which Euclidean distance ranks as cosine does: one row "
        "stands for both"
    )
    if "bundle" in alike:
        print("an exported camera network ends in the normalisation; --checkpoints takes the raw one of its training")


def _write(found: Sequence[Evaluation], of_all: Tables, options: dict[str, Any], timed: TimedBundle | None) -> None:
    if options["out"]:
        from vpr_core.evaluation.results import write_tables

        write_tables(Path(options["out"]), of_all)
    if options["pr"]:
        from vpr_core.evaluation.figures import write_precision_recall

        write_precision_recall(Path(options["pr"]), found)
    if options["report"]:
        from vpr_core.evaluation.evaluation_report import write_evaluation_report

        print(write_evaluation_report(Path(options["report"]), found, timed, options["bundle"]))
