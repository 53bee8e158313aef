"""The published self-agent terms against literal N x N x D and N x N x N forms."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from vpr_core.losses import self_agent
from vpr_core.losses.manifolds import artanh, mobius_add, to_poincare
from vpr_core.losses.self_agent import (
    self_agent_terms,
    self_angle_loss,
    self_cosine_loss,
    self_distance_loss,
    self_geodesic_loss,
)

# Rows beyond a length of 12 are clipped to the ball's edge.
SIZES = [(2, 3, 1.0), (3, 1, 1.0), (7, 5, 0.1), (12, 40, 1.0), (9, 64, 4.0)]


def literal_distances(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows[:, None] - rows[None], dim=-1)


def literal_geodesics(rows: Tensor, c: float) -> Tensor:
    points = to_poincare(rows, c)
    sums = mobius_add(-points[:, None], points[None], c)
    return 2 / math.sqrt(c) * artanh(math.sqrt(c) * torch.linalg.vector_norm(sums, dim=-1))


def literal_over_mean(distances: Tensor) -> Tensor:
    apart = 1 - torch.eye(len(distances), dtype=distances.dtype)
    return distances * apart * apart.sum() / (distances * apart).sum()


def literal_angles(rows: Tensor) -> Tensor:
    directions = normalize(rows[None] - rows[:, None], dim=-1)
    return directions @ directions.mT


def loop_over_angles(rows: Tensor) -> Tensor:
    count = len(rows)
    angles = []
    for i, j, k in itertools.product(range(count), repeat=3):
        first, second = rows[j] - rows[i], rows[k] - rows[i]
        angles.append(first / first.norm().clamp_min(1e-12) @ (second / second.norm().clamp_min(1e-12)))
    return torch.stack(angles).view(count, count, count)


@pytest.mark.parametrize(("count", "width", "scale"), SIZES)
def test_terms_equal_the_literal_forms(make_pair, assert_same_loss, count, width, scale):
    student, teacher = make_pair(count, width, scale)
    for c in (0.1, 1.0):
        terms = self_agent_terms(student, teacher, curvature=c)
        forms = {
            "self_distance": lambda rows: literal_over_mean(literal_distances(rows)),
            "self_angle": literal_angles,
            "self_geodesic": lambda rows, c=c: literal_over_mean(literal_geodesics(rows, c)),
        }
        assert set(terms) == set(forms)
        for name, form in forms.items():
            assert_same_loss(terms[name], smooth_l1_loss(form(student), form(teacher.detach())), student)


def test_terms_are_the_single_losses(make_pair):
    student, teacher = make_pair()
    terms = self_agent_terms(student, teacher, curvature=0.5)
    assert torch.equal(terms["self_distance"], self_distance_loss(student, teacher))
    assert torch.equal(terms["self_angle"], self_angle_loss(student, teacher))
    assert torch.equal(terms["self_geodesic"], self_geodesic_loss(student, teacher, 0.5))
    cosine = self_agent_terms(student, teacher, manifolds=("cos",), angle="cosine")
    assert list(cosine) == ["self_angle"]
    assert torch.equal(cosine["self_angle"], self_cosine_loss(student, teacher))


def test_three_point_angle_equals_the_triple_loop(make_pair, assert_same_loss):
    student, teacher = make_pair()
    expected = smooth_l1_loss(loop_over_angles(student), loop_over_angles(teacher.detach()))
    assert_same_loss(self_angle_loss(student, teacher), expected, student)
    assert_same_loss(expected, smooth_l1_loss(literal_angles(student), literal_angles(teacher.detach())), student)
    assert torch.autograd.gradcheck(lambda rows: self_angle_loss(rows, teacher), student)


def test_three_point_angle_with_coincident_rows(make_pair):
    student, teacher = make_pair()
    student = torch.cat([student.detach()[:5], student.detach()[4:5]]).requires_grad_()
    ours = self_angle_loss(student, teacher)
    torch.testing.assert_close(ours, smooth_l1_loss(loop_over_angles(student), loop_over_angles(teacher.detach())))
    assert torch.autograd.grad(ours, student)[0].isfinite().all()


def test_slices_of_the_angles_do_not_change_the_loss(make_pair, assert_same_loss, monkeypatch):
    student, teacher = make_pair(count=7)
    whole = self_angle_loss(student, teacher)
    monkeypatch.setitem(self_agent._ANGLES_PER_SLICE, "cpu", 2 * 7 * 7)
    assert len(self_agent._slices(student @ student.T)) == 4
    assert_same_loss(self_angle_loss(student, teacher), whole, student)


def test_duplicated_rows_are_a_millionth_apart(make_pair):
    """As published: the square root is of no less than 1e-12, off the diagonal."""
    student, teacher = make_pair(count=4)
    student = student.detach()[[0, 0, 1, 2]].requires_grad_()
    distances = literal_distances(student.detach())
    distances[0, 1] = distances[1, 0] = 1e-6
    expected = smooth_l1_loss(literal_over_mean(distances), literal_over_mean(literal_distances(teacher.detach())))
    ours = self_distance_loss(student, teacher)
    torch.testing.assert_close(ours.detach(), expected)
    assert torch.autograd.grad(ours, student)[0].isfinite().all()


def test_cosine_equals_a_loop(make_pair, assert_same_loss):
    student, teacher = make_pair(5, 7)
    cosines = [
        torch.stack([rows[i] @ rows[j] / (rows[i].norm() * rows[j].norm()) for i in range(5) for j in range(5)])
        for rows in (student, teacher.detach())
    ]
    assert_same_loss(self_cosine_loss(student, teacher), smooth_l1_loss(*cosines), student)


@pytest.mark.parametrize("term", [self_distance_loss, self_angle_loss, self_cosine_loss, self_geodesic_loss])
def test_gradcheck(make_pair, term):
    student, teacher = make_pair(count=5)
    assert torch.autograd.gradcheck(lambda rows: term(rows, teacher), student, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("term", [self_distance_loss, self_angle_loss, self_cosine_loss, self_geodesic_loss])
def test_one_row_has_nothing_to_say(make_pair, term):
    student, teacher = make_pair(count=1)
    loss = term(student, teacher)
    assert loss.item() == pytest.approx(0, abs=1e-15)
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-15


def test_wrong_arguments_are_named(make_pair):
    student, teacher = make_pair()
    with pytest.raises(ValueError, match="same N of at least 1"):
        self_distance_loss(student[:5], teacher)
    with pytest.raises(ValueError, match="^curvature is -1"):
        self_geodesic_loss(student, teacher, curvature=-1)
