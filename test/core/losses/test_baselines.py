import itertools

import pytest
import torch
from torch import Tensor

from vpr_core.losses.baselines import (
    METHODS,
    BaselineLoss,
    afd,
    csd,
    csd_original,
    epc_net,
    kd,
    lsd_net,
    mkd,
    mkd_original,
    rkd,
    rkd_original,
)
from vpr_core.losses.self_agent import self_angle_loss, self_distance_loss


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    student, teacher = (torch.randn(8, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher.requires_grad_()


@pytest.fixture
def masks() -> tuple[Tensor, Tensor]:
    places = torch.arange(8) // 2
    same = places[:, None] == places
    negatives = ~same
    negatives[0, 4] = negatives[4, 0] = False
    return same & ~torch.eye(8, dtype=torch.bool), negatives


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def row_kl(student: Tensor, teacher: Tensor) -> Tensor:
    p, q = student.softmax(1), teacher.softmax(1)
    return (q * (q / p).log()).sum(1).mean()


def assert_same_loss(ours: Tensor, expected: Tensor, student: Tensor) -> None:
    torch.testing.assert_close(ours, expected)
    gradients = [torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9 * gradients[1].abs().max().item())


def test_golden(golden):
    rows = golden.student, golden.teacher
    masks = golden.positives_mask, golden.negatives_mask
    ours = {
        "kd_T1": kd(*rows),
        "afd_l2": afd(*rows),
        "afd_identity": afd(*rows, norm="identity"),
        "epcnet_mse_l2": epc_net(*rows),
        "epcnet_mse_identity": epc_net(*rows, norm="identity"),
        "csd_mse": csd(*rows),
        "csd_kl": csd(*rows, compare="kl"),
        "rkd": rkd(*rows),
        "lsdnet_mse_l2": lsd_net(*rows, *masks),
        "mkd": mkd(*rows),
    }
    for name, value in ours.items():
        golden.check(f"derived_{name}", value)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd(pair, temperature):
    student, teacher = pair
    expected = temperature**2 * row_kl(student / temperature, teacher.detach() / temperature)
    assert_same_loss(kd(student, teacher, temperature), expected, student)


@pytest.mark.parametrize("norm", ["l2", "softmax", "log_softmax", "identity"])
def test_afd_loop(pair, norm):
    student, teacher = pair[0], pair[1].detach()
    norms = {"l2": unit, "softmax": lambda r: r.softmax(1), "log_softmax": lambda r: r.log_softmax(1)}
    s, t = (norms.get(norm, lambda r: r)(rows) for rows in (student, teacher))
    attention = (student @ teacher.T).softmax(1)
    pairs = itertools.product(range(8), repeat=2)
    expected = sum(attention[i, j] * (s[j] - t[i]).norm() for i, j in pairs) / 8
    assert_same_loss(afd(student, teacher, norm), expected, student)


def test_epc_net(pair):
    student, teacher = pair[0], pair[1].detach()
    difference = unit(student) - unit(teacher)
    assert_same_loss(epc_net(student, teacher), difference.square().mean(), student)
    assert_same_loss(epc_net(student, teacher, "l1"), difference.abs().mean(), student)
    expected = row_kl(student, teacher) / student.shape[1]
    assert_same_loss(epc_net(student, teacher, "kl", norm="identity"), expected, student)


def test_rkd_weights(pair):
    distance, angle = self_distance_loss(*pair), self_angle_loss(*pair)
    torch.testing.assert_close(rkd(*pair, weight_distance=3.0, weight_angle=0.5), 3 * distance + angle / 2)
    torch.testing.assert_close(rkd_original(*pair), distance + 2 * angle)


def test_csd(pair):
    student, teacher = pair[0], pair[1].detach()
    target, similarity = unit(teacher) @ unit(teacher).T, unit(teacher) @ unit(student).T
    assert_same_loss(csd(student, teacher), (target - similarity).square().mean(), student)
    assert_same_loss(csd(student, teacher, "kl"), row_kl(similarity, target), student)


def test_csd_original_looks_at_the_teachers_neighbours(pair):
    student, teacher = pair[0], pair[1].detach()
    losses = []
    for i in range(8):
        similarities = unit(teacher) @ unit(teacher)[i]
        nearest = sorted((k for k in range(8) if k != i), key=lambda k: -similarities[k].item())[:3]
        learned = unit(teacher)[nearest] @ unit(student)[i]
        losses.append(row_kl(learned[None] / 0.2, similarities[nearest][None] / 0.5))
    ours = csd_original(student, teacher, neighbors=3, temperature_student=0.2, temperature_teacher=0.5)
    assert_same_loss(ours, torch.stack(losses).mean(), student)
    assert csd_original(student, teacher, neighbors=100).isfinite()


@pytest.mark.parametrize("compare", ["mse", "l1", "smooth_l1", "kl"])
def test_lsd_net_loop(pair, masks, compare):
    student, teacher = pair[0], pair[1].detach()
    compared = {
        "mse": torch.nn.functional.mse_loss,
        "l1": torch.nn.functional.l1_loss,
        "smooth_l1": torch.nn.functional.smooth_l1_loss,
        "kl": lambda s, t: (t.softmax(-1) * (t.softmax(-1) / s.softmax(-1)).log()).mean(),
    }[compare]
    differences = [
        [torch.stack([rows[i] - rows[j] for i, j in mask.nonzero().tolist()]) for mask in masks]
        for rows in (unit(student), unit(teacher))
    ]
    (near, far), (near_target, far_target) = differences
    expected = (
        compared(near.norm(dim=1), near_target.norm(dim=1))
        + compared(far.norm(dim=1), far_target.norm(dim=1))
        + compared(near @ far.T, near_target @ far_target.T)
    )
    assert_same_loss(lsd_net(student, teacher, *masks, compare=compare), expected, student)


def test_lsd_net_without_positives(pair, masks):
    nothing = torch.zeros_like(masks[0])
    for compare in ("mse", "l1", "kl"):
        loss = lsd_net(*pair, nothing, nothing, compare=compare)
        loss.backward()
        assert loss.item() == 0
        assert pair[0].grad.eq(0).all()


def test_mkd_loop(pair):
    student, teacher = pair[0], pair[1].detach()

    def at(temperature: float) -> Tensor:
        p, q = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
        channels = sum((q[:, a] @ q[:, b] - p[:, a] @ p[:, b]) ** 2 for a in range(5) for b in range(5)) / 5
        samples = sum((q[i] @ q[j] - p[i] @ p[j]) ** 2 for i in range(8) for j in range(8)) / 8
        return kd(student, teacher, temperature) + channels + samples

    assert_same_loss(mkd(student, teacher), at(1.0), student)
    assert_same_loss(mkd_original(student, teacher), sum(at(t) for t in (2.0, 3.0, 4.0, 5.0, 6.0)), student)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_as_a_module(pair, masks, method):
    student, teacher = pair
    loss, terms = BaselineLoss(method, weight=2.5)(student, teacher, *masks)
    torch.testing.assert_close(loss, 2.5 * terms[method])
    loss.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_gradcheck(pair, masks, method):
    loss = BaselineLoss(method)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, pair[1], *masks)[0], pair[0], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_for_coincident_rows(pair, masks, method, dtype):
    teacher = pair[1].detach().to(dtype)
    for student in (teacher.clone(), teacher[:1].repeat(8, 1)):
        student.requires_grad_()
        loss, _ = BaselineLoss(method)(student, teacher, *masks)
        loss.backward()
        assert loss.isfinite()
        assert student.grad.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2])
def test_the_smallest_batches(pair, masks, method, count):
    student, teacher = (rows[:count] for rows in pair)
    loss, _ = BaselineLoss(method)(student, teacher, *(mask[:count, :count] for mask in masks))
    loss.backward()
    assert loss.isfinite()
    assert pair[0].grad.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_of_another_precision(pair, masks, method):
    student, teacher = pair[0].detach().float(), pair[1].detach()
    loss = BaselineLoss(method)(student, teacher, *masks)[0]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, BaselineLoss(method)(student, teacher.float(), *masks)[0])


@pytest.mark.parametrize("method", METHODS)
def test_autocast_does_not_lower_the_precision(pair, masks, method):
    student, teacher = (rows.detach().float() for rows in pair)
    plain = BaselineLoss(method)(student, teacher, *masks)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(BaselineLoss(method)(student, teacher, *masks)[0], plain)


@pytest.mark.parametrize("method", METHODS)
def test_teacher_of_another_width(pair, masks, method):
    student = pair[0]
    teacher = torch.cat([pair[1], pair[1][:, :2]], 1)
    loss = BaselineLoss(method, student_dim=5, teacher_dim=7).double()
    loss(student, teacher, *masks)[0].backward()
    assert student.grad.abs().sum() > 0
    assert all(weight.grad.abs().sum() > 0 for weight in loss.parameters())
    assert len(list(loss.parameters())) == (method not in ("rkd", "rkd_original", "lsd_net"))


def test_wrong_arguments_are_named(pair, masks):
    with pytest.raises(ValueError, match="^method is 'kdd'"):
        BaselineLoss("kdd")
    with pytest.raises(ValueError, match="kd has no option 'norm'"):
        BaselineLoss("kd", norm="l2")
    with pytest.raises(ValueError, match="^norm is"):
        BaselineLoss("afd", norm="max")(*pair)
    with pytest.raises(ValueError, match="^compare is"):
        epc_net(*pair, compare="huber")
    with pytest.raises(ValueError, match="lsd_net needs"):
        BaselineLoss("lsd_net")(*pair)
    with pytest.raises(ValueError, match="^negatives_mask is torch.int64"):
        lsd_net(*pair, masks[0], masks[1].long())
    for options in ({"neighbors": 0}, {"temperature_student": 0.0}, {"temperature_teacher": -1.0}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))} is .* above 0"):
            csd_original(*pair, **options)
    for loss in (lambda: kd(*pair, temperature=0.0), lambda: mkd(*pair, temperatures=(1.0, -2.0))):
        with pytest.raises(ValueError, match="^temperature is"):
            loss()
    with pytest.raises(ValueError, match="student_dim and teacher_dim"):
        kd(pair[0], pair[1][:, :3])
