"""What a network is trained for: the task, and for a student beside it what its teacher says."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vpr_core.errors import RecipeError
from vpr_core.losses.baselines import BaselineLoss
from vpr_core.losses.feature import FeatureDistillation
from vpr_core.losses.metric import TripletResult, batch_hard_triplet
from vpr_core.losses.relational import DistilVPRLoss
from vpr_core.losses.triplet import all_triplets, pair_triplets, triplet_margin
from vpr_core.training.distillation import RELATIONAL, STRUCTVPR, Distillation
from vpr_core.training.network_input import EMBEDDING, HEADS
from vpr_core.training.recipe import Recipe


class PairMasks(NamedTuple):
    """bool [N, N] each: which pairs of a batch show one place, and which show different places."""

    positive: Tensor
    negative: Tensor


Violations = dict[str, tuple[int, int]]
"""By head, how many triplets violate the margin, and how many there are."""


class Task(NamedTuple):
    """What `task_loss` gives."""

    loss: Tensor
    figures: dict[str, float]
    violations: Violations


def task_loss(descriptors: dict[str, Tensor], masks: PairMasks, recipe: Recipe) -> Task:
    """The recipe's triplet loss on every head, weighted by `task_weights`; and figures of every head.

    With the weights 0.5, 0.5, 0 this is MinkLoc++'s multi-head loss, and 0.5 of the triplet loss for a student. A head
    without weight is looked at all the same.
    """
    weighted = descriptors[EMBEDDING].new_zeros(())
    figures: dict[str, float] = {}
    violations: Violations = {}
    for name, weight in zip(HEADS, recipe.task_weights, strict=True):
        if name not in descriptors:
            continue
        result = _triplet_loss(descriptors[name], masks, recipe)
        if weight or name == EMBEDDING:
            weighted = weighted + weight * result.loss
        suffix = "" if name == EMBEDDING else f"_{name.removesuffix('_embedding')}"
        figures[f"loss{suffix}"] = float(result.loss.detach())
        figures[f"active{suffix}"] = result.num_nonzero / max(result.num_triplets, 1)
        violations[name] = result.num_nonzero, result.num_triplets
    return Task(weighted, figures, violations)


def _triplet_loss(rows: Tensor, masks: PairMasks, recipe: Recipe) -> TripletResult:
    if recipe.mining == "pairs":
        return triplet_margin(rows, pair_triplets(rows, masks.negative), recipe.margin)
    if recipe.mining == "all":
        return triplet_margin(rows, all_triplets(masks.negative), recipe.margin, of_violating=True)
    return batch_hard_triplet(rows, masks.positive, masks.negative, recipe.margin)


class Distiller(nn.Module):
    """The distillation loss of a recipe. Its parameters, if it has any, are trained with the student's."""

    def __init__(self, recipe: Distillation, student_dim: int, teacher_dim: int) -> None:
        """Raises RecipeError for an unknown method or option."""
        super().__init__()
        self.weight, self.warmup_steps, self.method = recipe.weight, recipe.warmup_steps, recipe.method
        self.loss = _distillation_loss(recipe, student_dim, teacher_dim)

    def forward(
        self, student: Tensor, teacher: Tensor, masks: PairMasks, sample_weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """student [N, D], teacher [N, E] -> the weighted loss; and each of its terms without any weight.

        sample_weights [N / 2], of structvpr and DistilVPR's methods: how much the sample counts that rows 2i and 2i + 1
        are, a frame and its positive.
        """
        if isinstance(self.loss, FeatureDistillation):
            loss, terms = _of_triplets(self.loss, student, teacher, masks, sample_weights)
        elif isinstance(self.loss, BaselineLoss):
            loss, terms = self.loss(student, teacher, masks.positive, masks.negative)
        else:
            loss, terms = _of_relations(self.loss, student, teacher, sample_weights)
        loss = self.weight * loss
        figures = {"distillation": float(loss.detach())}
        return loss, figures | {name: float(term.detach()) for name, term in terms.items()}


def _of_triplets(
    loss: FeatureDistillation, student: Tensor, teacher: Tensor, masks: PairMasks, sample_weights: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss over query, positive and negative of the triplets that `pair_triplets` finds."""
    triplets = pair_triplets(student, masks.negative)
    rows = torch.stack(triplets, dim=1)
    if not len(rows):
        return 0.0 * student.sum(), {}
    weights = None if sample_weights is None else sample_weights[triplets.queries // 2]
    total, terms = loss(student[rows], teacher[rows], weights)
    return total, terms if weights is None else terms | {"sample_weight": weights.mean()}


def _of_relations(
    loss: nn.Module, student: Tensor, teacher: Tensor, sample_weights: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """DistilVPR's loss, in which both rows of a sample have its weight."""
    if sample_weights is None:
        return loss(student, teacher)
    total, terms = loss(student, teacher, sample_weights.repeat_interleave(2))
    return total, terms | {"sample_weight": sample_weights.mean()}


def gradient_norms(task: Tensor, distillation: Tensor, descriptors: Tensor) -> dict[str, float]:
    """Norms of both losses' gradients on the student's descriptors, and how many times the task's the other's is."""
    of_task, of_distillation = (
        float(torch.autograd.grad(loss, descriptors, retain_graph=True)[0].norm()) for loss in (task, distillation)
    )
    return {
        "gradient_task": of_task,
        "gradient_distillation": of_distillation,
        "gradient_ratio": of_distillation / max(of_task, 1e-12),
    }


def _distillation_loss(recipe: Distillation, student_dim: int, teacher_dim: int) -> nn.Module:
    try:
        # The student's random numbers stay those of a run without distillation.
        with torch.random.fork_rng(devices=[]):
            if recipe.method == STRUCTVPR:
                return _feature_distillation(recipe, student_dim, teacher_dim)
            if recipe.method not in RELATIONAL:
                return BaselineLoss(recipe.method, student_dim=student_dim, teacher_dim=teacher_dim, **recipe.options)
            return DistilVPRLoss(
                recipe.method,  # type: ignore[arg-type]  # it is one of RELATIONAL
                recipe.mode,
                recipe.curvature,
                recipe.weight_self,
                recipe.weight_cross,
                manifolds=recipe.manifolds,
                weight_tt_ts=recipe.weight_tt_ts,
                angle=recipe.angle,
                student_dim=student_dim,
                teacher_dim=teacher_dim,
                divide_by_mean=recipe.divide_by_mean,
            )
    except ValueError as error:
        names = ", ".join(RELATIONAL)
        raise RecipeError(
            f"distillation: {error}; DistilVPR's own methods are {names}, StructVPR's is {STRUCTVPR}"
        ) from error


def _feature_distillation(recipe: Distillation, student_dim: int, teacher_dim: int) -> FeatureDistillation:
    known = ("side", "divide_by_mean")
    if unknown := sorted(set(recipe.options) - set(known)):
        raise RecipeError(f"distillation: {STRUCTVPR} has no option {unknown[0]!r}; it has {', '.join(known)}")
    return FeatureDistillation(student_dim, teacher_dim, **recipe.options)
