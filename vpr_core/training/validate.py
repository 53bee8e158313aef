"""What a trained network is worth on drives that it was not trained on."""

from __future__ import annotations

import numpy as np
import torch

from vpr_core.data.frames import Frames
from vpr_core.evaluation.recall import recall, threshold_for_precision
from vpr_core.models.encoder import ImageEncoder
from vpr_core.preprocess import resize_image

TARGET_PRECISION = 0.95


@torch.no_grad()
def describe(model: ImageEncoder, drive: Frames, image_size: tuple[int, int]) -> np.ndarray:
    """Unit descriptors float32 [N, D] of a drive by a torch model in eval mode."""
    width, height = image_size
    rows = []
    for index in range(len(drive)):
        image = resize_image(drive.image(index), height, width)
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        rows.append(torch.nn.functional.normalize(model(batch)))
    return torch.cat(rows).numpy()


def acceptance(
    model: ImageEncoder, image_size: tuple[int, int], database: Frames, queries: Frames
) -> dict[str, float | int]:
    """The similarity from which best matches of a validation drive are right with TARGET_PRECISION.

    Queries away from every place of the database count as wrong, so a validation drive should leave the map.
    """
    result = recall(
        describe(model, database, image_size),
        database.positions_m,
        describe(model, queries, image_size),
        queries.positions_m,
    )
    correct = result.first_hit == 1
    similarity = threshold_for_precision(result.best_similarity, correct, TARGET_PRECISION)
    accepted = result.best_similarity >= similarity
    return {
        "similarity": round(similarity, 4),
        "target_precision": TARGET_PRECISION,
        "precision": round(float(correct[accepted].mean()), 4),
        "recall_at_1": round(result.at[1], 4),
        "accepted": int(accepted.sum()),
        "queries": len(queries),
        "queries_without_place": result.skipped,
    }
