"""What a network is worth on drives that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.evaluation.recall import Recall, recall, threshold_for_precision
from vpr_core.training.network_input import EMBEDDING, NetworkInput, check_sensors, heads

TARGET_PRECISION = 0.95
_BATCH = 8


@torch.no_grad()
def describe_samples(
    model: nn.Module,
    network_input: NetworkInput,
    samples: Samples,
    normalize: bool = True,
    shown: Callable[[int], object] | None = None,
) -> dict[str, np.ndarray]:
    """Descriptors float32 [N, D] by a network in eval mode, by name of head; unit length where `normalize`.

    The network may be on any device. shown: called with the number of frames in each batch that is done.
    """
    device = next(model.parameters()).device
    chosen = [range(start, min(start + _BATCH, len(samples))) for start in range(0, len(samples), _BATCH)]
    batches = []
    for rows in chosen:
        batches.append(heads(model, network_input.batch(samples, rows, device=device), normalize))
        if shown:
            shown(len(rows))
    return {name: torch.cat([batch[name] for batch in batches]).cpu().numpy() for name in batches[0]}


def describe(model: nn.Module, network_input: NetworkInput, drive: Frames) -> np.ndarray:
    """Unit descriptors float32 [N, D] of a drive by a network in eval mode."""
    return describe_samples(model, network_input, Samples([drive]))[EMBEDDING]


@dataclass(frozen=True)
class Validation:
    """A database drive and query drives of the same area, kept out of training."""

    network_input: NetworkInput
    database: Frames
    queries: tuple[Frames, ...]

    @classmethod
    def load(
        cls, folders: Sequence[str | Path], network_input: NetworkInput, trained_on: Sequence[Frames]
    ) -> Validation:
        """Raises RecipeError where the drives cannot tell anything about the network."""
        if len(folders) == 1:
            raise RecipeError(
                f"validation is {folders[0]} alone: expected a database drive and one or more query drives"
            )
        drives = [Frames.load(folder) for folder in folders]
        seen = {drive.folder.resolve() for drive in trained_on}
        for drive in drives:
            if drive.folder.resolve() in seen:
                raise RecipeError(f"{drive.folder} is for training and for validation: choose other drives for one")
        check_sensors(network_input.modality, drives, network_input.labels)
        return cls(network_input, drives[0], tuple(drives[1:]))

    @property
    def drives(self) -> tuple[Frames, ...]:
        return (self.database, *self.queries)

    def results(self, model: nn.Module) -> dict[str, list[Recall]]:
        """By head of the network, one result for each query drive. Leaves the network in eval mode."""
        model.eval()
        database, *queries = (describe_samples(model, self.network_input, Samples([drive])) for drive in self.drives)
        return {
            head: [
                recall(database[head], self.database.positions_m, rows[head], drive.positions_m)
                for rows, drive in zip(queries, self.queries, strict=True)
            ]
            for head in database
        }

    def recall_at_1(self, model: nn.Module) -> dict[str, float]:
        """By head, over all queries that have a place in the database."""
        return {head: round(_recall_at_1(found), 4) for head, found in self.results(model).items()}

    def card(self, model: nn.Module) -> dict[str, Any]:
        """What a checkpoint says of its network: Recall@1 by head, and the similarity from which to accept a match."""
        results = self.results(model)
        recall_at_1 = {head: round(_recall_at_1(found), 4) for head, found in results.items()}
        return {"validation": {"recall_at_1": recall_at_1}, "acceptance": acceptance(results[EMBEDDING])}


def acceptance(results: Sequence[Recall]) -> dict[str, float | int]:
    """The similarity from which the best matches of query drives are right with TARGET_PRECISION.

    Queries away from every place of the database count as wrong, so a validation drive should leave the map.
    """
    similarities = np.concatenate([result.best_similarity for result in results])
    correct = np.concatenate([result.first_hit == 1 for result in results])
    similarity = threshold_for_precision(similarities, correct, TARGET_PRECISION)
    accepted = similarities >= similarity
    return {
        "similarity": round(similarity, 6),
        "target_precision": TARGET_PRECISION,
        "precision": round(float(correct[accepted].mean()), 4),
        "recall_at_1": round(_recall_at_1(results), 4),
        "accepted": int(accepted.sum()),
        "queries": len(correct),
        "queries_without_place": sum(result.skipped for result in results),
    }


def _recall_at_1(results: Sequence[Recall]) -> float:
    hits = sum(int((result.first_hit == 1).sum()) for result in results)
    return hits / max(sum(result.evaluated for result in results), 1)
