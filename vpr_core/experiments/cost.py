"""What networks of a table cost: time to describe and to search, and memory. No training changes it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.evaluation.evaluate import table_text
from vpr_core.evaluation.latency import machine
from vpr_core.evaluation.recall import RETRIEVED
from vpr_core.experiments.cells import Cell
from vpr_core.experiments.paper import paper_of
from vpr_core.experiments.plans import Plan
from vpr_core.files import sha256_json
from vpr_core.models.factory import build_model
from vpr_core.retrieval.index import build_index
from vpr_core.training.network_input import EMBEDDING, NetworkInput, heads
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import model_spec

REPEATS = 15
ABSENT = "-"


@dataclass(frozen=True)
class Cost:
    """Of one network."""

    parameters: int
    dim: int
    describe_ms: float
    """Of one image: the network alone, without reading files and without a segmentation."""
    search_ms: float
    """Of one descriptor among those of `places`."""
    places: int

    @property
    def bytes_a_place(self) -> int:
        """Of its descriptor, float32."""
        return 4 * self.dim


def cost_text(plan: Plan, cells: Sequence[Cell], drive: Path) -> str:
    """The plan's networks, each once whatever its seed, measured on a drive; the paper's times beside them."""
    if not drive.is_dir():
        return f"{drive} is not there: it is made by the first training of a table, and then costs are measured on it"
    frames, measured = Frames.load(drive), dict[str, Cost]()
    lines = []
    for cell in {cell.row.title: cell for cell in cells}.values():
        recipe = cell.network.recipe
        network = sha256_json([model_spec(recipe), recipe.image_height])  # the same one costs the same
        cost = measured.setdefault(network, measured.get(network) or cost_of(recipe, frames))
        lines.append(_line(cell, cost, paper_times(plan, cell)))
    conditions = f"median of {REPEATS}; {machine()}, torch with one thread; search among {len(frames)} places"
    return f"{table_text(lines, list(lines[0]))}\n{conditions}" if lines else ABSENT


def _line(cell: Cell, cost: Cost, paper: Mapping[str, float]) -> dict[str, Any]:
    return {
        "row": cell.row.title,
        "parameters": f"{cost.parameters:,}",
        "descriptor": cost.dim,
        "bytes a place": cost.bytes_a_place,
        "describe, ms": f"{cost.describe_ms:.1f}",
        "search, ms": f"{cost.search_ms:.3f}",
        "the paper's network, ms": f"{paper['network_ms']:g}" if "network_ms" in paper else ABSENT,
        "its segmentation, ms": f"{paper['segmentation_ms']:g}" if "segmentation_ms" in paper else ABSENT,
    }


def paper_times(plan: Plan, cell: Cell) -> dict[str, float]:
    """Of the first table of the paper that has the row."""
    places = ((cell.column.title, cell.row.title), ("", cell.row.title))
    return next((table[place] for table in paper_of(plan).values() for place in places if place in table), {})


@torch.no_grad()
def cost_of(recipe: Recipe, drive: Frames) -> Cost:
    """Measured with random weights on the frames of a drive, in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spec, _ = model_spec(recipe)
        model = build_model(spec["name"], **spec["options"]).eval()
        arguments = NetworkInput.of_recipe(recipe, [drive]).batch(Samples([drive]), [0])
        rows = heads(model, arguments, True)[EMBEDDING].numpy()
        known = np.random.default_rng(0).normal(size=(len(drive), rows.shape[1])).astype(np.float32)
        index = build_index(known / np.linalg.norm(known, axis=1, keepdims=True))
        return Cost(
            parameters=sum(each.numel() for each in model.parameters()),
            dim=rows.shape[1],
            describe_ms=_median_ms(lambda: heads(model, arguments, True)),
            search_ms=_median_ms(lambda: index.search(rows, RETRIEVED)),
            places=len(drive),
        )
    finally:
        torch.set_num_threads(threads)


def _median_ms(call: Callable[[], object]) -> float:
    times_ms = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times_ms)
