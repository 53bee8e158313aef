"""DistilVPR Eqs. (1)-(2). Relations among a batch's descriptors, taught by a teacher to a student.

A relation is a matrix of distances or similarities. Self-agent relations compare a network with itself (tt, ss),
cross-agent ones the teacher with the student (ts). The paper and the published code disagree; both are
here. Student rows are [N, D], teacher rows [N, E]; the teacher never receives a gradient.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vpr_core.losses.manifolds import (
    cosine_matrix,
    dist_matrix,
    euclidean_matrix,
    in_full_precision,
    squared_euclidean_matrix,
    to_poincare,
)

Manifold = Literal["euc", "cos", "hyp"]
Agents = Literal["tt-ss", "ts-ss", "tt-ts"]
Distance = Literal["mse", "smooth_l1", "l1"]
Reduction = Literal["mean", "sum"]

_COMPARE = {"mse": functional.mse_loss, "smooth_l1": functional.smooth_l1_loss, "l1": functional.l1_loss}
_TINY = 1e-12
# Numbers of one slice of the N x N x N angles: a CPU core's cache, a GPU's appetite.
_ANGLES_PER_SLICE = {"cpu": 1 << 18}
_ANGLES_PER_SLICE_ELSEWHERE = 1 << 24


@in_full_precision
def relation_matrix(x: Tensor, y: Tensor, manifold: Manifold, curvature: float = 0.1) -> Tensor:
    """DistilVPR Eqs. (6), (9), (12)-(15). Relation of every row of x [N, D] to every row of y [M, D], [N, M].

    "euc": Euclidean distance; "cos": cosine similarity; "hyp": geodesic distance on the Poincaré ball of curvature
    -`curvature`, to which the exponential map at the origin takes the rows.
    """
    _check_choice("manifold", manifold, Manifold)
    if manifold == "euc":
        return euclidean_matrix(x, y)
    if manifold == "cos":
        return cosine_matrix(x, y)
    return dist_matrix(to_poincare(x, curvature), to_poincare(y, curvature), curvature)


@in_full_precision
def relational_loss(
    student: Tensor,
    teacher: Tensor,
    manifold: Manifold = "euc",
    agents: Agents = "ts-ss",
    distance: Distance = "mse",
    normalize: bool = False,
    detach_cross: bool = False,
    reduction: Reduction = "mean",
    curvature: float = 0.1,
) -> Tensor:
    """DistilVPR Eqs. (3)-(5). Distance between two relation matrices, over all N^2 entries; a scalar.

    agents        "tt-ss" Eq. (3), "ts-ss" Eq. (4), "tt-ts" Eq. (5)
    distance      between the entries of two matrices
    normalize     rows to unit length first
    detach_cross  no gradient through ts, as in the published code; with "tt-ts" none is left

    Raises ValueError where the rows do not pair up or a name is unknown; of the three, only "tt-ss" takes a teacher
    of another width.
    """
    _check_choice("agents", agents, Agents)
    _check_choice("distance", distance, Distance)
    _check_choice("reduction", reduction, Reduction)
    check_rows(student, teacher, same_width=agents != "tt-ss")
    rows = {"s": student, "t": teacher.detach()}
    if normalize:
        rows = {agent: functional.normalize(row, dim=-1) for agent, row in rows.items()}
    first, second = (_relation(rows, pair, manifold, curvature, detach_cross) for pair in agents.split("-"))
    return _COMPARE[distance](second, first, reduction=reduction)


def _relation(rows: dict[str, Tensor], pair: str, manifold: Manifold, curvature: float, detach_cross: bool) -> Tensor:
    relation = relation_matrix(rows[pair[0]], rows[pair[1]], manifold, curvature)
    return relation.detach() if detach_cross and pair == "ts" else relation


@in_full_precision
def self_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD's distance term in the published code: smooth L1 between distances over their mean; a scalar."""
    check_rows(student, teacher)
    return functional.smooth_l1_loss(_mean_distances(student), _mean_distances(teacher.detach()))


@in_full_precision
def self_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD's angle term in the published code: smooth L1 between the cosines at i of all triples (j, i, k); a scalar.

    Out of squared distances, in slices: N^2 memory and no N x N x D tensor.
    """
    check_rows(student, teacher)
    student_squared = squared_euclidean_matrix(student, student)
    return _AngleLoss.apply(student_squared, squared_euclidean_matrix(teacher.detach(), teacher.detach()))


@in_full_precision
def self_cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The published byte code's other angle term: smooth L1 between pairwise cosines; a scalar."""
    return relational_loss(student, teacher, "cos", "tt-ss", "smooth_l1")


@in_full_precision
def self_geodesic_loss(student: Tensor, teacher: Tensor, curvature: float = 0.1) -> Tensor:
    """The published code's geodesic term: smooth L1 between geodesics over their off-diagonal mean; a scalar.

    The published code also averages those diagonal entries that rounding lifts above 0, which cannot be reproduced.
    """
    check_rows(student, teacher)
    return functional.smooth_l1_loss(_mean_geodesics(student, curvature), _mean_geodesics(teacher.detach(), curvature))


class DistilVPRLoss(nn.Module):
    """DistilVPR Eqs. (7), (8), (10), (11), (16)-(22) without L_task: weight_self * L_KD-S + weight_cross * L_KD-C.

    Called with student [N, D] and teacher [N, E]; returns the weighted sum and its unweighted terms, scalars that keep
    their graph: `self_distance self_angle self_geodesic cross_euc cross_cos cross_hyp` in mode "code" and
    `self_euc self_cos self_hyp cross_euc cross_cos cross_hyp` in mode "paper", only those of the variant and manifolds;
    with weight_tt_ts `tt_ts_euc tt_ts_cos tt_ts_hyp` too.

    variant              "S" self terms, "C" cross terms, "SC" both
    mode                 "code" as the training script was published, "paper" as Eqs. (3)-(22) are printed
    weight_self          the published value is 10 for Oxford RobotCar, 1 for Boreas
    weight_tt_ts         of the terms of Eq. (5), which the paper has in Table 4 alone and the published code at 0
    angle                of mode "code": "three_point", or "cosine", pairwise as in Eq. (10)
    distance, reduction  of mode "paper", which names neither; mode "code" has fixed ones
    student_dim, teacher_dim  where they differ, a learned linear map takes the student's rows to the teacher's width
                         for the cross terms; self terms need none
    """

    def __init__(
        self,
        variant: Literal["S", "C", "SC"] = "SC",
        mode: Literal["code", "paper"] = "code",
        curvature: float = 0.1,
        weight_self: float = 10.0,
        weight_cross: float = 0.1,
        manifolds: Sequence[Manifold] = ("euc", "cos", "hyp"),
        angle: Literal["three_point", "cosine"] = "three_point",
        reduction: Reduction = "mean",
        distance: Distance = "mse",
        student_dim: int | None = None,
        teacher_dim: int | None = None,
        weight_tt_ts: float = 0.0,
    ) -> None:
        super().__init__()
        _check_choice("variant", variant, Literal["S", "C", "SC"])
        _check_choice("mode", mode, Literal["code", "paper"])
        _check_choice("angle", angle, Literal["three_point", "cosine"])
        for manifold in manifolds:
            _check_choice("manifold", manifold, Manifold)
        self.variant, self.mode, self.curvature, self.angle = variant, mode, curvature, angle
        self.weight_self, self.weight_cross, self.weight_tt_ts = weight_self, weight_cross, weight_tt_ts
        self.manifolds, self.reduction, self.distance = tuple(manifolds), reduction, distance
        across = "C" in variant or weight_tt_ts > 0
        self.adaptor = width_adaptor(student_dim, teacher_dim) if across else nn.Identity()

    @in_full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self_terms = self._self_terms(student, teacher) if "S" in self.variant else {}
        adapted = self.adaptor(student)
        cross_terms = self._cross_terms(adapted, teacher, "ts-ss") if "C" in self.variant else {}
        tt_ts_terms = self._cross_terms(adapted, teacher, "tt-ts") if self.weight_tt_ts > 0 else {}
        weighted = ((self.weight_self, self_terms), (self.weight_cross, cross_terms), (self.weight_tt_ts, tt_ts_terms))
        loss = student.new_zeros(())
        for weight, terms in weighted:
            loss = loss + weight * sum(terms.values(), student.new_zeros(()))
        return loss, self_terms | cross_terms | tt_ts_terms

    def _self_terms(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        if self.mode == "paper":
            return {f"self_{m}": self._paper_term(student, teacher, m, "tt-ss") for m in self.manifolds}
        terms = {}
        if "euc" in self.manifolds:
            terms["self_distance"] = self_distance_loss(student, teacher)
        if "cos" in self.manifolds:
            angle_loss = self_angle_loss if self.angle == "three_point" else self_cosine_loss
            terms["self_angle"] = angle_loss(student, teacher)
        if "hyp" in self.manifolds:
            terms["self_geodesic"] = self_geodesic_loss(student, teacher, self.curvature)
        return terms

    def _cross_terms(self, student: Tensor, teacher: Tensor, agents: Agents) -> dict[str, Tensor]:
        name = {"ts-ss": "cross", "tt-ts": "tt_ts"}[agents]
        if self.mode == "paper":
            return {f"{name}_{m}": self._paper_term(student, teacher, m, agents) for m in self.manifolds}
        detach = agents == "ts-ss"
        return {
            f"{name}_{m}": relational_loss(
                student, teacher, m, agents, normalize=True, detach_cross=detach, curvature=self.curvature
            )
            for m in self.manifolds
        }

    def _paper_term(self, student: Tensor, teacher: Tensor, manifold: Manifold, agents: Agents) -> Tensor:
        return relational_loss(
            student,
            teacher,
            manifold,
            agents,
            distance=self.distance,
            reduction=self.reduction,
            curvature=self.curvature,
        )


def width_adaptor(student_dim: int | None, teacher_dim: int | None) -> nn.Module:
    """A learned linear map from the student's width to the teacher's, or the identity where they agree.

    It starts orthogonal, so that towards a wider teacher the student's distances and angles begin unchanged. It
    belongs to the loss: give its parameters to the optimiser, and leave it out of the student.
    """
    if student_dim is None or teacher_dim is None or student_dim == teacher_dim:
        return nn.Identity()
    adaptor = nn.Linear(student_dim, teacher_dim, bias=False)
    nn.init.orthogonal_(adaptor.weight)
    return adaptor


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


def _slices(squared: Tensor) -> tuple[Tensor, ...]:
    numbers = _ANGLES_PER_SLICE.get(squared.device.type, _ANGLES_PER_SLICE_ELSEWHERE)
    count = len(squared)
    return torch.arange(count, device=squared.device).split(max(1, numbers // count**2))


def _inverse_root(squared: Tensor) -> Tensor:
    return squared.rsqrt().masked_fill(squared == 0, 0)


def _angles(squared: Tensor, inverse: Tensor, rows: Tensor) -> Tensor:
    """A_ijk for vertices i = rows, [len(rows), N, N]."""
    near, scale = squared[rows], inverse[rows]
    doubled = (near[:, :, None] + near[:, None, :]).sub_(squared)
    return doubled.mul_(scale[:, :, None] / 2).mul_(scale[:, None, :])


def _add_angle_gradient(gradient: Tensor, angles: Tensor, target: Tensor, inverse: Tensor, rows: Tensor) -> None:
    """Add d(sum of smoothL1) / dw of one slice to `gradient`; overwrites `angles` and `target`.

    A is symmetric in j and k, so w_ij and w_ik share one sum; d_ij and d_ik contribute -A / w.
    """
    scale = inverse[rows]
    slope = torch.sub(angles, target, out=target).clamp_(-1, 1)
    along = angles.mul_(slope).sum(2)
    slope.mul_(scale[:, :, None]).mul_(scale[:, None, :])
    gradient[rows] += slope.sum(2) - along * scale.square()
    gradient -= slope.sum(0) / 2


def _mean_distances(rows: Tensor) -> Tensor:
    return _over_mean(squared_euclidean_matrix(rows, rows).clamp_min(_TINY).sqrt())


def _mean_geodesics(rows: Tensor, curvature: float) -> Tensor:
    points = to_poincare(rows, curvature)
    return _over_mean(dist_matrix(points, points, curvature))


def _over_mean(distances: Tensor) -> Tensor:
    count = len(distances)
    apart = distances.masked_fill(torch.eye(count, dtype=torch.bool, device=distances.device), 0)
    return apart / (apart.sum() / (count * (count - 1))).clamp_min(_TINY)


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(get_args(choices))}")


def check_rows(student: Tensor, teacher: Tensor, same_width: bool = False) -> None:
    """Raise ValueError unless student [N, D] and teacher [N, E] pair up, N >= 2, and D = E where one is needed."""
    shapes = f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or len(student) < 2:
        raise ValueError(f"{shapes}: expected [N, D] and [N, E] with the same N of at least 2")
    if same_width and student.shape[1] != teacher.shape[1]:
        raise ValueError(f"{shapes}: this loss needs one width; give student_dim and teacher_dim for an adaptor")
