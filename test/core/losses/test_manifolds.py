import math

import numpy as np
import pytest
import torch
from geoopt.manifolds.stereographic import math as geoopt_math
from torch import Tensor

from vpr_core.losses.manifolds import (
    ARTANH_MARGIN,
    artanh,
    cosine_matrix,
    dist,
    dist0,
    dist_matrix,
    euclidean_matrix,
    expmap,
    expmap0,
    lambda_x,
    logmap,
    logmap0,
    mobius_add,
    project,
    squared_euclidean_matrix,
    to_poincare,
)

CURVATURES = (0.1, 1.0)
GRADIENT_FREE_PAIR = (3, 1)


def rows(generator: torch.Generator, count: int, width: int = 5, scale: float = 0.4) -> Tensor:
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("c", CURVATURES)
def test_golden(pmath, c):
    u, v = (torch.from_numpy(pmath[name]) for name in "uv")
    on_ball_u, on_ball_v = project(expmap0(u, c), c), project(expmap0(v, c), c)
    ours = {
        "expmap0_u": expmap0(u, c),
        "expmap0_v": expmap0(v, c),
        "project_u": on_ball_u,
        "project_v": on_ball_v,
        "mobius_add_u5_v": mobius_add(on_ball_u[:5], on_ball_v, c),
        "dist_u5_v": dist(on_ball_u[:5], on_ball_v, c),
        "dist_matrix_u_v": dist_matrix(on_ball_u, on_ball_v, c),
        "dist0_u": dist0(on_ball_u, c),
        "logmap0_u": logmap0(on_ball_u, c),
        "topoincare_clip1_u": to_poincare(u, c, clip_r=1.0),
    }
    relative = 1e-6 if u.dtype == torch.float64 else 1e-2
    for name, value in ours.items():
        np.testing.assert_allclose(value, pmath[f"{name}_c{c}"], rtol=relative, atol=relative, err_msg=name)


@pytest.mark.parametrize("c", CURVATURES)
def test_golden_gradient(pmath, c):
    """Pair (u_3, v_1) coincides: there the reference's gradient is the direction of its rounding noise, ours is 0.

    It pulls the two rows in opposite directions, so their sum is compared.
    """
    u, v = (torch.from_numpy(pmath[name]).requires_grad_() for name in "uv")
    if u.dtype != torch.float64:
        pytest.skip("the reference's gradients at the ball's edge are rounding noise in float32")
    dist_matrix(to_poincare(u, c), to_poincare(v, c), c).sum().backward()
    expected_u, expected_v = (torch.from_numpy(pmath[f"sumdist_grad_{name}_c{c}"]) for name in "uv")
    i, j = GRADIENT_FREE_PAIR
    for ours, expected, skipped in ((u.grad, expected_u, i), (v.grad, expected_v, j)):
        kept = torch.arange(len(ours)) != skipped
        torch.testing.assert_close(ours[kept], expected[kept], rtol=1e-6, atol=1e-6 * expected.abs().max().item())
    torch.testing.assert_close(u.grad[i] + v.grad[j], expected_u[i] + expected_v[j], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("c", CURVATURES)
def test_log_after_exp_is_identity(generator, c):
    u, x = rows(generator, 9, scale=0.2), expmap0(rows(generator, 9, scale=0.2), c)
    u[0] = 0
    torch.testing.assert_close(logmap0(expmap0(u, c), c), u)
    # The published 1e-5 in the Möbius denominator is all that keeps this from being exact.
    torch.testing.assert_close(logmap(x, expmap(x, u, c), c), u, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("c", CURVATURES)
def test_distances_obey_the_laws_of_a_metric(generator, c):
    u = rows(generator, 12)
    points = expmap0(u, c)
    distances = dist_matrix(points, points, c)
    torch.testing.assert_close(distances, distances.T)
    assert distances.diagonal().eq(0).all()
    assert (distances[:, :, None] <= distances[:, None] + distances.T[None] + 1e-3).all()
    torch.testing.assert_close(dist0(points, c), 2 * torch.linalg.vector_norm(u, dim=1))
    torch.testing.assert_close(dist(torch.zeros_like(points), points, c), dist0(points, c), rtol=1e-4, atol=0)


@pytest.mark.parametrize("c", CURVATURES)
def test_geoopt(generator, c):
    k = torch.tensor(-c, dtype=torch.float64)
    u, x, y = rows(generator, 9), expmap0(rows(generator, 9), c), expmap0(rows(generator, 9), c)
    torch.testing.assert_close(expmap0(u, c), geoopt_math.expmap0(u, k=k))
    torch.testing.assert_close(logmap0(x, c), geoopt_math.logmap0(x, k=k))
    torch.testing.assert_close(lambda_x(x, c), geoopt_math.lambda_x(x, k=k, keepdim=True))
    torch.testing.assert_close(dist0(x, c), geoopt_math.dist0(x, k=k))
    # From here the published 1e-5 in the Möbius denominator makes the difference.
    torch.testing.assert_close(mobius_add(x, y, c), geoopt_math.mobius_add(x, y, k=k), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dist(x, y, c), geoopt_math.dist(x, y, k=k), rtol=1e-3, atol=0)
    torch.testing.assert_close(expmap(x, u, c), geoopt_math.expmap(x, u, k=k), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("c", CURVATURES)
def test_matrices_equal_loops(generator, c):
    x, y = expmap0(rows(generator, 6), c), expmap0(rows(generator, 4), c)
    moebius = [[torch.linalg.vector_norm(mobius_add(-a, b, c)) for b in y] for a in x]
    expected = 2 / math.sqrt(c) * torch.atanh(math.sqrt(c) * torch.tensor(moebius, dtype=torch.float64))
    torch.testing.assert_close(dist_matrix(x, y, c), expected)
    torch.testing.assert_close(dist_matrix(x, y, c), torch.stack([dist(a.expand_as(y), y, c) for a in x]))
    torch.testing.assert_close(euclidean_matrix(x, y), (x[:, None] - y).norm(dim=2))
    torch.testing.assert_close(squared_euclidean_matrix(x, y), (x[:, None] - y).square().sum(2))
    torch.testing.assert_close(cosine_matrix(x, y), torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=2))


def test_distances_far_from_the_origin_keep_their_digits(generator):
    x = rows(generator, 8).float() + 1000
    exact = (x[:, None].double() - x.double()).norm(dim=2).float()
    torch.testing.assert_close(euclidean_matrix(x, x), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [expmap0, logmap0, project, to_poincare, dist0, lambda_x])
@pytest.mark.parametrize("c", CURVATURES)
def test_gradcheck_of_one_argument(generator, function, c):
    x = rows(generator, 5, scale=0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda points: function(points, c), x)


@pytest.mark.parametrize("function", [dist, dist_matrix, mobius_add, expmap, logmap])
@pytest.mark.parametrize("c", CURVATURES)
def test_gradcheck_of_two_arguments(generator, function, c):
    x, y = (rows(generator, 5, scale=0.2).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda first, second: function(first, second, c), (x, y))


@pytest.mark.parametrize("function", [squared_euclidean_matrix, euclidean_matrix, cosine_matrix])
def test_gradcheck_of_flat_matrices(generator, function):
    x, y = rows(generator, 5).requires_grad_(), rows(generator, 4).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, y))


def test_artanh_passes_gradients_through_its_clamp():
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    value = artanh(x)
    value.sum().backward()
    edge = 1 - ARTANH_MARGIN
    clamped = torch.tensor([-edge, -edge, 0.0, 0.5, edge, edge], dtype=torch.float64)
    torch.testing.assert_close(value.detach(), clamped.atanh())
    torch.testing.assert_close(x.grad, 1 / (1 - clamped**2))
    inside = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(artanh, inside)


@pytest.mark.parametrize("c", CURVATURES)
def test_project_reaches_the_edge_and_leaves_the_inside(c):
    x = torch.tensor([[0.1, 0.2], [30.0, 40.0]])
    projected = project(x, c)
    assert torch.equal(projected[0], x[0])
    assert projected[1].norm().item() == pytest.approx(0.999 / math.sqrt(c))
    torch.testing.assert_close(projected[1] / projected[1].norm(), torch.tensor([0.6, 0.8]))


def test_clip_shortens_long_rows_only():
    u = torch.tensor([[0.3, 0.4], [30.0, 40.0]], dtype=torch.float64)
    clipped = to_poincare(u, 0.1, clip_r=1.0)
    torch.testing.assert_close(clipped[0], to_poincare(u[0], 0.1))
    torch.testing.assert_close(clipped[1], to_poincare(u[1] / 50, 0.1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("separation", [0.0, 1e-30, 1e-15, 1e-8, 1e-4, 1.0])
@pytest.mark.parametrize("length", [0.0, 1e-8, 1.0, 12.02, 1e3])
def test_gradients_are_finite(generator, dtype, separation, length):
    """Near and at zero distance, at the origin, at the ball's edge and far beyond it."""
    direction = torch.nn.functional.normalize(torch.randn(4, 6, generator=generator), dim=1)
    x = (length * direction).to(dtype).requires_grad_()
    y = (length * direction + separation * direction.flip(1)).to(dtype).requires_grad_()
    for c in CURVATURES:
        on_ball_x, on_ball_y = to_poincare(x, c), to_poincare(y, c)
        outputs = (
            dist_matrix(on_ball_x, on_ball_y, c),
            dist(on_ball_x, on_ball_y, c),
            dist0(on_ball_x, c),
            euclidean_matrix(x, y),
            logmap0(on_ball_x, c),
            expmap0(y, c),
        )
        for output in outputs:
            assert output.isfinite().all()
            gradients = torch.autograd.grad(output.sum(), (x, y), retain_graph=True, materialize_grads=True)
            assert all(gradient.isfinite().all() and gradient.dtype == dtype for gradient in gradients)


def test_unprojected_points_on_the_edge_stay_finite():
    points = expmap0(torch.randn(6, 16, generator=torch.Generator().manual_seed(1)) * 1e3, 0.1).requires_grad_()
    distances = dist_matrix(points, points, 0.1)
    distances.sum().backward()
    assert distances.isfinite().all()
    assert points.grad.isfinite().all()


def test_float32_gradients_at_the_edge_agree_with_float64(generator):
    u = rows(generator, 8, width=32, scale=4.0)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaf = u.detach().clone().to(dtype).requires_grad_()
        points = to_poincare(leaf, 0.1)
        dist_matrix(points, points, 0.1).square().sum().backward()
        gradients.append(leaf.grad.double())
    assert (gradients[0] - gradients[1]).abs().max() < 1e-2 * gradients[0].abs().max()


def test_half_precision_and_autocast_are_computed_in_float32(generator):
    x = rows(generator, 6, width=64).float()
    expected = euclidean_matrix(x, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(euclidean_matrix(x, x), expected)
    half = x.bfloat16()
    assert torch.equal(euclidean_matrix(half, half), euclidean_matrix(half.float(), half.float()))
