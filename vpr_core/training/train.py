"""Training a camera encoder on recorded drives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpr_core.data import places
from vpr_core.data.augment import image_augmentation
from vpr_core.data.batching import pair_batches
from vpr_core.data.frames import Frames
from vpr_core.errors import RecipeError
from vpr_core.losses.metric import batch_hard_triplet
from vpr_core.models.encoder import ImageEncoder, build_image_encoder
from vpr_core.preprocess import resize_image
from vpr_core.training.checkpoint import save_checkpoint
from vpr_core.training.recipe import Recipe
from vpr_core.training.validate import acceptance

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each step with its number, the number of steps and figures to show."""


class TrainingImages:
    """The images of several drives of one area, numbered through, with where they were taken."""

    def __init__(self, drives: Sequence[Frames], image_size: tuple[int, int]) -> None:
        self.image_size = image_size
        self.positions_m = np.concatenate([drive.positions_m for drive in drives])
        self._where = [(drive, index) for drive in drives for index in range(len(drive))]

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        """[B, 3, H, W] in [0, 1], decoded from disk, so that memory does not grow with the drives."""
        width, height = self.image_size
        images = [resize_image(drive.image(i), height, width) for drive, i in (self._where[k] for k in indices)]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def train_encoder(
    frames: Sequence[str | Path],
    out: str | Path,
    recipe: Recipe,
    validation: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Path:
    """Train on the drives in `frames` (one area, one map frame) and write the checkpoint folder `out`.

    validation: a database drive and one or more query drives that training does not see; the similarity from which a
    match is accepted is chosen on them (`acceptance`). Without them no threshold is stored.
    Raises FramesError for a bad folder and RecipeError where the drives cannot train anything.
    """
    if len(validation) == 1:
        raise RecipeError(
            f"validation is {validation[0]} alone: expected a database drive and one or more query drives"
        )
    drives = [Frames.load(folder) for folder in frames]
    image_size = network_input(drives, recipe.image_height)
    torch.manual_seed(recipe.seed)
    model = build_image_encoder(recipe.backbone, recipe.dim, recipe.pretrained, recipe.normalize)
    started = time.monotonic()
    # An untrained network needs no poses.
    losses = _optimise(model, TrainingImages(drives, image_size), recipe, progress) if recipe.steps else []
    card: dict[str, Any] = {
        "drives": [{"session": drive.session, "frames": len(drive), "bag": drive.card["bag"]} for drive in drives],
        "steps": recipe.steps,
        "final_loss": round(float(np.mean(losses[-10:])), 4) if losses else None,
        "seconds": round(time.monotonic() - started, 1),
    }
    if validation:
        database, *queries = map(Frames.load, validation)
        card["acceptance"] = acceptance(model.eval(), image_size, database, queries)
    return save_checkpoint(Path(out), model, recipe, image_size, card)


def network_input(drives: Sequence[Frames], image_height: int) -> tuple[int, int]:
    """Width and height of the network's input [px]; raises RecipeError where the drives' cameras differ in aspect."""
    aspects = {round(width / height, 2) for width, height in (drive.image_size for drive in drives)}
    if len(aspects) != 1:
        listing = ", ".join(f"{drive.folder}: {drive.image_size}" for drive in drives)
        raise RecipeError(f"the drives' images differ in aspect ({listing or 'no drives given'}); train them apart")
    width, height = drives[0].image_size
    return round(image_height * width / height), image_height


def _optimise(model: ImageEncoder, images: TrainingImages, recipe: Recipe, progress: Progress | None) -> list[float]:
    augment = image_augmentation() if recipe.augment else torch.nn.Identity()
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [max(recipe.steps * 2 // 3, 1)], gamma=0.1)
    losses: list[float] = []
    model.train()
    for step, indices in zip(range(recipe.steps), _endless_batches(images.positions_m, recipe), strict=False):
        positive, negative = places.masks(images.positions_m[indices], recipe.positive_m, recipe.negative_m)
        embeddings = model(augment(images.batch(indices)))
        result = batch_hard_triplet(embeddings, torch.from_numpy(positive), torch.from_numpy(negative), recipe.margin)
        optimiser.zero_grad()
        (0.5 * result.loss).backward()  # the task loss's weight in MinkLoc++ and DistilVPR
        optimiser.step()
        schedule.step()
        losses.append(float(result.loss.detach()))
        if progress:
            active = result.num_nonzero / max(result.num_triplets, 1)
            progress(step + 1, recipe.steps, {"loss": losses[-1], "active": active})
    return losses


def _endless_batches(positions_m: np.ndarray, recipe: Recipe) -> Iterator[np.ndarray]:
    positives = places.positives(positions_m, recipe.positive_m)
    if sum(len(found) > 0 for found in positives) < 4:
        raise RecipeError(
            f"of {len(positives)} frames fewer than 4 have another within {recipe.positive_m:g} m: "
            "drive the same streets at least twice, or raise positive_m"
        )
    rng = np.random.default_rng(recipe.seed)
    while True:
        yield from pair_batches(positives, recipe.batch_size, rng)
