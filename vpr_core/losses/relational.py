"""DistilVPR Eqs. (1)-(2). Relations among a batch's descriptors, taught by a teacher to a student.

A relation is a matrix of distances or similarities. Self-agent relations compare a network with itself (tt, ss),
cross-agent ones the teacher with the student (ts). The paper and the published code disagree; both are
here. Student rows are [N, D], teacher rows [N, E]; the teacher never receives a gradient.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.losses.manifolds import cosine_matrix, dist_matrix, euclidean_matrix, in_full_precision, to_poincare
from vpr_core.losses.rows import check_choice, check_positive, pair_weights, row_weights, teacher_rows, width_adaptor
from vpr_core.losses.self_agent import (
    self_agent_terms,
    self_angle_loss,
    self_cosine_loss,
    self_distance_loss,
    self_geodesic_loss,
)

__all__ = [
    "DistilVPRLoss",
    "relation_matrix",
    "relational_loss",
    "self_angle_loss",
    "self_cosine_loss",
    "self_distance_loss",
    "self_geodesic_loss",
    "width_adaptor",
]

Manifold = Literal["euc", "cos", "hyp"]
Agents = Literal["tt-ss", "ts-ss", "tt-ts"]
Distance = Literal["mse", "smooth_l1", "l1"]
Reduction = Literal["mean", "sum"]

_COMPARE = {"mse": functional.mse_loss, "smooth_l1": functional.smooth_l1_loss, "l1": functional.l1_loss}


@in_full_precision
def relation_matrix(x: Tensor, y: Tensor, manifold: Manifold, curvature: float = 0.1) -> Tensor:
    """DistilVPR Eqs. (6), (9), (12)-(15). Relation of every row of x [N, D] to every row of y [M, D], [N, M].

    "euc": Euclidean distance; "cos": cosine similarity; "hyp": geodesic distance on the Poincaré ball of curvature
    -`curvature`, to which the exponential map at the origin takes the rows. Raises ValueError for another manifold and
    a curvature that is not above 0.
    """
    check_choice("manifold", manifold, Manifold)
    check_positive("curvature", curvature)
    if manifold == "euc":
        return euclidean_matrix(x, y)
    if manifold == "cos":
        return cosine_matrix(x, y)
    points = to_poincare(x, curvature)
    return dist_matrix(points, points if x is y else to_poincare(y, curvature), curvature)


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
    weights: Tensor | None = None,
) -> Tensor:
    """DistilVPR Eqs. (3)-(5). Distance between two relation matrices, over all N^2 entries; a scalar.

    agents        "tt-ss" Eq. (3), "ts-ss" Eq. (4), "tt-ts" Eq. (5)
    distance      between the entries of two matrices
    normalize     rows to unit length first
    detach_cross  no gradient through ts, as in the published code; with "tt-ts" none is left
    weights       [N], StructVPR Sec. 3.5: how much each row's sample counts. The entry (i, j) counts sqrt(w_i w_j), see
                  `rows.pair_weights`; the mean is over N^2 entries all the same

    Raises ValueError where the rows do not pair up or a name is unknown; of the three, only "tt-ss" takes a teacher
    of another width.
    """
    check_choice("agents", agents, Agents)
    check_choice("distance", distance, Distance)
    check_choice("reduction", reduction, Reduction)
    rows = {"s": student, "t": teacher_rows(student, teacher, same_width=agents != "tt-ss")}
    if normalize:
        rows = {agent: functional.normalize(row, dim=-1) for agent, row in rows.items()}
    first, second = (_relation(rows, pair, manifold, curvature, detach_cross) for pair in agents.split("-"))
    if weights is None:
        return _COMPARE[distance](second, first, reduction=reduction)
    entries = pair_weights(row_weights(student, weights)) * _COMPARE[distance](second, first, reduction="none")
    return entries.mean() if reduction == "mean" else entries.sum()


def _relation(rows: dict[str, Tensor], pair: str, manifold: Manifold, curvature: float, detach_cross: bool) -> Tensor:
    with torch.set_grad_enabled(torch.is_grad_enabled() and not (detach_cross and pair == "ts")):
        return relation_matrix(rows[pair[0]], rows[pair[1]], manifold, curvature)


class DistilVPRLoss(nn.Module):
    """DistilVPR Eqs. (7), (8), (10), (11), (16)-(22) without L_task: weight_self * L_KD-S + weight_cross * L_KD-C.

    Called with student [N, D], teacher [N, E] and, where samples count differently (StructVPR Sec. 3.5), the weights
    [N] of the samples that the rows are of, see `rows.pair_weights`. Returns the weighted sum and its unweighted terms,
    scalars that keep their graph: `self_distance self_angle self_geodesic cross_euc cross_cos cross_hyp` in mode "code"
    and `self_euc self_cos self_hyp cross_euc cross_cos cross_hyp` in mode "paper", only those of the variant and
    manifolds; with weight_tt_ts `tt_ts_euc tt_ts_cos tt_ts_hyp` too.

    variant              "S" self terms, "C" cross terms, "SC" both
    mode                 "code" as the training script was published, "paper" as Eqs. (3)-(22) are printed
    weight_self          the published value is 10 for Oxford RobotCar, 1 for Boreas
    weight_tt_ts         of the terms of Eq. (5), which the paper has in Table 4 alone and the published code at 0
    angle                of mode "code": "three_point", or "cosine", pairwise as in Eq. (10)
    distance, reduction  of mode "paper", which names neither; mode "code" has fixed ones
    student_dim, teacher_dim  where they differ, a learned linear map takes the student's rows to the teacher's width
                         for the cross terms; self terms need none
    divide_by_mean       samples' weights are divided by their mean over the batch, so that their scale does not matter

    Raises ValueError for an option that is none of these, and where rows do not pair up.
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
        divide_by_mean: bool = False,
    ) -> None:
        super().__init__()
        check_choice("variant", variant, Literal["S", "C", "SC"])
        check_choice("mode", mode, Literal["code", "paper"])
        check_choice("angle", angle, Literal["three_point", "cosine"])
        check_choice("distance", distance, Distance)
        check_choice("reduction", reduction, Reduction)
        check_positive("curvature", curvature)
        if not manifolds:
            raise ValueError(f"manifolds is empty, expected at least one of {', '.join(get_args(Manifold))}")
        for manifold in manifolds:
            check_choice("manifold", manifold, Manifold)
        self.variant, self.mode, self.curvature, self.angle = variant, mode, curvature, angle
        self.weight_self, self.weight_cross, self.weight_tt_ts = weight_self, weight_cross, weight_tt_ts
        self.manifolds, self.reduction, self.distance = tuple(manifolds), reduction, distance
        self.divide_by_mean = divide_by_mean
        across = "C" in variant or weight_tt_ts > 0
        self.adaptor = width_adaptor(student_dim, teacher_dim) if across else nn.Identity()

    @in_full_precision
    def forward(
        self, student: Tensor, teacher: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if weights is not None:
            weights = row_weights(student, weights, self.divide_by_mean)
        self_terms = self._self_terms(student, teacher, weights) if "S" in self.variant else {}
        adapted = self.adaptor(student)
        cross_terms = self._cross_terms(adapted, teacher, "ts-ss", weights) if "C" in self.variant else {}
        tt_ts_terms = self._cross_terms(adapted, teacher, "tt-ts", weights) if self.weight_tt_ts > 0 else {}
        weighted = ((self.weight_self, self_terms), (self.weight_cross, cross_terms), (self.weight_tt_ts, tt_ts_terms))
        loss = student.new_zeros(())
        for weight, terms in weighted:
            loss = loss + weight * sum(terms.values(), student.new_zeros(()))
        return loss, self_terms | cross_terms | tt_ts_terms

    def _self_terms(self, student: Tensor, teacher: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        if self.mode == "paper":
            return {f"self_{m}": self._paper_term(student, teacher, m, "tt-ss", weights) for m in self.manifolds}
        return self_agent_terms(student, teacher, self.manifolds, self.angle, self.curvature, weights)

    def _cross_terms(
        self, student: Tensor, teacher: Tensor, agents: Agents, weights: Tensor | None
    ) -> dict[str, Tensor]:
        name = {"ts-ss": "cross", "tt-ts": "tt_ts"}[agents]
        if self.mode == "paper":
            return {f"{name}_{m}": self._paper_term(student, teacher, m, agents, weights) for m in self.manifolds}
        detach = agents == "ts-ss"
        return {
            f"{name}_{m}": relational_loss(
                student,
                teacher,
                m,
                agents,
                normalize=True,
                detach_cross=detach,
                curvature=self.curvature,
                weights=weights,
            )
            for m in self.manifolds
        }

    def _paper_term(
        self, student: Tensor, teacher: Tensor, manifold: Manifold, agents: Agents, weights: Tensor | None
    ) -> Tensor:
        return relational_loss(
            student,
            teacher,
            manifold,
            agents,
            distance=self.distance,
            reduction=self.reduction,
            curvature=self.curvature,
            weights=weights,
        )
