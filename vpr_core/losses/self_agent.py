"""The self-agent terms of DistilVPR's published code: RKD's distance and angle, and their like on other manifolds.

Student rows are [N, D], teacher rows [N, E]; the teacher never receives a gradient, and its width may be another.
Rows are taken as they come, without normalisation. One row alone has no relation to any other: every term is then 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vpr_core.losses.manifolds import (
    cosine_matrix,
    dist_matrix,
    in_full_precision,
    squared_euclidean_matrix,
    to_poincare,
)
from vpr_core.losses.rows import check_positive, teacher_rows

_TINY = 1e-12
# Numbers of one slice of the N x N x N angles: a CPU core's cache, a GPU's appetite.
_ANGLES_PER_SLICE = {"cpu": 1 << 18}
_ANGLES_PER_SLICE_ELSEWHERE = 1 << 24


@in_full_precision
def self_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD's distance term (Park et al., CVPR 2019): smooth L1 between distances over their mean; a scalar.

    The published code's stand-in for Eq. (7) of DistilVPR. The student's mean has a gradient too. Raises ValueError
    unless the rows pair up.
    """
    return _distance_term(*_squared_distances(student, teacher))


@in_full_precision
def self_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD's angle term (Park et al., CVPR 2019): smooth L1 between the cosines at i of all triples (j, i, k); a scalar.

    The published code's stand-in for Eq. (10) of DistilVPR. Out of squared distances, in slices: N^2 memory and no
    N x N x D tensor. Raises ValueError unless the rows pair up.
    """
    return _AngleLoss.apply(*_squared_distances(student, teacher))


@in_full_precision
def self_cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The published byte code's other angle term: smooth L1 between pairwise cosines; a scalar.

    The relations are those of Eq. (10) of DistilVPR. Raises ValueError unless the rows pair up.
    """
    teacher = teacher_rows(student, teacher)
    return functional.smooth_l1_loss(cosine_matrix(student, student), cosine_matrix(teacher, teacher))


@in_full_precision
def self_geodesic_loss(student: Tensor, teacher: Tensor, curvature: float = 0.1) -> Tensor:
    """Smooth L1 between geodesics over their off-diagonal mean; a scalar.

    The published code's stand-in for Eq. (16) of DistilVPR. It also averages those diagonal entries that rounding lifts
    above 0, which cannot be reproduced. Raises ValueError unless the rows pair up and the curvature is above 0.
    """
    check_positive("curvature", curvature)
    teacher = teacher_rows(student, teacher)
    return functional.smooth_l1_loss(_mean_geodesics(student, curvature), _mean_geodesics(teacher, curvature))


@in_full_precision
def self_agent_terms(
    student: Tensor,
    teacher: Tensor,
    manifolds: Sequence[str] = ("euc", "cos", "hyp"),
    angle: Literal["three_point", "cosine"] = "three_point",
    curvature: float = 0.1,
) -> dict[str, Tensor]:
    """The terms above by name, those of `manifolds` alone: `self_distance`, `self_angle` and `self_geodesic`.

    Distance and three-point angle share their squared distances. Raises ValueError as the terms do.
    """
    squared = _squared_distances(student, teacher)
    terms = {}
    if "euc" in manifolds:
        terms["self_distance"] = _distance_term(*squared)
    if "cos" in manifolds:
        three_point = angle == "three_point"
        terms["self_angle"] = _AngleLoss.apply(*squared) if three_point else self_cosine_loss(student, teacher)
    if "hyp" in manifolds:
        terms["self_geodesic"] = self_geodesic_loss(student, teacher, curvature)
    return terms


def _squared_distances(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    teacher = teacher_rows(student, teacher)
    return squared_euclidean_matrix(student, student), squared_euclidean_matrix(teacher, teacher)


def _distance_term(student_squared: Tensor, teacher_squared: Tensor) -> Tensor:
    return functional.smooth_l1_loss(_mean_distances(student_squared), _mean_distances(teacher_squared))


def _mean_distances(squared: Tensor) -> Tensor:
    return _over_mean(squared.clamp_min(_TINY).sqrt())


def _mean_geodesics(rows: Tensor, curvature: float) -> Tensor:
    points = to_poincare(rows, curvature)
    return _over_mean(dist_matrix(points, points, curvature))


def _over_mean(distances: Tensor) -> Tensor:
    count = len(distances)
    apart = distances.masked_fill(torch.eye(count, dtype=torch.bool, device=distances.device), 0)
    return apart / (apart.sum() / max(count * (count - 1), 1)).clamp_min(_TINY)


class _AngleLoss(torch.autograd.Function):
    """Mean over i, j, k of smoothL1(A_s - A_t), out of squared distances w [N, N] of student and teacher.

    A_ijk = (w_ij + w_ik - w_jk) / (2 d_ij d_ik) is the cosine at i between j and k, 0 where either coincides with i.
    Forward makes the gradient slice by slice, so that no N^3 numbers wait for backward.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        count = len(student)
        inverse, teacher_inverse = _inverse_root(student), _inverse_root(teacher)
        total, gradient = student.new_zeros(()), torch.zeros_like(student)
        for rows in _slices(student):
            angles = _angles(student, inverse, rows)
            target = _angles(teacher, teacher_inverse, rows)
            total += functional.smooth_l1_loss(angles, target, reduction="sum")
            if ctx.needs_input_grad[0]:
                _add_angle_gradient(gradient, angles, target, inverse, rows)
        ctx.save_for_backward(gradient / count**3)
        return total / count**3

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None


def _slices(squared: Tensor) -> list[slice]:
    count = len(squared)
    step = max(1, _ANGLES_PER_SLICE.get(squared.device.type, _ANGLES_PER_SLICE_ELSEWHERE) // count**2)
    return [slice(start, start + step) for start in range(0, count, step)]


def _inverse_root(squared: Tensor) -> Tensor:
    return squared.rsqrt().masked_fill(squared == 0, 0)


def _angles(squared: Tensor, inverse: Tensor, rows: slice) -> Tensor:
    """A_ijk for vertices i in rows, [rows, N, N]."""
    near, scale = squared[rows], inverse[rows]
    doubled = (near[:, :, None] + near[:, None, :]).sub_(squared)
    return doubled.mul_(scale[:, :, None] / 2).mul_(scale[:, None, :])


def _add_angle_gradient(gradient: Tensor, angles: Tensor, target: Tensor, inverse: Tensor, rows: slice) -> None:
    """Add d(sum of smoothL1) / dw of one slice to `gradient`; overwrites `angles` and `target`.

    A is symmetric in j and k, so w_ij and w_ik share one sum; d_ij and d_ik contribute -A / w.
    """
    scale = inverse[rows]
    slope = torch.sub(angles, target, out=target).clamp_(-1, 1)
    along = angles.mul_(slope).sum(2)
    slope.mul_(scale[:, :, None]).mul_(scale[:, None, :])
    gradient[rows] += slope.sum(2) - along * scale.square()
    gradient -= slope.sum(0) / 2
