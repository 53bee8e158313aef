"""StructVPR's Figs. 1, 5 and 6 of what the tables trained: who wins where, what was retrieved, and label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.places import within
from vpr_core.errors import RecipeError
from vpr_core.evaluation.evaluate import Evaluation, evaluate
from vpr_core.evaluation.figures import rendered
from vpr_core.evaluation.svg import styled
from vpr_core.experiments.cells import Cell
from vpr_core.experiments.networks import Network
from vpr_core.experiments.paper import groups_of
from vpr_core.experiments.side_by_side import describer
from vpr_core.experiments.sources import Row, Source, TownSource
from vpr_core.experiments.structvpr_figures import Choice, Ranks, label_map_bars, pairs_figure, ranks_figure
from vpr_core.experiments.town import MAP_CONDITION, OPPOSITE
from vpr_core.files import write_atomic
from vpr_core.structvpr.partition import N_T, ranks_of_descriptors, samples_of
from vpr_core.training.network_input import EMBEDDING

NAMES = ("structvpr_figure1.svg", "structvpr_figure5.png", "structvpr_figure6.svg")
LABEL_MAPS = "structvpr_figure6"
"""Name of the plan of Fig. 6."""
OURS = "paper"
"""The method of the tables whose student is shown."""


@dataclass(frozen=True)
class Trained:
    """The networks of one seed of which pictures are made."""

    rgb: Network
    student: Network

    @property
    def segmentation(self) -> Network:
        assert self.student.teacher
        return self.student.teacher


def write_pictures(folder: Path, rows: Mapping[Cell, Sequence[Row]], source: Source) -> list[Path]:
    """Write those of NAMES that can be made of what was trained and stands in the table; returns their paths.

    Figs. 1 and 5 need the networks and the drives, Fig. 6 the table alone. Raises RecipeError where nothing is there.
    """
    if not isinstance(source, TownSource) or not source.labelled:
        raise RecipeError("these pictures are of the town with labels: give the plans of structvpr")
    figures = {}
    if trained := _trained(rows, source):
        figures[NAMES[0]] = ranks_figure([_of_samples(trained, source), _of_queries(trained, source)])
        figures[NAMES[1]] = pairs_figure(choices(trained, source))
    if plan := next((cell.plan for cell in rows if cell.plan.path.stem == LABEL_MAPS), None):
        (entries,) = groups_of(plan, rows, source).values()
        if any(entry.ours for entry in entries):
            figures[NAMES[2]] = label_map_bars(entries)
    if not figures:
        raise RecipeError(f"nothing to draw: neither networks of these plans in {source.folder}, nor rows of Fig. 6")
    folder.mkdir(parents=True, exist_ok=True)
    with styled():
        for name, figure in figures.items():
            write_atomic(folder / name, rendered(figure, Path(name).suffix[1:]))
    return [folder / name for name in figures]


def _trained(rows: Mapping[Cell, Sequence[Row]], source: TownSource) -> Trained | None:
    """Of the first seed whose networks described the drives."""
    for cell in rows:
        weighing = cell.network.weighing
        if cell.row.method == OURS and weighing:
            found = Trained(weighing.student, cell.network)
            folders = [source.folder / network.name for network in (found.rgb, found.student, found.segmentation)]
            described = (folder / f"{drive.name}.npz" for folder in folders for drive in source.drives.described)
            if all(path.is_file() for path in described):
                return found
    return None


def _of_samples(trained: Trained, source: TownSource) -> Ranks:
    """Of the training samples, by which they are weighed."""
    assert trained.student.weighing
    with np.load(trained.student.weighing.path(source.folder, trained.segmentation)) as stored:
        x, y = stored["teacher_rank"], stored["student_rank"]
    return Ranks("Training samples: the rank of each positive", x, y, trained.student.weighing.n_t)


def _of_queries(trained: Trained, source: TownSource) -> Ranks:
    """Of the queries of towns that nothing was trained on."""
    x, y = (
        np.concatenate([first_ranks(found, source.folder / network.name) for found in evaluations(network, source)])
        for network in (trained.segmentation, trained.rgb)
    )
    return Ranks("Queries in other towns: the first right place", x, y, N_T)


def first_ranks(evaluation: Evaluation, checkpoint: Path) -> np.ndarray:
    """float64 [M]: of each query with a place in the map, the rank of the first right one in the whole list."""
    database, queries = evaluation.database, evaluation.queries
    samples = samples_of(within(database.positions_m, queries.positions_m, evaluation.radius_m))
    known, asked = (describer(checkpoint, EMBEDDING)(drive) for drive in (database, queries))
    ranks = np.full(len(queries), np.inf)
    np.minimum.at(ranks, samples[:, 0], ranks_of_descriptors(known, asked, samples))
    return ranks[np.isfinite(ranks)]


def evaluations(network: Network, source: TownSource) -> list[Evaluation]:
    """On the query drives of every town under other conditions than the map's, in its own direction."""
    found = []
    for town in source.drives.tests:
        queries = [Frames.load(drive) for name, drive in town.queries.items() if name not in (MAP_CONDITION, OPPOSITE)]
        describe = describer(source.folder / network.name, EMBEDDING)
        found += evaluate(network.label, describe, Frames.load(town.database), queries)
    return found


def choices(trained: Trained, source: TownSource) -> list[Choice]:
    """Queries to show, each of another drive where there are such: those of which the student alone is right, one of
    which the RGB branch alone is, and one of which neither is.
    """
    rgb, student = evaluations(trained.rgb, source), evaluations(trained.student, source)
    wanted = [(False, True)] * 3 + [(True, False), (False, False)]
    found: list[Choice] = []
    for right in wanted:
        fresh = [number for number in range(len(rgb)) if rgb[number].queries not in [one.queries for one in found]]
        for number in (*fresh, *range(len(rgb))):
            if (choice := _choice(rgb[number], student[number], right)) and choice not in found:
                found.append(choice)
                break
    return found


def _choice(rgb: Evaluation, student: Evaluation, right: tuple[bool, bool]) -> Choice | None:
    """The middle one of the queries of a drive that both answer so."""
    hits = [(found.result.first_hit == 1) == wanted for found, wanted in zip((rgb, student), right, strict=True)]
    queries = np.flatnonzero(hits[0] & hits[1] & (rgb.result.first_hit >= 0))
    if not len(queries):
        return None
    query = int(queries[len(queries) // 2])
    best = int(rgb.result.best[query]), int(student.result.best[query])
    return Choice(rgb.queries, query, rgb.database, best, right)
