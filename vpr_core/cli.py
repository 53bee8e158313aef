"""The command line: `vpr-distill COMMAND --help` teaches each step; `python -m vpr_core` is the same.

Each command is a module of `vpr_core.commands`: `define` adds its options, under the docstring that its --help shows,
and `run` takes their values.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import re
import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from vpr_core.commands import (
    calibrate,
    demo,
    distill,
    evaluate,
    export,
    fit_filter,
    hard_pairs,
    ingest,
    loops,
    map,
    map_edit,
    prepare,
    query,
    salience,
    segment,
    split,
    synth,
    tables,
    train,
    train_teacher,
    trust,
    turn,
    weigh,
)
from vpr_core.errors import VprError

COMMANDS = {
    "synth": synth,
    "ingest": ingest,
    "prepare": prepare,
    "split": split,
    "segment": segment,
    "turn": turn,
    "train": train,
    "train-teacher": train_teacher,
    "weigh": weigh,
    "distill": distill,
    "export": export,
    "map": map,
    "map-edit": map_edit,
    "fit-filter": fit_filter,
    "calibrate": calibrate,
    "query": query,
    "loops": loops,
    "hard-pairs": hard_pairs,
    "evaluate": evaluate,
    "salience": salience,
    "tables": tables,
    "trust": trust,
    "demo": demo,
}
DESCRIPTION = """Place recognition with one sensor: from recorded drives to a place map and live matches.

Each command reads folders and leaves a folder that the next one checks:

  synth          a drive through a made-up town      -> bag
  ingest         bags                                -> frames
  prepare        a published data set                -> frames to train and to test on
  split          frames                              -> frames to train, validate and test on, by place
  segment        frames                              -> frames with a label for every pixel
  turn           frames                              -> frames of a LiDAR that is mounted the other way round
  train          frames                              -> checkpoint
  train-teacher  frames                              -> checkpoint of camera and LiDAR together
  weigh          two checkpoints, frames             -> how much each sample of `distill` counts
  distill        frames, a teacher's checkpoint      -> checkpoint
  export         checkpoint, frames                  -> bundle
  map            bundle, frames                      -> place map
  map-edit       place map                           -> its sessions; sessions added, removed, merged; pruned
  fit-filter     bundle, place map, frames           -> how far `query --filter` believes what it sees
  calibrate      bundle, place map, frames           -> probabilities in the map
  query          bundle, place map, bag              -> matches (JSON lines)
  loops          bundle, frames                      -> closures of the drive with its own past
  hard-pairs     bags of a localizer that was wrong  -> frames and pairs to train on
  evaluate       bundle, database and query frames   -> recall
  salience       checkpoints, frames                 -> where a descriptor looks
  tables         recipes                             -> what distillation gives, over seeds and towns
  trust          bundles                             -> how far they may be believed, in fresh towns
  demo           all of it, with a live ROS 2 node   -> demo/report.html
"""


def main(arguments: list[str] | None = None) -> None:
    """Run one command; errors that are the user's to mend end as one line on stderr and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = build_parser()
    config = parser.parse_args(arguments)
    try:
        COMMANDS[config.subcommand].run(_values(config[config.subcommand]))
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
    for name, module in COMMANDS.items():
        text = inspect.getdoc(module.define) or ""
        command = ArgumentParser(description=text)
        commands.add_subcommand(name, command, help=re.split(r"\.\s|\.$", text)[0])
        command.add_argument("--config", action="config", help="YAML file with options of this command")
        module.define(command)
        _show_defaults(command)
    return parser


def _show_defaults(command: ArgumentParser) -> None:
    for action in command._actions:
        shown = isinstance(action.default, (str, int, float, Path)) and action.default not in (False, argparse.SUPPRESS)
        if action.help and shown:
            action.help = f"{action.help.rstrip('.')} (default: {action.default})"
