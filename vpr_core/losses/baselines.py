"""The seven methods that DistilVPR compares with, as its authors ran them on descriptors.

Student [N, D] and teacher [N, E] descriptors of one batch give a scalar; E = D unless said otherwise. The teacher
receives no gradient. `*_original` is the form of the method's own paper where that makes sense without class logits
or feature maps. Each raises ValueError where the rows do not pair up or an option is none of those that it takes.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.losses.manifolds import cosine_matrix, euclidean_matrix, in_full_precision
from vpr_core.losses.rows import check_choice, check_masks, check_positive, teacher_rows, width_adaptor
from vpr_core.losses.self_agent import self_agent_terms

Norm = Literal["l2", "softmax", "log_softmax", "identity"]
Compare = Literal["mse", "l1", "smooth_l1", "kl"]

_NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "l2": lambda rows: functional.normalize(rows, dim=-1),
    "softmax": lambda rows: rows.softmax(-1),
    "log_softmax": lambda rows: rows.log_softmax(-1),
    "identity": lambda rows: rows,
}


@in_full_precision
def kd(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KD (Hinton et al., 2015). T^2 mean_i KL(softmax(t_i / T) || softmax(s_i / T)), channels being classes."""
    check_positive("temperature", temperature)
    teacher = teacher_rows(student, teacher, same_width=True)
    return temperature**2 * _row_kl(student / temperature, teacher / temperature)


@in_full_precision
def afd(student: Tensor, teacher: Tensor, norm: Norm = "l2") -> Tensor:
    """AFD (Ji et al., AAAI 2021). mean_i sum_j softmax_j(s_i . t_j) |norm(s_j) - norm(t_i)|.

    The attention, on raw rows, has a gradient. The two factors index student and teacher the other way round, as in the
    authors' code. The method's learned attention over several layers does not exist for descriptors.
    """
    teacher = teacher_rows(student, teacher, same_width=True)
    attention = (student @ teacher.T).softmax(1)
    return (attention * euclidean_matrix(_normed(teacher, norm), _normed(student, norm))).sum(1).mean()


@in_full_precision
def epc_net(student: Tensor, teacher: Tensor, compare: Compare = "mse", norm: Norm = "l2") -> Tensor:
    """EPC-Net (Hui et al., TIP 2022). l(norm(s), norm(t)), mean over all entries: the teacher's rows regressed."""
    teacher = teacher_rows(student, teacher, same_width=True)
    return _compare(_normed(student, norm), _normed(teacher, norm), compare)


@in_full_precision
def rkd(student: Tensor, teacher: Tensor, weight_distance: float = 1.0, weight_angle: float = 1.0) -> Tensor:
    """RKD (Park et al., CVPR 2019). The distance and three-point angle terms of `vpr_core.losses.self_agent`; any E."""
    terms = self_agent_terms(student, teacher, manifolds=("euc", "cos"))
    return weight_distance * terms["self_distance"] + weight_angle * terms["self_angle"]


def rkd_original(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD with the weights 1 and 2 that its authors give distance and angle in metric learning; any E."""
    return rkd(student, teacher, weight_distance=1.0, weight_angle=2.0)


@in_full_precision
def csd(student: Tensor, teacher: Tensor, compare: Literal["mse", "kl"] = "mse") -> Tensor:
    """CSD (Wu et al., CVPR 2022). K = t^ t^^T against K' = t^ s^^T: mean squared error, or KD on their rows, T = 1."""
    teacher = teacher_rows(student, teacher, same_width=True)
    target, similarity = cosine_matrix(teacher, teacher), cosine_matrix(teacher, student)
    return _row_kl(similarity, target) if compare == "kl" else _compare(similarity, target, compare)


@in_full_precision
def csd_original(
    student: Tensor,
    teacher: Tensor,
    neighbors: int = 16,
    temperature_student: float = 0.1,
    temperature_teacher: float = 0.1,
) -> Tensor:
    """CSD as its paper has it, the batch as gallery: KL between softmaxed similarities to the teacher's neighbours.

    mean_i KL(softmax_k(t^_i . t^_k / T_t) || softmax_k(s^_i . t^_k / T_s)) over the `neighbors` rows k that are nearest
    to i for the teacher. The values of these three are the caller's to choose; the paper's depend on its gallery.
    """
    for name, value in (
        ("neighbors", neighbors),
        ("temperature_student", temperature_student),
        ("temperature_teacher", temperature_teacher),
    ):
        check_positive(name, value)
    teacher = teacher_rows(student, teacher, same_width=True)
    target, similarity = cosine_matrix(teacher, teacher), cosine_matrix(student, teacher)
    itself = torch.eye(len(target), dtype=torch.bool, device=target.device)
    nearest = target.masked_fill(itself, -torch.inf).topk(min(neighbors, len(target) - 1)).indices
    return _row_kl(similarity.gather(1, nearest) / temperature_student, target.gather(1, nearest) / temperature_teacher)


@in_full_precision
def lsd_net(
    student: Tensor,
    teacher: Tensor,
    positives_mask: Tensor,
    negatives_mask: Tensor,
    compare: Compare = "mse",
    norm: Norm = "l2",
) -> Tensor:
    """LSD-Net (Peng et al., IROS 2022). l over distances of positive and of negative pairs, and V_pos V_neg^T; any E.

    V stacks the difference vectors of all pairs of a mask [N, N] bool. A term without pairs is 0. Except for "mse" the
    last term holds (positive pairs) x (negative pairs) numbers, 2 million at N = 128.
    """
    check_masks(student, positives_mask, negatives_mask)
    student, teacher = _normed(student, norm), _normed(teacher_rows(student, teacher), norm)
    distances, target = euclidean_matrix(student, student), euclidean_matrix(teacher, teacher)
    near = _compare(distances[positives_mask], target[positives_mask], compare)
    far = _compare(distances[negatives_mask], target[negatives_mask], compare)
    rows, columns = positives_mask.nonzero().unbind(1)
    products, target = student @ student.T, teacher @ teacher.T
    return (
        near
        + far
        + _compare_products(products[rows] - products[columns], target[rows] - target[columns], negatives_mask, compare)
    )


def _compare_products(student: Tensor, teacher: Tensor, negatives_mask: Tensor, compare: Compare) -> Tensor:
    """l over V_pos V_neg^T, given V_pos X^T [P, N]: the entry of negative pair (c, d) is column c less column d."""
    pairs = student.shape[0] * int(negatives_mask.count_nonzero())
    if compare != "mse" or pairs == 0:
        rows, columns = negatives_mask.nonzero().unbind(1)
        return _compare(student[:, rows] - student[:, columns], teacher[:, rows] - teacher[:, columns], compare)
    # sum over pairs of (x_c - x_d)^2 is a quadratic form of the mask's graph Laplacian.
    residual = student - teacher
    graph = negatives_mask.to(residual)
    degree = graph.sum(0) + graph.sum(1)
    return ((residual.square() @ degree).sum() - 2 * (residual * (residual @ graph)).sum()) / pairs


@in_full_precision
def mkd(student: Tensor, teacher: Tensor, temperatures: Sequence[float] = (1.0,)) -> Tensor:
    """MKD (Jin et al., CVPR 2023). KD + |q^T q - p^T p|_F^2 / D + |q q^T - p p^T|_F^2 / N, over the temperatures.

    p = softmax(s / T), q = softmax(t / T); the temperatures' losses are added up.
    """
    teacher = teacher_rows(student, teacher, same_width=True)
    return torch.stack([_mkd_at(student, teacher, temperature) for temperature in temperatures]).sum()


def mkd_original(student: Tensor, teacher: Tensor) -> Tensor:
    """MKD over its authors' temperatures 4, 2, 3, 5, 6; their image views and confidence masks need class logits."""
    return mkd(student, teacher, temperatures=(4.0, 2.0, 3.0, 5.0, 6.0))


def _mkd_at(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    channels = (q.T @ q - p.T @ p).square().sum() / p.shape[1]
    samples = (q @ q.T - p @ p.T).square().sum() / p.shape[0]
    return kd(student, teacher, temperature) + channels + samples


def _normed(rows: Tensor, norm: Norm) -> Tensor:
    check_choice("norm", norm, Norm)
    return _NORMS[norm](rows)


def _row_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """mean_i KL(softmax(teacher_i) || softmax(student_i)) of logits [N, C]."""
    target = teacher.log_softmax(-1)
    return functional.kl_div(student.log_softmax(-1), target, reduction="batchmean", log_target=True)


def _compare(student: Tensor, teacher: Tensor, compare: Compare) -> Tensor:
    """Mean over all entries; "kl" makes a distribution of the last dimension by softmax. 0 where there are none."""
    check_choice("compare", compare, Compare)
    if compare == "kl":
        losses = functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="none")
    elif compare == "mse":
        losses = (student - teacher).square()
    elif compare == "l1":
        losses = (student - teacher).abs()
    else:
        losses = functional.smooth_l1_loss(student, teacher, reduction="none")
    return losses.sum() / max(losses.numel(), 1)


METHODS: dict[str, Callable[..., Tensor]] = {
    "kd": kd,
    "afd": afd,
    "epc_net": epc_net,
    "rkd": rkd,
    "rkd_original": rkd_original,
    "csd": csd,
    "csd_original": csd_original,
    "lsd_net": lsd_net,
    "mkd": mkd,
    "mkd_original": mkd_original,
}
_INPUTS = ("student", "teacher", "positives_mask", "negatives_mask")
_ANY_WIDTH = ("rkd", "rkd_original", "lsd_net")


class BaselineLoss(nn.Module):
    """One of METHODS, with its options bound, called and answering like `DistilVPRLoss`.

    Called with student [N, D], teacher [N, E] and, for "lsd_net", the masks [N, N] of positive and negative pairs;
    returns the weighted loss and {method: unweighted loss}. Where the two widths are given and differ, a learned linear
    map takes the student's rows to the teacher's width, if the method compares rows at all. Raises ValueError for an
    unknown method or option.
    """

    def __init__(
        self,
        method: str,
        weight: float = 1.0,
        student_dim: int | None = None,
        teacher_dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
        known = [name for name in signature(METHODS[method]).parameters if name not in _INPUTS]
        for name in options:
            if name not in known:
                raise ValueError(f"{method} has no option {name!r}; it has {', '.join(known) or 'none'}")
        self.method, self.weight, self.options = method, weight, options
        self.adaptor = nn.Identity() if method in _ANY_WIDTH else width_adaptor(student_dim, teacher_dim)

    @in_full_precision
    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        positives_mask: Tensor | None = None,
        negatives_mask: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        masks = (positives_mask, negatives_mask) if self.method == "lsd_net" else ()
        if any(mask is None for mask in masks):
            raise ValueError("lsd_net needs positives_mask and negatives_mask [N, N], at least one of them is missing")
        loss = METHODS[self.method](self.adaptor(student), teacher, *masks, **self.options)
        return self.weight * loss, {self.method: loss}
