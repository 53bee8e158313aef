"""What the commands that train have in common."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from vpr_core.commands.options import add_device, check_output_folder
from vpr_core.training.recipe import Recipe


def add_training_options(command: ArgumentParser) -> None:
    command.add_argument("--frames", type=Path, nargs="+", required=True, help="frames folders to train on")
    command.add_argument(
        "--validation",
        type=Path,
        nargs="+",
        default=[],
        help="frames folders kept out of training, on which the best weights and the acceptance threshold are chosen: "
        "first the drive that is the map, then one or more that query it",
    )
    command.add_argument(
        "--hard_pairs",
        type=Path,
        default=None,
        help="file of `hard-pairs`: frames that a localizer took for each other come into one batch, so that the "
        "network learns to tell them apart; the drives that it names are among --frames",
    )
    command.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    add_device(command, "where the networks run; samples are made on the CPU")
    command.add_argument(
        "--save_every", type=int, default=50, help="steps between two states from which a killed run goes on; 0: none"
    )
    command.add_argument(
        "--save_within_s", type=float, default=60.0, help="seconds after which such a state is written in any case"
    )
    command.add_argument("--tensorboard", type=bool, default=True, help="write the figures of each step to the folder")


def add_modality(command: ArgumentParser, *choices: str) -> None:
    command.add_argument("--modality", choices=choices, default=choices[0], help="sensor of the network")


def add_weights(command: ArgumentParser) -> None:
    command.add_argument(
        "--weights",
        type=Path,
        default=None,
        help="file of a published MinkLoc++, DistilVPR or AdaFusion state dict from which the network starts; --steps "
        "0 keeps it as it is",
    )


def run_training(options: dict[str, Any]) -> None:
    from vpr_core.training.processes import is_first
    from vpr_core.training.train import train_encoder

    check_output_folder(options["out"])
    recipe = recipe_of(options)
    total = recipe.steps if recipe.epochs is None else None
    with tqdm(total=total, desc="train", unit="step", disable=not is_first()) as bar:

        def progress(step: int, total: int, figures: dict[str, float]) -> None:
            shown = {name: f"{figures[name]:.3f}" for name in _SHOWN if name in figures}
            bar.set_postfix(shown, refresh=False)
            bar.total = total
            bar.update(step - bar.n)

        out = train_encoder(**options, recipe=recipe, progress=progress)
    if is_first():
        print(out)


_SHOWN = ("loss", "active", "distillation")


def recipe_of(options: dict[str, Any]) -> Recipe:
    """The recipe among the options of a training command, which it takes out of them; raises RecipeError."""
    names = [field.name for field in fields(Recipe) if field.name in options]
    values = {name: options.pop(name) for name in names}
    nested = {name: value.as_dict() for name, value in values.items() if isinstance(value, Namespace)}
    return Recipe.from_json(values | nested)
