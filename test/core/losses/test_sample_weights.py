"""DistilVPR's relations with a weight for each sample: loops, and what weights of 0 and 1 must mean."""

import itertools

import pytest
import torch
from torch import Tensor

from vpr_core.losses.manifolds import mobius_add, to_poincare
from vpr_core.losses.relational import (
    DistilVPRLoss,
    relational_loss,
    self_angle_loss,
    self_cosine_loss,
    self_distance_loss,
    self_geodesic_loss,
)
from vpr_core.losses.rows import pair_weights

MANIFOLDS = ("euc", "cos", "hyp")
TERMS = {
    "distance": (self_distance_loss, 2),
    "angle": (self_angle_loss, 3),
    "cosine": (self_cosine_loss, 2),
    "geodesic": (self_geodesic_loss, 2),
}
WEIGHTS = torch.tensor([3.5, 0.0, 0.25, 1.0, 100.0, 0.5], dtype=torch.float64)


def smooth_l1(difference: Tensor) -> Tensor:
    size = difference.abs()
    return size - 0.5 if size >= 1 else 0.5 * size**2


def geodesic(x: Tensor, y: Tensor, c: float = 0.1) -> Tensor:
    return 2 / c**0.5 * torch.atanh(c**0.5 * mobius_add(-to_poincare(x, c), to_poincare(y, c), c).norm())


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return x @ y / (x.norm() * y.norm())


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).norm()


PAIRWISE = {"euc": euclidean, "cos": cosine, "hyp": geodesic}


def naive_self(student: Tensor, teacher: Tensor, weights: Tensor, name: str) -> Tensor:
    """A sum over all pairs, divided by their number, of relations over the weighted mean where the term has one."""
    count, relate = len(student), {"distance": euclidean, "cosine": cosine, "geodesic": geodesic}[name]
    mean = {}
    for agent, rows in (("s", student), ("t", teacher)):
        apart = [(i, j) for i in range(count) for j in range(count) if i != j]
        shares = [(weights[i] * weights[j]).sqrt() for i, j in apart]
        far = sum(share * relate(rows[i], rows[j]) for share, (i, j) in zip(shares, apart, strict=True))
        mean[agent] = 1.0 if name == "cosine" else far / sum(shares)
    total = torch.zeros((), dtype=student.dtype)
    for i, j in itertools.product(range(count), repeat=2):
        if i == j and name != "cosine":
            continue
        difference = relate(student[i], student[j]) / mean["s"] - relate(teacher[i], teacher[j]) / mean["t"]
        total = total + (weights[i] * weights[j]).sqrt() * smooth_l1(difference)
    return total / count**2


def naive_angles(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    count, total = len(student), torch.zeros((), dtype=student.dtype)
    for i, j, k in itertools.product(range(count), repeat=3):
        if i in (j, k):
            continue
        s, t = (cosine(rows[j] - rows[i], rows[k] - rows[i]) for rows in (student, teacher))
        total = total + (weights[i] * weights[j] * weights[k]) ** (1 / 3) * smooth_l1(s - t)
    return total / count**3


@pytest.mark.parametrize("name", TERMS)
def test_self_terms_against_a_loop(make_pair, assert_same_loss, name):
    student, teacher = make_pair()
    ours = TERMS[name][0](student, teacher, weights=WEIGHTS)
    fixed = teacher.detach()
    naive = naive_angles(student, fixed, WEIGHTS) if name == "angle" else naive_self(student, fixed, WEIGHTS, name)
    assert_same_loss(ours, naive, student)


@pytest.mark.parametrize("agents", ["tt-ss", "ts-ss", "tt-ts"])
@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_relations_against_a_loop(make_pair, assert_same_loss, manifold, agents):
    student, teacher = make_pair()
    rows, total = {"s": student, "t": teacher.detach()}, torch.zeros((), dtype=torch.float64)
    for i, j in itertools.product(range(len(student)), repeat=2):
        first, second = (PAIRWISE[manifold](rows[pair[0]][i], rows[pair[1]][j]) for pair in agents.split("-"))
        total = total + (WEIGHTS[i] * WEIGHTS[j]).sqrt() * (second - first) ** 2
    ours = relational_loss(student, teacher, manifold, agents, weights=WEIGHTS, reduction="sum")
    assert_same_loss(ours, total, student)
    mean = relational_loss(student, teacher, manifold, agents, weights=WEIGHTS)
    torch.testing.assert_close(mean * len(student) ** 2, ours)


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_gradcheck(make_pair, mode):
    student, teacher = make_pair()
    loss = DistilVPRLoss("SC", mode, weight_tt_ts=0.3)
    if mode == "code":  # whose cross terms are cut off from a part of their gradient
        loss.variant = "S"
    assert torch.autograd.gradcheck(lambda rows: loss(rows, teacher, WEIGHTS)[0], student, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("angle", ["three_point", "cosine"])
@pytest.mark.parametrize("mode", ["code", "paper"])
def test_ones_give_the_loss_without_weights(make_pair, assert_same_loss, mode, angle):
    student, teacher = make_pair(count=9, width=12)
    for divide_by_mean, weights in ((False, torch.ones(9)), (True, torch.full((9,), 7.0))):
        loss = DistilVPRLoss("SC", mode, angle=angle, weight_tt_ts=0.3, divide_by_mean=divide_by_mean)
        (plain, terms), (weighted, weighed_terms) = loss(student, teacher), loss(student, teacher, weights)
        assert_same_loss(weighted, plain, student)
        for name in terms:
            torch.testing.assert_close(weighed_terms[name], terms[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", TERMS)
def test_rows_without_weight_take_no_part_in_a_self_term(make_pair, assert_same_loss, name):
    student, teacher = make_pair(count=9, width=5)
    term, order = TERMS[name]
    kept = torch.tensor([0, 1, 1, 0, 1, 1, 0, 1, 1], dtype=torch.float64)
    rows = kept.nonzero().flatten()
    alone = term(student[rows], teacher[rows]) * (len(rows) / 9) ** order
    assert_same_loss(term(student, teacher, weights=kept), alone, student)


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_rows_without_weight_take_no_part_in_the_loss(make_pair, mode):
    student, teacher = make_pair(count=8, width=5)
    loss, weights = DistilVPRLoss("SC", mode, weight_tt_ts=0.3), torch.tensor([2.0, 2, 0, 0, 5, 5, 1, 1])
    value = loss(student, teacher, weights)[0]
    value.backward()
    assert not student.grad[2:4].any() and student.grad[[0, 1, 4, 5, 6, 7]].abs().sum(1).min() > 0
    moved, told_else = student.detach().clone(), teacher.detach().clone()
    moved[2:4], told_else[2:4] = 50.0, -3.0
    torch.testing.assert_close(loss(moved, told_else, weights)[0], value.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_the_scale_of_the_weights_is_that_of_the_loss_unless_divided_away(make_pair, mode):
    student, teacher = make_pair()
    once, thrice = (DistilVPRLoss("SC", mode)(student, teacher, factor * WEIGHTS)[0] for factor in (1, 3))
    torch.testing.assert_close(thrice, 3 * once, rtol=1e-12, atol=0)
    divided = DistilVPRLoss("SC", mode, divide_by_mean=True)
    torch.testing.assert_close(divided(student, teacher, 3 * WEIGHTS)[0], once / WEIGHTS.mean(), rtol=1e-12, atol=0)


def test_a_pair_of_one_sample_has_its_weight_and_none_with_what_is_left_out():
    pairs = pair_weights(torch.tensor([4.0, 4, 9, 9, 0, 0]))
    assert pairs[:2, :2].tolist() == [[4, 4], [4, 4]] and pairs[0, 2] == 6
    assert torch.equal(pairs, pairs.T) and not pairs[4:].any() and not pairs[:, 4:].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("divide_by_mean", [False, True])
@pytest.mark.parametrize("mode", ["code", "paper"])
def test_batches_without_weight_give_a_zero_gradient(make_pair, mode, divide_by_mean, dtype):
    """Of all rows, and of all but one, which has no relation then."""
    for left in (0.0, 1.0):
        student, teacher = (rows.detach().to(dtype) for rows in make_pair(count=8, width=16))
        student.requires_grad_()
        weights = torch.tensor([0.0] * 7 + [left])
        loss = DistilVPRLoss("S", mode, manifolds=("euc", "hyp"), divide_by_mean=divide_by_mean)
        value = loss(student, teacher, weights)[0]
        value.backward()
        assert float(value.detach()) == 0 and student.grad.isfinite().all() and not student.grad.any()


def test_many_rows_are_weighed_in_slices(make_pair, assert_same_loss, monkeypatch):
    from vpr_core.losses import self_agent

    student, teacher = make_pair(count=24, width=7)
    weights = torch.rand(24, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    whole = self_angle_loss(student, teacher, weights)
    monkeypatch.setitem(self_agent._ANGLES_PER_SLICE, "cpu", 5 * 24**2)
    assert_same_loss(self_angle_loss(student, teacher, weights), whole, student)


@pytest.mark.parametrize(
    "weights", [torch.ones(5), torch.ones(6, 1), torch.tensor([1.0, 1, 1, 1, 1, -1]), torch.full((6,), torch.nan),
                torch.ones(6, requires_grad=True)]
)  # fmt: skip
def test_weights_that_are_none_are_refused(make_pair, weights):
    student, teacher = make_pair()
    for call in (
        lambda: DistilVPRLoss()(student, teacher, weights),
        lambda: relational_loss(student, teacher, weights=weights),
        lambda: self_angle_loss(student, teacher, weights),
        lambda: self_distance_loss(student, teacher, weights),
    ):
        with pytest.raises(ValueError, match=r"weights are \[.*, expected constants \[6\] of 0 or more"):
            call()
