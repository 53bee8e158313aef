"""What a trained network is worth on drives that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

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
    model: ImageEncoder, image_size: tuple[int, int], database: Frames, queries: Sequence[Frames]
) -> dict[str, float | int]:
    """The similarity from which best matches of validation drives are right with TARGET_PRECISION.

    Queries away from every place of the database count as wrong, so a validation drive should leave the map.
    """
    known = describe(model, database, image_size)
    results = [
        recall(known, database.positions_m, describe(model, drive, image_size), drive.positions_m) for drive in queries
    ]
    similarities = np.concatenate([result.best_similarity for result in results])
    correct = np.concatenate([result.first_hit == 1 for result in results])
    similarity = threshold_for_precision(similarities, correct, TARGET_PRECISION)
    accepted = similarities >= similarity
    skipped = sum(result.skipped for result in results)
    return {
        "similarity": round(similarity, 6),
        "target_precision": TARGET_PRECISION,
        "precision": round(float(correct[accepted].mean()), 4),
        "recall_at_1": round(float(correct.sum() / max(len(correct) - skipped, 1)), 4),
        "accepted": int(accepted.sum()),
        "queries": len(correct),
        "queries_without_place": skipped,
    }
