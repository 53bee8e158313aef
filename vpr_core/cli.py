"""The command line: `vpr-distill COMMAND --help` teaches each step; `python -m vpr_core` is the same."""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import re
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    restricted_number_type,
    restricted_string_type,
)
from tqdm import tqdm

from vpr_core.errors import FramesError, VprError
from vpr_core.training.recipe import Distillation, Recipe

DESCRIPTION = """Place recognition with one sensor: from recorded drives to a place map and live matches.

Each command reads folders and leaves a folder that the next one checks:

  synth          a drive through a made-up town      -> bag
  ingest         bag                                 -> frames
  train          frames                              -> checkpoint
  train-teacher  frames                              -> checkpoint of camera and LiDAR together
  distill        frames, a teacher's checkpoint      -> checkpoint
  export         checkpoint, frames                  -> bundle
  map            bundle, frames                      -> place map
  query          bundle, place map, bag              -> matches (JSON lines)
  evaluate       bundle, database and query frames   -> recall
  tables         recipes                             -> what distillation gives, over seeds and towns
  demo           all of it, with a live ROS 2 node   -> demo/report.html
"""


Similarity = restricted_number_type("Similarity", float, [(">=", -1), ("<=", 1)])
Picture = restricted_string_type("Picture", r"^.*[^/]\.(svg|png|html)$")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; errors that are the user's to mend end as one line on stderr and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = build_parser()
    config = parser.parse_args(arguments)
    try:
        _COMMANDS[config.subcommand](_values(config[config.subcommand]))
    except VprError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        _fail("interrupted", code=130)


def _fail(message: str, code: int = 1) -> None:
    print(f"vpr-distill: error: {message}", file=sys.stderr)
    sys.exit(code)


def _values(config: Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if name not in ("config", "__path__")}


def build_parser() -> ArgumentParser:
    """The parser of all commands; every option can also stand in a YAML file given with --config."""
    parser = ArgumentParser(
        prog="vpr-distill", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subcommands(dest="subcommand", metavar="COMMAND")
    for name, define in _DEFINITIONS.items():
        text = inspect.getdoc(define) or ""
        command = ArgumentParser(description=text)
        command.add_argument("--config", action="config", help="YAML file with options of this command")
        define(command)
        _show_defaults(command)
        commands.add_subcommand(name, command, help=re.split(r"\.\s|\.$", text)[0])
    return parser


def _show_defaults(command: ArgumentParser) -> None:
    for action in command._actions:
        if action.help and isinstance(action.default, (str, int, float, Path)) and action.default is not False:
            action.help = f"{action.help.rstrip('.')} (default: {action.default})"


def _define_synth(command: ArgumentParser) -> None:
    """Record a drive through a made-up town as a ROS 2 bag. The same options give the same bag."""
    command.add_argument("--out", type=Path, required=True, help="bag folder to write")
    command.add_argument("--town", type=int, default=1, help="number of the town; another number, another town")
    command.add_argument("--condition", default="noon", help="noon, dusk, night or fog")
    command.add_argument("--route", default="loop", help="loop, lane (beside it), offmap or mixed")
    command.add_argument("--seed", type=int, default=0, help="of parked cars, wander and noise")
    command.add_argument("--max_length_m", type=float, default=None, help="end the drive after so many metres")
    command.add_argument("--overwrite", action="store_true", help="replace an existing bag")


def _define_ingest(command: ArgumentParser) -> None:
    """Make a frames folder of a bag: images, clouds and poses that belong together, by header stamp."""
    command.add_argument("--bag", type=Path, required=True, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    command.add_argument("--out", type=Path, required=True, help="frames folder to write")
    for sensor in ("image", "cloud", "pose"):
        command.add_argument(f"--{sensor}_topic", type=str, default=None, help=f"{sensor} topic; 'none' leaves it out")
    command.add_argument("--keyframe_m", type=NonNegativeFloat, default=2.0, help="metres between keyframes")
    command.add_argument(
        "--keyframe_s", type=NonNegativeFloat, default=1.0, help="seconds between them where there are no poses"
    )
    command.add_argument(
        "--tolerance_s", type=NonNegativeFloat, default=0.1, help="largest time between an image and its cloud"
    )
    command.add_argument("--session", type=str, default=None, help="name of the drive; the folder's name by default")
    command.add_argument(
        "--area",
        type=str,
        default=None,
        help="name of the town or site, where drives of several are trained on together: those of one area share a "
        "map frame, those of two have no place in common",
    )
    command.add_argument("--overwrite", action="store_true", help="replace an existing frames folder")


def _define_train(command: ArgumentParser) -> None:
    """Train a camera or LiDAR network alone on drives by batch-hard triplet."""
    _training(command)
    _weights(command)
    _modality(command, "camera", "lidar")
    command.add_argument(
        "--distillation",
        type=dict | None,
        default=None,
        help="left aside, so that a recipe of `distill` trains the same student alone",
    )
    command.add_class_arguments(Recipe, skip={"modality", "distillation"})


def _define_train_teacher(command: ArgumentParser) -> None:
    """Train a teacher of camera and LiDAR together on drives."""
    _training(command)
    _weights(command)
    _modality(command, "fused")
    command.add_class_arguments(Recipe, skip={"modality", "distillation"})


def _define_distill(command: ArgumentParser) -> None:
    """Train a camera or LiDAR network on drives with a teacher's help."""
    command.add_argument("--teacher", type=Path, required=True, help="checkpoint folder of the teacher")
    command.add_argument(
        "--cache", type=Path, default=None, help="folder to keep the teacher's descriptors in; its own by default"
    )
    command.add_argument(
        "--diagnose_every", type=int, default=10, help="steps between two measurements of both losses' gradients"
    )
    _training(command)
    _modality(command, "camera", "lidar")
    command.add_class_arguments(Distillation, "distillation")
    command.add_class_arguments(Recipe, skip={"modality", "distillation"})


def _modality(command: ArgumentParser, *choices: str) -> None:
    command.add_argument("--modality", choices=choices, default=choices[0], help="sensor of the network")


def _weights(command: ArgumentParser) -> None:
    command.add_argument(
        "--weights",
        type=Path,
        default=None,
        help="file of a published MinkLoc++ or DistilVPR state dict from which the network starts; --steps 0 keeps it "
        "as it is",
    )


def _training(command: ArgumentParser) -> None:
    command.add_argument("--frames", type=Path, nargs="+", required=True, help="frames folders to train on")
    command.add_argument(
        "--validation",
        type=Path,
        nargs="+",
        default=[],
        help="frames folders kept out of training, on which the best weights and the acceptance threshold are chosen: "
        "first the drive that is the map, then one or more that query it",
    )
    command.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    _device(command, "where the networks run; samples are made on the CPU")
    command.add_argument(
        "--save_every", type=int, default=50, help="steps between two states from which a killed run goes on; 0: none"
    )
    command.add_argument("--tensorboard", type=bool, default=True, help="write the figures of each step to the folder")


def _define_export(command: ArgumentParser) -> None:
    """Export a checkpoint to a bundle, compared with it on real frames: ONNX for a camera, weights for a LiDAR."""
    command.add_argument("--checkpoint", type=Path, required=True, help="folder written by `train`")
    command.add_argument("--frames", type=Path, required=True, help="frames folder to compare on")
    command.add_argument("--out", type=Path, required=True, help="bundle folder to write")


def _define_map(command: ArgumentParser) -> None:
    """Make a place map of a drive with a bundle."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--frames", type=Path, required=True, help="frames folder of the drive to be recognised")
    command.add_argument("--out", type=Path, required=True, help="place map folder to write")
    _device(command)


def _define_query(command: ArgumentParser) -> None:
    """Recognise places in a bag; writes one JSON line an image or cloud, with the live node's answers."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--map", type=Path, required=True, help="folder written by `map`")
    command.add_argument("--bag", type=Path, required=True, help="the drive to recognise")
    for sensor, bundle in (("image", "camera"), ("cloud", "lidar")):
        command.add_argument(
            f"--{sensor}_topic", type=str, default=None, help=f"for a {bundle} bundle; needed where there are several"
        )
    command.add_argument("--out", type=Path, default=None, help="file of JSON lines; standard output by default")
    command.add_argument("--top_k", type=PositiveInt, default=5, help="places for each image or cloud")
    command.add_argument(
        "--min_similarity", type=Similarity, default=None, help="accept a match from here up; the bundle's by default"
    )
    _device(command)


def _define_evaluate(command: ArgumentParser) -> None:
    """Print Recall@N of query drives or of every pair of runs, beside a grey thumbnail's or a LiDAR's Scan Context."""
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--database", type=Path, default=None, help="frames folder of the map drive")
    command.add_argument("--queries", type=Path, nargs="+", default=[], help="frames folders of query drives")
    command.add_argument(
        "--runs", type=Path, nargs="+", default=[], help="in their place: frames folders, each the map of all others"
    )
    command.add_argument("--pr", type=Picture | None, default=None, help="also draw precision over recall to this file")
    command.add_argument("--radius_m", type=PositiveFloat, default=10.0, help="a match within this distance is right")
    command.add_argument("--out", type=Path, default=None, help="also write the rows to this JSON file")
    _device(command)


def _define_demo(command: ArgumentParser) -> None:
    """Record drives, train, map, and recognise places live in a ROS 2 node; writes demo/report.html."""
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder to write; an older demo is replaced")
    command.add_argument("--steps", type=int, default=None, help="training steps; the demo's own number by default")
    command.add_argument("--live", type=bool, default=True, help="run the ROS 2 nodes")


def _define_tables(command: ArgumentParser) -> None:
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
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of weights and batches")
    command.add_argument("--train_towns", type=int, nargs="+", default=[1], help="towns to train on")
    command.add_argument("--test_towns", type=int, nargs="+", default=[2, 4], help="towns to test in")
    command.add_argument("--steps", type=PositiveInt | None, default=None, help="instead of the recipes' own")
    command.add_argument("--workers", type=PositiveInt | None, default=None, help="processes; one a core by default")


def _device(command: ArgumentParser, text: str = "where network and search run") -> None:
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help=text)


def _synth(options: dict[str, Any]) -> None:
    from vpr_core.synthetic.drive import record_drive

    with tqdm(desc="synth", unit="frame") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        out = record_drive(**options, progress=progress)
    print(out)


def _ingest(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.data.ingest import ingest

    out = ingest(**options, progress=progress_bar)
    card = Frames.load(out).card
    drops = "; ".join(f"{count} x {reason}" for reason, count in card["drops"].items()) or "none"
    print(f"{out}: {card['counts']['frames']} frames, {card['metres']} m, {card['seconds']} s, drops: {drops}")


def _train(options: dict[str, Any]) -> None:
    _run_training({**options, "distillation": None})


def _run_training(options: dict[str, Any]) -> None:
    from vpr_core.training.train import train_encoder

    recipe = recipe_of(options)
    with tqdm(total=recipe.steps, desc="train", unit="step") as bar:

        def progress(step: int, _total: int, figures: dict[str, float]) -> None:
            shown = {name: f"{figures[name]:.3f}" for name in _SHOWN if name in figures}
            bar.set_postfix(shown, refresh=False)
            bar.update(step - bar.n)

        print(train_encoder(**options, recipe=recipe, progress=progress))


_SHOWN = ("loss", "active", "distillation")


def recipe_of(options: dict[str, Any]) -> Recipe:
    """The recipe among the options of a training command, which it takes out of them; raises RecipeError."""
    names = [field.name for field in fields(Recipe) if field.name in options]
    values = {name: options.pop(name) for name in names}
    nested = {name: value.as_dict() for name, value in values.items() if isinstance(value, Namespace)}
    return Recipe.from_json(values | nested)


def _export(options: dict[str, Any]) -> None:
    from vpr_core.export import export

    print(export(**options))


def _map(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.retrieval.mapping import build_map

    with tqdm(total=len(Frames.load(options["frames"])), desc="map", unit="frame") as bar:
        places = build_map(**options, progress=bar.update)
    print(f"{options['out']}: {len(places)} places, map {places.hash}, model {places.model_hash}")


def _query(options: dict[str, Any]) -> None:
    from vpr_core.files import write_atomic
    from vpr_core.retrieval.query import query_bag
    from vpr_core.retrieval.recognizer import PlaceRecognizer

    out, bag = options.pop("out"), options.pop("bag")
    topics = {"camera": options.pop("image_topic"), "lidar": options.pop("cloud_topic")}
    recognizer = PlaceRecognizer.load(options.pop("bundle"), options.pop("map"), **options)
    drops: Counter[str] = Counter()
    records = list(query_bag(recognizer, bag, topics[recognizer.modality], drops, progress_bar))
    text = "".join(json.dumps(record) + "\n" for record in records)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text.encode())
    told = sys.stderr if out is None else sys.stdout  # the records alone go down a pipe
    accepted = sum(record["accepted"] for record in records)
    what = {"camera": "images", "lidar": "clouds"}[recognizer.modality]
    summary = f"{len(records)} {what}, {accepted} accepted, {sum(drops.values())} dropped"
    print(f"{out or 'query'}: {summary}", file=told)
    for reason, count in drops.most_common():
        print(f"  dropped {count} x {reason}", file=told)


def _evaluate(options: dict[str, Any]) -> None:
    from vpr_core.data.frames import Frames
    from vpr_core.evaluation.evaluate import evaluate, table_text
    from vpr_core.evaluation.methods import bundle_and_baseline
    from vpr_core.evaluation.pairs import average_recall, evaluate_pairs
    from vpr_core.files import write_json

    runs, database, queries = options["runs"], options["database"], options["queries"]
    if bool(database) != bool(queries) or bool(runs) == bool(queries):
        given = " and ".join(f"--{name}" for name in ("database", "queries", "runs") if options[name])
        raise FramesError(f"evaluate takes --database with --queries, or --runs alone; given: {given or 'none'}")
    drives = [Frames.load(folder) for folder in runs or [database, *queries]]
    found, averages = [], []
    for name, (describe, retrieve) in bundle_and_baseline(options["bundle"], options["device"]).items():
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
    if options["out"]:
        write_json(options["out"], {"rows": rows, **({"averages": averages} if runs else {})})
    if options["pr"]:
        from vpr_core.evaluation.figures import write_precision_recall

        write_precision_recall(Path(options["pr"]), found)


def _demo(options: dict[str, Any]) -> None:
    from vpr_core.experiments.demo import run_demo

    run_demo(**options)


def _tables(options: dict[str, Any]) -> None:
    from vpr_core.experiments.tables import run_tables, tables_text

    print(tables_text(run_tables(**options)))


def progress_bar(name: str, total: int) -> tqdm:
    """A bar with an estimate of the time left, on stderr."""
    return tqdm(total=total, desc=name, unit="msg")


_DEFINITIONS = {
    "synth": _define_synth,
    "ingest": _define_ingest,
    "train": _define_train,
    "train-teacher": _define_train_teacher,
    "distill": _define_distill,
    "export": _define_export,
    "map": _define_map,
    "query": _define_query,
    "evaluate": _define_evaluate,
    "tables": _define_tables,
    "demo": _define_demo,
}
_COMMANDS = {
    "synth": _synth,
    "ingest": _ingest,
    "train": _train,
    "train-teacher": _run_training,
    "distill": _run_training,
    "export": _export,
    "map": _map,
    "query": _query,
    "evaluate": _evaluate,
    "tables": _tables,
    "demo": _demo,
}
