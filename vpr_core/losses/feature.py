"""StructVPR Sec. 3.5. Distillation of descriptors, each sample with a weight of its own."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vpr_core.losses.manifolds import in_full_precision

Side = Literal["student", "teacher"]

__all__ = ["FeatureDistillation", "feature_distillation"]


@in_full_precision
def feature_distillation(
    student: Tensor, teacher: Tensor, weights: Tensor | None = None, divide_by_mean: bool = False
) -> Tensor:
    """StructVPR Eqs. (5), (6). mean_i w_i mean_v |student_iv - teacher_iv|^2, a scalar.

    student, teacher [B, V, D]: V descriptors of each of B samples, those of query, positive and negative in the paper;
    weights [B] of `structvpr.weighting`, all 1 where there are none.
    divide_by_mean: weights are divided by their mean over the batch, so that a scheme's scale does not matter; a batch
    whose weights are all 0 gives 0.
    The mean over the V descriptors and over the batch is inferred, for the equations are lost from our copy.
    Raises ValueError where the shapes do not fit.
    """
    if student.ndim != 3 or student.shape != teacher.shape:
        raise ValueError(f"student {list(student.shape)}, teacher {list(teacher.shape)}: expected [B, V, D] twice")
    losses = (student - teacher).square().sum(dim=2).mean(dim=1)
    return (losses * _checked(weights, losses, divide_by_mean)).mean()


def _checked(weights: Tensor | None, losses: Tensor, divide_by_mean: bool) -> Tensor:
    if weights is None:
        return torch.ones_like(losses)
    if weights.shape != losses.shape or weights.requires_grad:
        raise ValueError(f"weights are {list(weights.shape)}, expected constants [{len(losses)}], one for each sample")
    weights = weights.to(losses)
    return weights / weights.mean().clamp(min=torch.finfo(weights.dtype).tiny) if divide_by_mean else weights


class FeatureDistillation(nn.Module):
    """StructVPR Eq. (5) with its transformation layer T, a learned linear map between the two widths.

    side: whose descriptors T transforms. The paper's text leaves it open; on the student, 448 -> 480, it cannot shrink
    what is to be learned, as it could on the teacher. T belongs to the loss: give its parameters to the optimiser, and
    leave it out of the student.
    weight: lambda of Eq. (6), inferred: 1. Where the paper says "other constant" it may mean this.
    """

    def __init__(
        self,
        student_dim: int = 448,
        teacher_dim: int = 480,
        side: Side = "student",
        weight: float = 1.0,
        divide_by_mean: bool = False,
    ) -> None:
        super().__init__()
        if side not in ("student", "teacher"):
            raise ValueError(f"side is {side!r}, expected student or teacher")
        widths = (student_dim, teacher_dim) if side == "student" else (teacher_dim, student_dim)
        self.transformation = nn.Linear(*widths)
        self.side, self.weight, self.divide_by_mean = side, weight, divide_by_mean

    @in_full_precision
    def forward(
        self, student: Tensor, teacher: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """student [B, V, S], teacher [B, V, T], weights [B] or none: lambda times the loss, and {"feature": loss}.

        The teacher's branch receives no gradient. Raises ValueError as `feature_distillation` does.
        """
        teacher = teacher.detach()
        if self.side == "student":
            student = self.transformation(student)
        else:
            teacher = self.transformation(teacher)
        loss = feature_distillation(student, teacher, weights, self.divide_by_mean)
        return self.weight * loss, {"feature": loss}
