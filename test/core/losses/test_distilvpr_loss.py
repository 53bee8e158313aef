"""DistilVPR's loss as a whole: golden numbers, terms and weights, other widths, whatever rows come."""

import pytest
import torch

from vpr_core.losses.manifolds import squared_euclidean_matrix
from vpr_core.losses.relational import DistilVPRLoss, relational_loss
from vpr_core.losses.rows import width_adaptor
from vpr_core.losses.self_agent import self_cosine_loss

MANIFOLDS = ("euc", "cos", "hyp")
CODE_TERMS = ("self_distance", "self_angle", "self_geodesic", "cross_euc", "cross_cos", "cross_hyp")
PAPER_TERMS = ("self_euc", "self_cos", "self_hyp", "cross_euc", "cross_cos", "cross_hyp")


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


def test_variants_modes_and_manifolds_choose_the_terms(make_pair):
    student, teacher = make_pair()
    for mode, names in (("code", CODE_TERMS), ("paper", PAPER_TERMS)):
        for variant, expected in (("S", names[:3]), ("C", names[3:]), ("SC", names)):
            assert tuple(DistilVPRLoss(variant, mode)(student, teacher)[1]) == expected
    terms = DistilVPRLoss(manifolds=("hyp", "cos"))(student, teacher)[1]
    assert set(terms) == {"self_angle", "self_geodesic", "cross_cos", "cross_hyp"}


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_loss_is_the_weighted_sum_of_its_terms(make_pair, mode):
    student, teacher = make_pair()
    loss, terms = DistilVPRLoss("SC", mode, weight_self=3.0, weight_cross=0.7)(student, teacher)
    weights = {name: 3.0 if name.startswith("self") else 0.7 for name in terms}
    torch.testing.assert_close(loss, sum(weights[name] * term for name, term in terms.items()))
    assert DistilVPRLoss("S", mode, weight_self=0.0)(student, teacher)[0].item() == 0


def test_paper_mode_is_the_plain_relations(make_pair):
    student, teacher = make_pair()
    loss = DistilVPRLoss("SC", "paper", curvature=0.5, reduction="sum", distance="l1")
    terms = loss(student, teacher)[1]
    for manifold in MANIFOLDS:
        for name, agents in (("self", "tt-ss"), ("cross", "ts-ss")):
            expected = relational_loss(student, teacher, manifold, agents, "l1", reduction="sum", curvature=0.5)
            assert torch.equal(terms[f"{name}_{manifold}"], expected)


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_the_ablated_agents_are_a_third_kind_of_term(make_pair, assert_same_loss, mode):
    """tt-ts, Eq. (5): through ts here, the only matrix of the two that the student is in."""
    student, teacher = make_pair()
    loss, terms = DistilVPRLoss("S", mode, weight_self=0.0, weight_tt_ts=0.5)(student, teacher)
    assert tuple(terms)[3:] == ("tt_ts_euc", "tt_ts_cos", "tt_ts_hyp")
    expected = [relational_loss(student, teacher, m, "tt-ts", normalize=mode == "code") for m in MANIFOLDS]
    assert_same_loss(loss, 0.5 * torch.stack(expected).sum(), student)
    assert not DistilVPRLoss("S", mode, student_dim=4, teacher_dim=9).state_dict()
    assert len(DistilVPRLoss("S", mode, student_dim=4, teacher_dim=9, weight_tt_ts=1.0).state_dict()) == 1


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_teacher_receives_no_gradient(make_pair, mode):
    student, teacher = make_pair()
    DistilVPRLoss("SC", mode)(student, teacher)[0].backward()
    self_cosine_loss(student, teacher).backward()
    relational_loss(student, teacher, "hyp", "tt-ts").backward()
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("mode", ["code", "paper"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    ["same", "collapsed", "duplicates", "tiny", "edge", "saturated", "huge", "zero_row", "zero_rows", "one", "two"],
)
def test_gradients_are_finite(make_pair, mode, dtype, case):
    student, teacher = (rows.detach() for rows in make_pair(count=8, width=16))
    if case == "same":
        student = teacher.clone()
    elif case == "collapsed":
        student = student[:1].repeat(8, 1)
    elif case == "duplicates":
        student[1::2] = student[::2]
    elif case == "zero_row":
        student[3], teacher[5] = 0, 0
    elif case == "zero_rows":
        student, teacher = torch.zeros_like(student), torch.zeros_like(teacher)
    elif case in ("one", "two"):
        student, teacher = (rows[: 1 if case == "one" else 2] for rows in (student, teacher))
    else:
        length = {"tiny": 1e-12, "edge": 12.02, "saturated": 1e3, "huge": 1e9}[case]
        student = length * torch.nn.functional.normalize(student)
    student = student.to(dtype).requires_grad_()
    loss, terms = DistilVPRLoss("SC", mode)(student, teacher.to(dtype))
    loss.backward()
    assert all(term.isfinite() for term in terms.values())
    assert student.grad.isfinite().all()


def test_a_perfect_student_has_no_self_loss(make_pair):
    student, _ = make_pair()
    terms = DistilVPRLoss("SC")(student, student.detach().clone())[1]
    assert all(term.item() == pytest.approx(0, abs=1e-15) for term in terms.values())


def test_autocast_does_not_lower_the_precision(make_pair):
    student, teacher = (rows.detach().float() for rows in make_pair(width=32))
    loss = DistilVPRLoss("SC", student_dim=32, teacher_dim=48)
    teacher = torch.cat([teacher, teacher[:, :16]], 1)
    plain = loss(student, teacher)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(student, teacher)[0], plain)


def test_float32_agrees_with_float64(make_pair):
    student, teacher = (rows.detach() for rows in make_pair(count=16, width=32, scale=0.5))
    exact, single = DistilVPRLoss()(student, teacher)[1], DistilVPRLoss()(student.float(), teacher.float())[1]
    for name in exact:
        assert single[name].item() == pytest.approx(exact[name].item(), rel=1e-5)


def test_teacher_of_another_width(make_pair):
    student, _ = make_pair(width=4)
    _, teacher = make_pair(width=9)
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


def test_rows_need_not_have_the_precision_of_the_adaptor_or_the_teacher(make_pair):
    student, teacher = make_pair(width=9)
    loss = DistilVPRLoss("SC", student_dim=4, teacher_dim=9)
    mixed, terms = loss(student[:, :4], teacher.float())
    torch.testing.assert_close(mixed, loss.double()(student[:, :4], teacher)[0], rtol=1e-5, atol=0)
    assert mixed.dtype == torch.float64 and terms["self_distance"].dtype == torch.float64
    mixed.backward()
    assert student.grad.isfinite().all()


def test_adaptor_begins_as_an_isometry(make_pair):
    student, _ = make_pair(width=4)
    adapted = width_adaptor(4, 9).double()(student)
    distances = squared_euclidean_matrix(student, student)
    torch.testing.assert_close(squared_euclidean_matrix(adapted, adapted), distances, rtol=1e-5, atol=1e-6)
    assert width_adaptor(4, 4)(student) is student


@pytest.mark.parametrize("angle", ["three_point", "cosine"])
def test_benchmarked_forms_agree(make_pair, angle, assert_same_loss):
    bench = pytest.importorskip("bench.distil_losses")
    student, teacher = make_pair(count=9, width=12)
    assert_same_loss(
        bench.closed_sc(student, teacher, angle), bench.naive_sc(student, teacher.detach(), angle), student
    )


def test_wrong_arguments_are_named(make_pair):
    for name, options in (
        ("variant", {"variant": "CS"}),
        ("mode", {"mode": "both"}),
        ("angle", {"angle": "right"}),
        ("manifold", {"manifolds": ("euc", "flat")}),
        ("distance", {"distance": "huber"}),
        ("reduction", {"reduction": "none"}),
        ("curvature", {"curvature": 0.0}),
    ):
        with pytest.raises(ValueError, match=f"^{name} is"):
            DistilVPRLoss(**options)
    with pytest.raises(ValueError, match="at least one of euc, cos, hyp"):
        DistilVPRLoss(manifolds=())
    student, teacher = make_pair()
    with pytest.raises(ValueError, match="same N of at least 1"):
        DistilVPRLoss("S")(student[:5], teacher)
