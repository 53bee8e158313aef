"""`vpr-distill prepare`."""

from __future__ import annotations

import inspect
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from vpr_core.commands.options import check_output_folder
from vpr_core.errors import FramesError

if TYPE_CHECKING:
    from vpr_core.data.plan import Plan, Run


def define(command: ArgumentParser) -> None:
    """Make frames folders of a published data set, and say what of it is missing.

    It writes OUT/train/RUN and OUT/test/RUN, which are frames folders that the other commands take, and
    OUT/dataset.json. Images and clouds stay where they are, behind links, where a frames folder can hold them; others
    are converted. What was stopped goes on when it is started again. `prepare NAME --help` says how its folders look.
    """
    from vpr_core.data.datasets import dataset, dataset_names

    kinds = command.add_subcommands(dest="dataset", metavar="NAME")
    for name in dataset_names():
        module = dataset(name)
        text = inspect.getdoc(module) or ""
        kind = ArgumentParser(description=text)
        kinds.add_subcommand(name, kind, help=text.splitlines()[0].rstrip("."))
        kind.add_argument("--config", action="config", help="YAML file with options, such as one of config/datasets")
        kind.add_argument("--root", type=Path, required=True, help="folder of the data set")
        kind.add_argument("--out", type=Path, required=True, help="folder to write")
        kind.add_argument(
            "--allow_missing", action="store_true", help="prepare what is whole, though something is missing"
        )
        kind.add_argument("--overwrite", action="store_true", help="replace runs that were made with other options")
        kind.add_class_arguments(module.Options)


def run(options: dict[str, Any]) -> None:
    from tqdm import tqdm

    from vpr_core.data.datasets import dataset
    from vpr_core.data.plan import counts
    from vpr_core.data.prepare import files_to_do, write_plan

    name = options["dataset"]
    chosen, module = vars(options[name]), dataset(name)
    root, out = chosen["root"], chosen["out"]
    wanted = module.Options(**{field.name: chosen[field.name] for field in fields(module.Options)})
    check_output_folder(out)
    plan = module.plan(root, wanted)
    _tell(plan, root, chosen["allow_missing"])
    found = counts(plan, wanted.positive_m, wanted.radius_m, getattr(wanted, "max_heading_deg", None))
    about = {"dataset": name, "options": _plain(asdict(wanted)), "counts": found}
    with tqdm(total=files_to_do(plan), desc=name, unit="frame") as bar:
        write_plan(plan, out, f"vpr-distill prepare {name}", about, chosen["overwrite"], bar.update)
    for line in _summary(plan, out, found, wanted):
        print(line)


def _tell(plan: Plan, root: Path, allow_missing: bool) -> None:
    """Print what is missing; raise FramesError where that ends it."""
    for reason, of in plan.missing.items():
        print(f"missing: {reason}: {', '.join(of)}")
    for note in plan.notes:
        print(note)
    if plan.missing and not allow_missing:
        raise FramesError(f"{root} is not whole. {plan.where} With --allow_missing the rest is prepared")
    if not plan.runs:
        raise FramesError(f"{root} has no run that could be prepared. {plan.where}")


def _summary(plan: Plan, out: Path, found: dict[str, Any], wanted: Any) -> list[str]:
    train, test = found["train"], found["test"]
    heading = getattr(wanted, "max_heading_deg", None)
    near = f"within {wanted.radius_m:g} m" + (f" and {heading:g} degrees" if heading else "")
    limits = f"--radius_m {wanted.radius_m:g}" + (f" --max_heading_deg {heading:g}" if heading else "")
    pairs = "ordered pairs" if plan.pairs is None else "pairs of a database and queries"
    return [
        f"{out}/train: {train['runs']} runs, {train['frames']} frames, {train['with_positive']} of them with another "
        f"within {wanted.positive_m:g} m",
        f"{out}/test: {test['runs']} runs, {test['frames']} frames, {test['queries']} queries; {test['pairs']} "
        f"{pairs}, in which {test['evaluated']} queries have a place {near} and {test['skipped']} are skipped",
        f"train with --positive_m {wanted.positive_m:g} --negative_m {wanted.negative_m:g}"
        + (f", evaluate --runs {out}/test/* with {limits}" if plan.pairs is None else ""),
        *(_evaluation(f"{out}/test", *pair, limits) for pair in (plan.evaluated if plan.pairs is not None else [])),
    ]


def _evaluation(test: str, database: Run, queries: Run, limits: str) -> str:
    drives = f"evaluate --database {test}/{database.name} --queries {test}/{queries.name}"
    return f"{drives} {limits}" if queries.poses else f"without poses: {drives} --submission FILE.csv"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
