"""What distillation gives, over seeds and towns: each finished network adds its rows to a CSV file."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import FramesError
from vpr_core.evaluation.evaluate import table_text
from vpr_core.experiments.networks import (
    Network,
    comparison,
    cores,
    evaluate_network,
    table_rows,
    train_networks,
)
from vpr_core.experiments.town import Towns, mean_of_others, record_frames, town_drives
from vpr_core.training.checkpoint import load_checkpoint

COLUMNS = (
    "label", "recipe", "student", "seed", "modality", "method", "trained_on", "town", "condition", "steps", "seconds",
    "recall_at_1", "recall_at_5", "recall_at_1_percent", "evaluated",
)  # fmt: skip
Row = dict[str, str]


def run_tables(
    out: Path,
    work: Path,
    *,
    teacher: Path,
    students: Sequence[Path],
    seeds: Sequence[int],
    train_towns: Sequence[int],
    test_towns: Sequence[int],
    steps: int | None = None,
    workers: int | None = None,
    bar: bool = True,
) -> list[Row]:
    """Train what `out` lacks, append its rows, and return all rows of this comparison.

    work: folder for drives, checkpoints and unfinished runs; it may be thrown away, at the price of the time. Raises
    RecipeError for a bad recipe and FramesError where `out` is another table.
    """
    towns = Towns.planned(work / "frames", train_towns, test_towns)
    networks = [network for seed in seeds for network in comparison(teacher, students, seed, steps)]
    trained_on = "+".join(map(str, train_towns))
    there = {_place_in_table(row) for row in read_rows(out)}
    wanted = {network.name: {(network.hash, str(network.recipe.seed), trained_on, str(town)) for town in test_towns}
              for network in networks}  # fmt: skip
    missing = [network for network in networks if wanted[network.name] - there]
    if missing:
        record_frames(town_drives(work / "bags", train_towns, test_towns), work / "frames", workers=workers or cores())
        folder = work / f"trained_on_{trained_on}"

        def finished(network: Network) -> None:
            rows = _rows(network, folder, towns, trained_on) if network in missing else []
            _append(out, [row for row in rows if _place_in_table(row) not in there])

        train_networks(_with_teachers(missing), folder, towns, workers=workers, bar=bar, finished=finished)
    asked_for = set().union(*wanted.values())
    return [row for row in read_rows(out) if _place_in_table(row) in asked_for]


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; raises FramesError where the file has other columns."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise FramesError(f"{path} has columns {reader.fieldnames}, expected {list(COLUMNS)}: choose another --out")
        return list(reader)


def _place_in_table(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the rows of one network in one town have in common."""
    return tuple(str(row[name]) for name in ("recipe", "seed", "trained_on", "town"))


def _with_teachers(networks: Sequence[Network]) -> list[Network]:
    """The networks, and before them the teachers that are finished in the table but needed again."""
    teachers = [network.teacher for network in networks if network.teacher]
    return list({network.name: network for network in (*teachers, *networks)}.values())


def _rows(network: Network, folder: Path, towns: Towns, trained_on: str) -> list[dict[str, Any]]:
    card = load_checkpoint(folder / network.name).card
    known = {
        "label": network.label,
        "recipe": network.hash,
        "student": network.alone.hash,
        "trained_on": trained_on,
        "steps": network.recipe.steps,
    }
    return [
        {**row, **known, "seconds": card["seconds"]}
        for town in towns.tests
        for evaluations in evaluate_network(network, folder, town).values()
        for row in table_rows(evaluations, network.recipe.modality, network.recipe.seed, town)
    ]


def _append(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """In one write, so that a kill leaves all rows of a network or none."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        writer.writeheader()
    writer.writerows(rows)
    with path.open("a") as file:
        file.write(text.getvalue())


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Recall@1 by town, modality, recipe and method: means over the seeds, and the spread of the mean of `others`.

    others: the conditions that the map was not made under; spread: standard deviation over the seeds.
    """
    groups: dict[tuple[str, ...], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        key = (row["town"], row["modality"], row["label"], row["method"])
        groups[key][row["seed"]][row["condition"]] = float(row["recall_at_1"])
    return [_summary_row(key, list(seeds.values())) for key, seeds in sorted(groups.items())]


def _summary_row(key: tuple[str, ...], seeds: Sequence[dict[str, float]]) -> dict[str, Any]:
    others = np.array([mean_of_others(found) for found in seeds])
    return {
        **dict(zip(("town", "modality", "recipe", "method"), key, strict=True)),
        "seeds": len(seeds),
        **{name: float(np.mean([found[name] for found in seeds])) for name in seeds[0]},
        "others": float(others.mean()),
        "spread": _spread(others),
    }


def gains(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What distillation added to Recall@1 in the mean of the other conditions, by modality and recipe.

    Each run, a seed in a town, is the difference of a student distilled from the same student alone, of the same seed.
    """
    differences: dict[str, list[float]] = defaultdict(list)
    found = _others_by_run(rows)
    for (method, modality, student, label, *run), taught in found.items():
        for (other, _, of, _, *at), alone in found.items():
            if (method, other) == ("student distilled", "student alone") and (student, run) == (of, at):
                differences[f"{modality} student, recipe {label}: distilled over alone"].append(taught - alone)
    return [_difference_row(name, values) for name, values in sorted(differences.items())]


def margins(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """How far the teacher is above each of its halves and above the students alone, run by run as in `gains`."""
    differences: dict[str, list[float]] = defaultdict(list)
    found = _others_by_run(rows)
    for (method, _, _, _, *run), teacher in found.items():
        for (other, modality, _, _, *at), value in found.items():
            if method == "teacher" and run == at and other in ("teacher cloud half", "teacher image half"):
                differences[f"teacher over its {other.removeprefix('teacher ')}"].append(teacher - value)
            if method == "teacher" and run == at and other == "student alone":
                differences[f"teacher over the {modality} student alone"].append(teacher - value)
    return [_difference_row(name, values) for name, values in sorted(differences.items())]


def _others_by_run(rows: Sequence[Row]) -> dict[tuple[str, ...], float]:
    """The mean of the other conditions, by method, modality, student, label, seed and town."""
    recall: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        run = tuple(row[name] for name in ("method", "modality", "student", "label", "seed", "town"))
        recall[run][row["condition"]] = float(row["recall_at_1"])
    return {run: mean_of_others(found) for run, found in recall.items()}


def _difference_row(name: str, values: Sequence[float]) -> dict[str, Any]:
    differences = np.array(values)
    return {
        "difference": name,
        "runs": len(differences),
        "mean": float(differences.mean()),
        "spread": _spread(differences),
        "smallest": float(differences.min()),
        "largest": float(differences.max()),
        "above 0": f"{int((differences > 0).sum())} of {len(differences)}",
    }


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def tables_text(rows: Sequence[Row]) -> str:
    """All tables as text, as they stand in BENCHMARKS.md."""
    differences = [*margins(rows), *gains(rows)]
    return "\n\n".join(table_text(table, list(table[0])) for table in (summary(rows), differences) if table)
