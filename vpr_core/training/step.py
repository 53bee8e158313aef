"""One step of a run: a batch is read, described and compared, and the weights move."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from vpr_core.data import places
from vpr_core.training.backpropagation import Descriptors, Objective, backpropagate, parts_of
from vpr_core.training.material import Material
from vpr_core.training.network_input import EMBEDDING, SEGMENTATION, Augmentation, Inputs, arguments_of, heads
from vpr_core.training.objective import PairMasks, Violations, gradient_norms, task_loss
from vpr_core.training.run import Run
from vpr_core.training.structvpr import segmentation_loss

HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def take_step(run: Run, material: Material, augmentation: Augmentation | None, diagnose: bool) -> dict[str, float]:
    """Move the weights down the losses of the sampler's next batch; the figures of the step.

    diagnose: measure `gradient_norms` of a student with a teacher.
    """
    group, indices = material.group, next(run.sampler)
    group.draw_afresh(run.recipe.seed, run.step, run.cloud_rng)
    losses = Losses(run, material, indices, diagnose)
    add_gradients(run, material, indices, losses, augmentation)
    run.update(losses.figures["loss"], losses.violations)
    return losses.figures


def add_gradients(
    run: Run, material: Material, indices: np.ndarray, objective: Objective, augmentation: Augmentation | None = None
) -> None:
    """Add the objective's gradient over these samples to the network's parameters and to the distiller's."""
    group = material.group
    parts = parts_of(len(indices), run.recipe.split_batch, group)
    inputs = [material.network_input.read(material.samples, indices[part], augmentation) for part in parts]
    run.model.train()
    backpropagate(run.model, partial(_describe, run, inputs, group.device), parts, objective, len(indices), group)
    if run.distiller:  # every process has its whole gradient; all are to learn the same to the last bit
        group.add_up(run.distiller.parameters(), 1 / group.count)


class Losses:
    """What a batch's descriptors are compared by, and the figures of its latest call."""

    figures: dict[str, float]
    violations: Violations

    def __init__(self, run: Run, material: Material, indices: np.ndarray, diagnose: bool = False) -> None:
        self._run, self._diagnose = run, diagnose and bool(run.distiller)
        device = material.group.device
        self._masks = _masks(material, indices)
        learns = material.teacher and run.distiller and run.step >= run.distiller.warmup_steps
        self._teacher = material.teacher.rows[indices].to(device) if material.teacher and learns else None
        weighed = material.sample_weights
        self._weights = torch.from_numpy(weighed.of_pairs(indices)).to(device) if weighed and learns else None
        self._segments = material.targets.read(material.samples, indices).to(device) if material.targets else None

    def __call__(self, descriptors: Descriptors) -> Tensor:
        """descriptors [N, D] of the whole batch by head -> the loss, in the scale that the run's precision needs."""
        loss, self.figures, self.violations = task_loss(descriptors, self._masks, self._run.recipe)
        if self._run.recipe.batch_limit:
            self.figures["batch_size"] = float(len(descriptors[EMBEDDING]))
        if self._segments is not None:
            segmented = segmentation_loss(descriptors[SEGMENTATION], self._segments)
            loss = loss + self._run.recipe.segmentation_weight * segmented
            self.figures["segmentation"] = float(segmented.detach())
        if self._run.distiller and self._teacher is not None:
            student = descriptors[EMBEDDING]
            taught, terms = self._run.distiller(student, self._teacher, self._masks, self._weights)
            if self._diagnose:
                terms |= gradient_norms(loss, taught, student)
            loss = loss + taught
            self.figures |= terms
        return self._run.scaler.scale(loss)


def _describe(run: Run, inputs: list[Inputs], device: str, part: int) -> Descriptors:
    arguments = arguments_of(inputs[part], device)
    half = HALF.get(run.recipe.precision)
    with torch.autocast(torch.device(device).type, half, enabled=half is not None):
        found = heads(run.model, arguments, run.recipe.normalize)
    return {head: rows.to(torch.promote_types(rows.dtype, torch.float32)) for head, rows in found.items()}


def _masks(material: Material, indices: np.ndarray) -> PairMasks:
    recipe, positions_m = material.recipe, material.samples.positions_m[indices]
    positive, negative = places.masks(positions_m, recipe.positive_m, recipe.negative_m)
    device = material.group.device
    return PairMasks(torch.from_numpy(positive).to(device), torch.from_numpy(negative).to(device))
