"""Relation matrices and the distance between two of them: golden numbers, loops, the edge of the ball."""

import itertools

import pytest
import torch
from torch import Tensor

from vpr_core.losses.manifolds import euclidean_matrix, mobius_add, to_poincare
from vpr_core.losses.relational import relation_matrix, relational_loss

MANIFOLDS = ("euc", "cos", "hyp")
AGENTS = ("tt-ss", "ts-ss", "tt-ts")
DISTANCES = ("mse", "smooth_l1", "l1")


def naive_relation(x: Tensor, y: Tensor, manifold: str, c: float = 0.1) -> Tensor:
    if manifold == "euc":
        return (x - y).norm()
    if manifold == "cos":
        return x @ y / (x.norm() * y.norm())
    argument = c**0.5 * mobius_add(-to_poincare(x, c), to_poincare(y, c), c).norm()
    return 2 / c**0.5 * torch.atanh(argument)


def naive_entry(difference: Tensor, distance: str) -> Tensor:
    if distance == "mse":
        return difference**2
    size = difference.abs()
    if distance == "l1":
        return size
    return size - 0.5 if size >= 1 else 0.5 * difference**2


def naive_relational_loss(student: Tensor, teacher: Tensor, manifold: str, agents: str, distance: str) -> Tensor:
    rows = {"s": student, "t": teacher.detach()}
    total = torch.zeros((), dtype=student.dtype)
    for i, j in itertools.product(range(len(student)), repeat=2):
        first, second = (naive_relation(rows[p[0]][i], rows[p[1]][j], manifold) for p in agents.split("-"))
        total = total + naive_entry(second - first, distance)
    return total


@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_golden_relation_matrices(golden, manifold):
    rows = {"s": golden.student.detach(), "t": golden.teacher.detach()}
    for agents, norm in itertools.product(("tt", "ts", "ss"), ("raw", "l2")):
        name = f"matrix_{agents}_{manifold}_{norm}"
        if name not in golden.numbers:
            continue
        x, y = (torch.nn.functional.normalize(rows[agent]) if norm == "l2" else rows[agent] for agent in agents)
        expected = torch.from_numpy(golden.numbers[name])
        tolerance = 1e-6 if golden.in_double else 1e-2
        ours = relation_matrix(x, y, manifold, golden.curvature)
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("agents", AGENTS)
def test_golden_plain(golden, manifold, agents):
    for distance, normalize in itertools.product(DISTANCES, (False, True)):
        ours = relational_loss(
            golden.student, golden.teacher, manifold, agents, distance, normalize, curvature=golden.curvature
        )
        name = f"{agents.replace('-', '')}_{manifold}_{'l2' if normalize else 'raw'}_{distance.replace('_', '')}"
        golden.check(f"plain_{name}", ours)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("agents", AGENTS)
@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_naive_loop(make_pair, manifold, agents, distance, assert_same_loss):
    student, teacher = make_pair()
    expected = naive_relational_loss(student, teacher, manifold, agents, distance)
    ours = relational_loss(student, teacher, manifold, agents, distance, reduction="sum")
    assert_same_loss(ours, expected, student)
    mean = relational_loss(student, teacher, manifold, agents, distance)
    torch.testing.assert_close(mean * len(student) ** 2, ours)


@pytest.mark.parametrize("agents", AGENTS)
@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_gradcheck(make_pair, manifold, agents):
    student, teacher = make_pair()
    assert torch.autograd.gradcheck(
        lambda rows: relational_loss(rows, teacher, manifold, agents), student, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_saturated_rows_equal_the_literal_form(make_pair, manifold, assert_same_loss):
    student, teacher = make_pair(count=5, width=64, scale=3.0)
    student = (student.detach() * 0.5 + teacher.detach()).requires_grad_()
    assert to_poincare(student, 0.1).norm(dim=1).min() > 3.159
    for agents in ("tt-ss", "ts-ss"):
        first, second = (
            torch.stack([torch.stack([naive_saturated(x, y, manifold) for y in rows[b]]) for x in rows[a]])
            for rows in [{"s": student, "t": teacher.detach()}]
            for a, b in agents.split("-")
        )
        assert_same_loss(relational_loss(student, teacher, manifold, agents), (second - first).square().mean(), student)


def naive_saturated(x: Tensor, y: Tensor, manifold: str) -> Tensor:
    if manifold != "hyp":
        return naive_relation(x, y, manifold)
    c = 0.1
    norm = c**0.5 * mobius_add(-to_poincare(x, c), to_poincare(y, c), c).norm()
    clamped = norm.detach().clamp(max=1 - 1e-5)
    # Value at the clamp, and the slope there, as the published artanh has them.
    return 2 / c**0.5 * (torch.atanh(clamped) + (norm - norm.detach()) / (1 - clamped**2))


def test_detached_cross_matrix_is_a_constant(make_pair, assert_same_loss):
    student, teacher = make_pair()
    ours = relational_loss(student, teacher, "euc", detach_cross=True)
    constant = euclidean_matrix(teacher, student).detach()
    expected = (euclidean_matrix(student, student) - constant).square().mean()
    assert_same_loss(ours, expected, student)
    free = relational_loss(student, teacher, "euc")
    assert not torch.allclose(torch.autograd.grad(free, student)[0], torch.autograd.grad(ours, student)[0])


def test_wrong_arguments_are_named(make_pair):
    student, teacher = make_pair()
    for name, options in (
        ("manifold", {"manifold": "flat"}),
        ("agents", {"agents": "ss-tt"}),
        ("distance", {"distance": "huber"}),
        ("reduction", {"reduction": "none"}),
    ):
        with pytest.raises(ValueError, match=f"^{name} is"):
            relational_loss(student, teacher, **options)
    for curvature in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="^curvature is .* above 0"):
            relational_loss(student, teacher, "hyp", curvature=curvature)
    for rows in (student[:5], student[:0], student[0]):
        with pytest.raises(ValueError, match="same N of at least 1"):
            relational_loss(rows, teacher[:0] if len(rows) == 0 else teacher)
    for agents in ("ts-ss", "tt-ts"):
        with pytest.raises(ValueError, match="student_dim and teacher_dim"):
            relational_loss(student[:, :3], teacher, agents=agents)
