"""What losses ask of a batch's rows, and the way from a student's width to its teacher's."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional


def teacher_rows(student: Tensor, teacher: Tensor, same_width: bool = False) -> Tensor:
    """The teacher's rows [N, E] as a constant, in the precision of the student's rows [N, D].

    Raises ValueError unless the two pair up and, where `same_width`, D = E.
    """
    shapes = f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or len(student) < 1:
        raise ValueError(f"{shapes}: expected [N, D] and [N, E] with the same N of at least 1")
    if same_width and student.shape[1] != teacher.shape[1]:
        raise ValueError(f"{shapes}: this loss needs one width; give student_dim and teacher_dim for an adaptor")
    return teacher.detach().to(student.dtype)


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise ValueError unless `value` is one of the strings of the Literal `choices`."""
    if value not in get_args(choices):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(get_args(choices))}")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless `value` is above 0."""
    if not value > 0:
        raise ValueError(f"{name} is {value}, expected a number above 0")


def row_weights(rows: Tensor, weights: Tensor, divide_by_mean: bool = False) -> Tensor:
    """The weights [N] of a batch's rows as constants in their precision.

    divide_by_mean: divided by their mean, so that their scale does not matter; all 0 stay 0.
    Raises ValueError unless there is one of 0 or more for each row.
    """
    if weights.shape != rows.shape[:1] or weights.requires_grad or not bool((weights >= 0).all()):
        raise ValueError(f"weights are {list(weights.shape)}, expected constants [{len(rows)}] of 0 or more")
    weights = weights.to(rows)
    return weights / weights.mean().clamp_min(torch.finfo(weights.dtype).tiny) if divide_by_mean else weights


def pair_weights(weights: Tensor) -> Tensor:
    """The weight [N, N] of the relation between rows i and j of weights [N]: sqrt(w_i w_j).

    StructVPR (Sec. 3.5) weighs the one descriptor of a sample, DistilVPR's relations have two, and in angles three. Of
    their weights it is the geometric mean: like the product it leaves out every relation with a sample of weight 0,
    which the teacher does not master and where an arithmetic mean would still teach half of it; unlike the product it
    has the scale of one weight, as that of a query and the positive drawn with it.
    """
    roots = weights.sqrt()
    return roots[:, None] * roots


def check_masks(rows: Tensor, positives_mask: Tensor, negatives_mask: Tensor) -> None:
    """Raise ValueError unless rows are [N, D] and the masks of their pairs bool [N, N]."""
    if rows.ndim != 2:
        raise ValueError(f"embeddings have shape {tuple(rows.shape)}, expected [N, D]")
    expected = (len(rows), len(rows))
    for name, mask in (("positives_mask", positives_mask), ("negatives_mask", negatives_mask)):
        if tuple(mask.shape) != expected or mask.dtype != torch.bool:
            raise ValueError(f"{name} is {mask.dtype} {tuple(mask.shape)}, expected torch.bool {expected}")


def width_adaptor(student_dim: int | None, teacher_dim: int | None) -> nn.Module:
    """A learned linear map from the student's width to the teacher's, or the identity where they agree.

    It starts orthogonal, so that towards a wider teacher the student's distances and angles begin unchanged. It
    belongs to the loss: give its parameters to the optimiser, and leave it out of the student.
    """
    if student_dim is None or teacher_dim is None or student_dim == teacher_dim:
        return nn.Identity()
    return _Adaptor(student_dim, teacher_dim)


class _Adaptor(nn.Linear):
    """Rows [N, D] to [N, E] in their own precision, whatever that of the weight."""

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__(student_dim, teacher_dim, bias=False)

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.weight)

    def forward(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.weight.to(rows.dtype))
