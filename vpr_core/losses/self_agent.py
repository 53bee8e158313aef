"""The self-agent terms of DistilVPR's published code: RKD's distance and angle, and their like on other manifolds.

Student rows are [N, D], teacher rows [N, E]; the teacher never receives a gradient, and its width may be another.
Rows are taken as they come, without normalisation. One row alone has no relation to any other: every term is then 0.
With weights [N] a relation counts by the geometric mean of its rows' weights (`rows.pair_weights`), in the mean that
distances are divided by too: a row without weight takes no part. The sums are divided by N^2 or N^3 all the same.
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
from vpr_core.losses.rows import check_positive, pair_weights, row_weights, teacher_rows

_TINY = 1e-12
# Numbers of one slice of the N x N x N angles: a CPU core's cache, a GPU's appetite.
_ANGLES_PER_SLICE = {"cpu": 1 << 18}
_ANGLES_PER_SLICE_ELSEWHERE = 1 << 24


@in_full_precision
def self_distance_loss(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """RKD's distance term (Park et al., CVPR 2019): smooth L1 between distances over their mean; a scalar.

    The published code's stand-in for Eq. (7) of DistilVPR. The student's mean has a gradient too. Raises ValueError
    unless the rows and the weights pair up.
    """
    return _distance_term(*_squared_distances(student, teacher), _pairs(student, weights))


@in_full_precision
def self_angle_loss(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """RKD's angle term (Park et al., CVPR 2019): smooth L1 between the cosines at i of all triples (j, i, k); a scalar.

    The published code's stand-in for Eq. (10) of DistilVPR. Out of squared distances, in slices: N^2 memory and no
    N x N x D tensor. Raises ValueError unless the rows and the weights pair up.
    """
    return _AngleLoss.apply(*_squared_distances(student, teacher), _thirds(student, weights))


@in_full_precision
def self_cosine_loss(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """The published byte code's other angle term: smooth L1 between pairwise cosines; a scalar.

    The relations are those of Eq. (10) of DistilVPR. Raises ValueError unless the rows and the weights pair up.
    """
    teacher, pairs = teacher_rows(student, teacher), _pairs(student, weights)
    return _smooth_l1(cosine_matrix(student, student), cosine_matrix(teacher, teacher), pairs)


@in_full_precision
def self_geodesic_loss(
    student: Tensor, teacher: Tensor, curvature: float = 0.1, weights: Tensor | None = None
) -> Tensor:
    """Smooth L1 between geodesics over their off-diagonal mean; a scalar.

    The published code's stand-in for Eq. (16) of DistilVPR. It also averages those diagonal entries that rounding lifts
    above 0, which cannot be reproduced. Raises ValueError unless the rows and the weights pair up and the curvature is
    above 0.
    """
    check_positive("curvature", curvature)
    teacher, pairs = teacher_rows(student, teacher), _pairs(student, weights)
    return _smooth_l1(_mean_geodesics(student, curvature, pairs), _mean_geodesics(teacher, curvature, pairs), pairs)


@in_full_precision
def self_agent_terms(
    student: Tensor,
    teacher: Tensor,
    manifolds: Sequence[str] = ("euc", "cos", "hyp"),
    angle: Literal["three_point", "cosine"] = "three_point",
    curvature: float = 0.1,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """The terms above by name, those of `manifolds` alone: `self_distance`, `self_angle` and `self_geodesic`.

    Distance and three-point angle share their squared distances. Raises ValueError as the terms do.
    """
    squared = _squared_distances(student, teacher)
    terms = {}
    if "euc" in manifolds:
        terms["self_distance"] = _distance_term(*squared, _pairs(student, weights))
    if "cos" in manifolds:
        if angle == "three_point":
            terms["self_angle"] = _AngleLoss.apply(*squared, _thirds(student, weights))
        else:
            terms["self_angle"] = self_cosine_loss(student, teacher, weights)
    if "hyp" in manifolds:
        terms["self_geodesic"] = self_geodesic_loss(student, teacher, curvature, weights)
    return terms


def _squared_distances(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    teacher = teacher_rows(student, teacher)
    return squared_euclidean_matrix(student, student), squared_euclidean_matrix(teacher, teacher)


def _pairs(rows: Tensor, weights: Tensor | None) -> Tensor | None:
    return None if weights is None else pair_weights(row_weights(rows, weights))


def _thirds(rows: Tensor, weights: Tensor | None) -> Tensor | None:
    """Of three rows their product is the geometric mean of the weights."""
    return None if weights is None else row_weights(rows, weights) ** (1 / 3)


def _smooth_l1(student: Tensor, teacher: Tensor, pairs: Tensor | None) -> Tensor:
    if pairs is None:
        return functional.smooth_l1_loss(student, teacher)
    return (pairs * functional.smooth_l1_loss(student, teacher, reduction="none")).mean()


def _distance_term(student_squared: Tensor, teacher_squared: Tensor, pairs: Tensor | None) -> Tensor:
    return _smooth_l1(_mean_distances(student_squared, pairs), _mean_distances(teacher_squared, pairs), pairs)


def _mean_distances(squared: Tensor, pairs: Tensor | None) -> Tensor:
    return _over_mean(squared.clamp_min(_TINY).sqrt(), pairs)


def _mean_geodesics(rows: Tensor, curvature: float, pairs: Tensor | None) -> Tensor:
    points = to_poincare(rows, curvature)
    return _over_mean(dist_matrix(points, points, curvature), pairs)


def _over_mean(distances: Tensor, pairs: Tensor | None) -> Tensor:
    count = len(distances)
    same = torch.eye(count, dtype=torch.bool, device=distances.device)
    apart = distances.masked_fill(same, 0)
    if pairs is None:
        return apart / (apart.sum() / max(count * (count - 1), 1)).clamp_min(_TINY)
    of_weights = pairs.masked_fill(same, 0).sum().clamp_min(_TINY)
    return apart / ((apart * pairs).sum() / of_weights).clamp_min(_TINY)


class _AngleLoss(torch.autograd.Function):
    """Mean over i, j, k of smoothL1(A_s - A_t), out of squared distances w [N, N] of student and teacher.

    A_ijk = (w_ij + w_ik - w_jk) / (2 d_ij d_ik) is the cosine at i between j and k, 0 where either coincides with i.
    thirds [N] or None: the entry of i, j, k counts thirds_i thirds_j thirds_k times.
    Forward makes the gradient slice by slice, so that no N^3 numbers wait for backward.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, thirds: Tensor | None) -> Tensor:
        count = len(student)
        inverse, teacher_inverse = _inverse_root(student), _inverse_root(teacher)
        total, gradient = student.new_zeros(()), torch.zeros_like(student)
        for rows in _slices(student):
            angles = _angles(student, inverse, rows)
            target = _angles(teacher, teacher_inverse, rows)
            weights = None if thirds is None else _triples(thirds, rows)
            total += _smooth_l1_sum(angles, target, weights)
            if ctx.needs_input_grad[0]:
                _add_angle_gradient(gradient, angles, target, inverse, rows, weights)
        ctx.save_for_backward(gradient / count**3)
        return total / count**3

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None


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


def _triples(thirds: Tensor, rows: slice) -> Tensor:
    """Weights of i, j, k for vertices i in rows, [rows, N, N]."""
    return thirds[rows, None, None] * (thirds[:, None] * thirds)


def _smooth_l1_sum(angles: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return functional.smooth_l1_loss(angles, target, reduction="sum")
    return (weights * functional.smooth_l1_loss(angles, target, reduction="none")).sum()


def _add_angle_gradient(
    gradient: Tensor, angles: Tensor, target: Tensor, inverse: Tensor, rows: slice, weights: Tensor | None
) -> None:
    """Add d(sum of smoothL1) / dw of one slice to `gradient`; overwrites `angles` and `target`.

    A is symmetric in j and k, so w_ij and w_ik share one sum; d_ij and d_ik contribute -A / w.
    """
    scale = inverse[rows]
    slope = torch.sub(angles, target, out=target).clamp_(-1, 1)
    if weights is not None:
        slope.mul_(weights)
    along = angles.mul_(slope).sum(2)
    slope.mul_(scale[:, :, None]).mul_(scale[:, None, :])
    gradient[rows] += slope.sum(2) - along * scale.square()
    gradient -= slope.sum(0) / 2
