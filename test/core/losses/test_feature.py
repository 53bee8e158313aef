"""StructVPR's distillation of descriptors against a naive loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vpr_core.losses.feature import FeatureDistillation, feature_distillation


def triplets(generator: torch.Generator, width: int = 5, samples: int = 4) -> Tensor:
    """Descriptors [B, 3, D] of query, positive and negative."""
    return torch.randn(samples, 3, width, generator=generator, dtype=torch.float64, requires_grad=True)


def naive(student: Tensor, teacher: Tensor, weights: list[float]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for mine, yours, weight in zip(student, teacher, weights, strict=True):
        for view in range(len(mine)):
            total = total + weight * sum((a - b) ** 2 for a, b in zip(mine[view], yours[view], strict=True)) / len(mine)
    return total / len(student)


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 3.5, 100.0], [0.0, 0.0, 0.0, 0.0]])
def test_naive_loop(generator, weights):
    student, teacher = triplets(generator), triplets(generator)
    given = None if weights is None else torch.tensor(weights, dtype=torch.float32)
    ours, expected = feature_distillation(student, teacher, given), naive(student, teacher, weights or [1.0] * 4)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, student), torch.autograd.grad(expected, student))


def test_division_by_the_mean_takes_the_scale_away(generator):
    student, teacher, weights = triplets(generator), triplets(generator), torch.tensor([1.0, 0.0, 3.0, 8.0])
    ours = [feature_distillation(student, teacher, scale * weights, divide_by_mean=True) for scale in (1, 1000)]
    torch.testing.assert_close(ours[0], ours[1])
    torch.testing.assert_close(ours[0], naive(student, teacher, (weights / 3).tolist()))
    nothing = feature_distillation(student, teacher, 0 * weights, divide_by_mean=True)
    assert nothing.item() == 0 and torch.autograd.grad(nothing, student)[0].eq(0).all()


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_the_transformation_takes_one_side_to_the_other_s_width(generator, side):
    loss = FeatureDistillation(5, 7, side=side, weight=0.25).double()
    student, teacher, weights = triplets(generator, 5), triplets(generator, 7), torch.tensor([2.0, 1.0, 0.0, 4.0])
    total, parts = loss(student, teacher, weights)
    matrix, bias = loss.transformation.weight, loss.transformation.bias
    if side == "student":
        expected = naive(student @ matrix.T + bias, teacher, weights.tolist())
    else:
        expected = naive(student, teacher @ matrix.T + bias, weights.tolist())
    torch.testing.assert_close(parts["feature"], expected)
    torch.testing.assert_close(total, 0.25 * expected)
    total.backward()
    assert teacher.grad is None, "the teacher's branch is frozen"
    assert student.grad[2].eq(0).all() and student.grad[[0, 1, 3]].ne(0).all(), "a sample of weight 0 teaches nothing"
    assert matrix.grad.abs().max() > 0 and bias.grad.abs().max() > 0


def test_the_paper_s_widths_are_the_default():
    assert FeatureDistillation().transformation.weight.shape == (480, 448)
    assert FeatureDistillation(side="teacher").transformation.weight.shape == (448, 480)


def test_gradcheck(generator):
    loss = FeatureDistillation(3, 4).double()
    teacher, weights = triplets(generator, 4).detach(), torch.tensor([1.0, 0.0, 3.5, 100.0])
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher, weights)[0], triplets(generator, 3))


def test_autocast_does_not_lower_the_precision(generator):
    loss = FeatureDistillation(5, 7)
    student, teacher = triplets(generator, 5).detach().float(), triplets(generator, 7).detach().float()
    plain, _ = loss(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = loss(student, teacher)
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)


def test_it_learns_a_linear_map(generator):
    """What T can express leaves nothing to be learned."""
    loss = FeatureDistillation(4, 6).double()
    student = triplets(generator, 4, samples=8).detach()
    teacher = student @ torch.randn(4, 6, generator=generator, dtype=torch.float64) + 0.5
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(400):
        optimiser.zero_grad()
        value, _ = loss(student, teacher)
        value.backward()
        optimiser.step()
    assert value.item() < 1e-4


@pytest.mark.parametrize(
    ("student", "teacher", "weights", "told"),
    [
        ((4, 3, 5), (4, 3, 6), None, r"expected \[B, V, D\] twice"),
        ((4, 5), (4, 5), None, r"expected \[B, V, D\] twice"),
        ((4, 3, 5), (4, 3, 5), torch.ones(3), "one for each sample"),
        ((4, 3, 5), (4, 3, 5), torch.ones(4, requires_grad=True), "constants"),
    ],
)
def test_what_does_not_fit_is_refused(student, teacher, weights, told):
    with pytest.raises(ValueError, match=told):
        feature_distillation(torch.zeros(student), torch.zeros(teacher), weights)


def test_an_unknown_side_is_told():
    with pytest.raises(ValueError, match="side is 'both', expected student or teacher"):
        FeatureDistillation(side="both")
