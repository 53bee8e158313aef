import itertools

import pytest
import torch
from torch import Tensor

from vpr_core.losses import relational
from vpr_core.losses.manifolds import euclidean_matrix, mobius_add, squared_euclidean_matrix, to_poincare
from vpr_core.losses.relational import (
    DistilVPRLoss,
    relation_matrix,
    relational_loss,
    self_angle_loss,
    self_cosine_loss,
    self_distance_loss,
    self_geodesic_loss,
    width_adaptor,
)

MANIFOLDS = ("euc", "cos", "hyp")
AGENTS = ("tt-ss", "ts-ss", "tt-ts")
DISTANCES = ("mse", "smooth_l1", "l1")
CODE_TERMS = ("self_distance", "self_angle", "self_geodesic", "cross_euc", "cross_cos", "cross_hyp")
PAPER_TERMS = ("self_euc", "self_cos", "self_hyp", "cross_euc", "cross_cos", "cross_hyp")


def pair(generator: torch.Generator, count: int = 6, width: int = 4, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    student, teacher = (scale * torch.randn(count, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher.requires_grad_()


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


def naive_angles(rows: Tensor) -> Tensor:
    count = len(rows)
    angles = []
    for i, j, k in itertools.product(range(count), repeat=3):
        first, second = rows[j] - rows[i], rows[k] - rows[i]
        angles.append(first / first.norm().clamp_min(1e-12) @ (second / second.norm().clamp_min(1e-12)))
    return torch.stack(angles)


def assert_same_loss(ours: Tensor, expected: Tensor, student: Tensor) -> None:
    torch.testing.assert_close(ours, expected)
    gradients = [torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9 * gradients[1].abs().max().item())


def test_golden_code_mode(golden):
    loss = DistilVPRLoss("SC", curvature=golden.curvature)
    terms = loss(golden.student, golden.teacher)[1]
    golden.check("ref_self_distance", terms["self_distance"])
    golden.check("ref_self_angle", terms["self_angle"])
    golden.check("clean_self_geodesic", terms["self_geodesic"])
    for manifold in MANIFOLDS:
        golden.check(f"ref_cross_tsss_{manifold}", terms[f"cross_{manifold}"])
        cross = relational_loss(golden.student, golden.teacher, manifold, "tt-ts", normalize=True)
        golden.check(f"ref_cross_ttts_{manifold}", cross)


def test_golden_total(golden):
    loss = DistilVPRLoss("C", curvature=golden.curvature)(golden.student, golden.teacher)[0]
    task = float(golden.numbers["ref_total_nokd"])
    assert task + loss.item() == pytest.approx(float(golden.numbers["ref_total_oxford_C"]), rel=1e-6)


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
def test_naive_loop(generator, manifold, agents, distance):
    student, teacher = pair(generator)
    expected = naive_relational_loss(student, teacher, manifold, agents, distance)
    ours = relational_loss(student, teacher, manifold, agents, distance, reduction="sum")
    assert_same_loss(ours, expected, student)
    mean = relational_loss(student, teacher, manifold, agents, distance)
    torch.testing.assert_close(mean * len(student) ** 2, ours)


@pytest.mark.parametrize("agents", AGENTS)
@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_gradcheck(generator, manifold, agents):
    student, teacher = pair(generator)
    assert torch.autograd.gradcheck(
        lambda rows: relational_loss(rows, teacher, manifold, agents), student, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("manifold", MANIFOLDS)
def test_saturated_rows_equal_the_literal_form(generator, manifold):
    student, teacher = pair(generator, count=5, width=64, scale=3.0)
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


def test_detached_cross_matrix_is_a_constant(generator):
    student, teacher = pair(generator)
    ours = relational_loss(student, teacher, "euc", detach_cross=True)
    constant = euclidean_matrix(teacher, student).detach()
    expected = (euclidean_matrix(student, student) - constant).square().mean()
    assert_same_loss(ours, expected, student)
    free = relational_loss(student, teacher, "euc")
    assert not torch.allclose(torch.autograd.grad(free, student)[0], torch.autograd.grad(ours, student)[0])


def test_three_point_angle_equals_the_triple_loop(generator):
    student, teacher = pair(generator)
    expected = torch.nn.functional.smooth_l1_loss(naive_angles(student), naive_angles(teacher.detach()))
    assert_same_loss(self_angle_loss(student, teacher), expected, student)
    assert torch.autograd.gradcheck(lambda rows: self_angle_loss(rows, teacher), student)


def test_three_point_angle_with_coincident_rows(generator):
    student, teacher = pair(generator)
    student = torch.cat([student.detach()[:5], student.detach()[4:5]]).requires_grad_()
    expected = torch.nn.functional.smooth_l1_loss(naive_angles(student), naive_angles(teacher.detach()))
    ours = self_angle_loss(student, teacher)
    torch.testing.assert_close(ours, expected)
    assert torch.autograd.grad(ours, student)[0].isfinite().all()


def test_slices_of_the_angles_do_not_change_the_loss(generator, monkeypatch):
    student, teacher = pair(generator, count=7)
    whole = self_angle_loss(student, teacher)
    monkeypatch.setitem(relational._ANGLES_PER_SLICE, "cpu", 2 * 7 * 7)
    assert len(relational._slices(student @ student.T)) == 4
    assert_same_loss(self_angle_loss(student, teacher), whole, student)


def test_self_distance_and_geodesic_equal_loops(generator):
    student, teacher = pair(generator)
    losses = {"euc": self_distance_loss(student, teacher), "hyp": self_geodesic_loss(student, teacher)}
    count = len(student)
    for manifold, ours in losses.items():
        scaled = []
        for rows in (student, teacher.detach()):
            matrix = torch.zeros(count, count, dtype=torch.float64)
            for i, j in itertools.permutations(range(count), 2):
                matrix = matrix + naive_relation(rows[i], rows[j], manifold) * one_at(i, j, count)
            scaled.append(matrix * count * (count - 1) / matrix.sum())
        assert_same_loss(ours, torch.nn.functional.smooth_l1_loss(*scaled), student)


def one_at(i: int, j: int, count: int) -> Tensor:
    matrix = torch.zeros(count, count, dtype=torch.float64)
    matrix[i, j] = 1
    return matrix


def test_variants_modes_and_manifolds_choose_the_terms(generator):
    student, teacher = pair(generator)
    for mode, names in (("code", CODE_TERMS), ("paper", PAPER_TERMS)):
        for variant, expected in (("S", names[:3]), ("C", names[3:]), ("SC", names)):
            assert tuple(DistilVPRLoss(variant, mode)(student, teacher)[1]) == expected
    terms = DistilVPRLoss(manifolds=("hyp", "cos"))(student, teacher)[1]
    assert set(terms) == {"self_angle", "self_geodesic", "cross_cos", "cross_hyp"}


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_loss_is_the_weighted_sum_of_its_terms(generator, mode):
    student, teacher = pair(generator)
    loss, terms = DistilVPRLoss("SC", mode, weight_self=3.0, weight_cross=0.7)(student, teacher)
    weights = {name: 3.0 if name.startswith("self") else 0.7 for name in terms}
    torch.testing.assert_close(loss, sum(weights[name] * term for name, term in terms.items()))
    assert DistilVPRLoss("S", mode, weight_self=0.0)(student, teacher)[0].item() == 0


def test_paper_mode_is_the_plain_relations(generator):
    student, teacher = pair(generator)
    loss = DistilVPRLoss("SC", "paper", curvature=0.5, reduction="sum", distance="l1")
    terms = loss(student, teacher)[1]
    for manifold in MANIFOLDS:
        for name, agents in (("self", "tt-ss"), ("cross", "ts-ss")):
            expected = relational_loss(student, teacher, manifold, agents, "l1", reduction="sum", curvature=0.5)
            assert torch.equal(terms[f"{name}_{manifold}"], expected)


def test_cosine_angle_variant(generator):
    student, teacher = pair(generator)
    terms = DistilVPRLoss("S", angle="cosine")(student, teacher)[1]
    expected = naive_relational_loss(student, teacher, "cos", "tt-ss", "smooth_l1") / len(student) ** 2
    assert_same_loss(terms["self_angle"], expected, student)


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_teacher_receives_no_gradient(generator, mode):
    student, teacher = pair(generator)
    DistilVPRLoss("SC", mode)(student, teacher)[0].backward()
    self_cosine_loss(student, teacher).backward()
    relational_loss(student, teacher, "hyp", "tt-ts").backward()
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("mode", ["code", "paper"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", ["same", "collapsed", "duplicates", "tiny", "edge", "saturated", "zero_row"])
def test_gradients_are_finite(generator, mode, dtype, case):
    student, teacher = (rows.detach() for rows in pair(generator, count=8, width=16))
    if case == "same":
        student = teacher.clone()
    elif case == "collapsed":
        student = student[:1].repeat(8, 1)
    elif case == "duplicates":
        student[1::2] = student[::2]
    elif case == "zero_row":
        student[3] = 0
    else:
        length = {"tiny": 1e-12, "edge": 12.02, "saturated": 1e3}[case]
        student = length * torch.nn.functional.normalize(student)
    student = student.to(dtype).requires_grad_()
    loss, terms = DistilVPRLoss("SC", mode)(student, teacher.to(dtype))
    loss.backward()
    assert all(term.isfinite() for term in terms.values())
    assert student.grad.isfinite().all()


def test_a_perfect_student_has_no_self_loss(generator):
    student, _ = pair(generator)
    terms = DistilVPRLoss("SC")(student, student.detach().clone())[1]
    assert all(term.item() == pytest.approx(0, abs=1e-15) for term in terms.values())


def test_autocast_does_not_lower_the_precision(generator):
    student, teacher = (rows.detach().float() for rows in pair(generator, width=32))
    loss = DistilVPRLoss("SC", student_dim=32, teacher_dim=48)
    teacher = torch.cat([teacher, teacher[:, :16]], 1)
    plain = loss(student, teacher)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(student, teacher)[0], plain)


def test_float32_agrees_with_float64(generator):
    student, teacher = (rows.detach() for rows in pair(generator, count=16, width=32, scale=0.5))
    exact, single = DistilVPRLoss()(student, teacher)[1], DistilVPRLoss()(student.float(), teacher.float())[1]
    for name in exact:
        assert single[name].item() == pytest.approx(exact[name].item(), rel=1e-5)


def test_teacher_of_another_width(generator):
    student, _ = pair(generator, width=4)
    _, teacher = pair(generator, width=9)
    assert DistilVPRLoss("S")(student, teacher)[0].isfinite()
    with pytest.raises(ValueError, match="student_dim and teacher_dim"):
        DistilVPRLoss("SC")(student, teacher)
    loss = DistilVPRLoss("SC", student_dim=4, teacher_dim=9).double()
    loss(student, teacher)[0].backward()
    assert student.grad.abs().sum() > 0
    (weight,) = loss.parameters()
    assert weight.shape == (9, 4)
    assert weight.grad.abs().sum() > 0
    assert not list(DistilVPRLoss("S", student_dim=4, teacher_dim=9).parameters())


def test_adaptor_begins_as_an_isometry(generator):
    student, _ = pair(generator, width=4)
    adapted = width_adaptor(4, 9).double()(student)
    distances = squared_euclidean_matrix(student, student)
    torch.testing.assert_close(squared_euclidean_matrix(adapted, adapted), distances, rtol=1e-5, atol=1e-6)
    assert width_adaptor(4, 4)(student) is student


def test_wrong_arguments_are_named(generator):
    student, teacher = pair(generator)
    for name, options in (
        ("manifold", {"manifold": "flat"}),
        ("agents", {"agents": "ss-tt"}),
        ("distance", {"distance": "huber"}),
        ("reduction", {"reduction": "none"}),
    ):
        with pytest.raises(ValueError, match=f"^{name} is"):
            relational_loss(student, teacher, **options)
    with pytest.raises(ValueError, match="^variant is"):
        DistilVPRLoss("CS")
    with pytest.raises(ValueError, match="same N of at least 2"):
        relational_loss(student[:5], teacher)
    with pytest.raises(ValueError, match="same N of at least 2"):
        self_distance_loss(student[:1], teacher[:1])


@pytest.mark.parametrize("angle", ["three_point", "cosine"])
def test_benchmarked_forms_agree(generator, angle):
    bench = pytest.importorskip("bench.distil_losses")
    student, teacher = pair(generator, count=9, width=12)
    assert_same_loss(
        bench.closed_sc(student, teacher, angle), bench.naive_sc(student, teacher.detach(), angle), student
    )
