"""Distances between descriptors in Euclidean space, on the sphere and on the Poincaré ball.

The ball of curvature -c is {x : c |x|^2 < 1} (DistilVPR Eqs. (12)-(15)); names and guards are those of hyptorch, which
DistilVPR trains with. Points and tangent vectors are [..., D], matrices [N, M]. Every function widens half precision to
float32 and ignores autocast. The matrix forms hold N x M numbers, never N x M x D; they need the whole float32
mantissa, so leave torch.backends.cuda.matmul.allow_tf32 at False.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

P = ParamSpec("P")
R = TypeVar("R")

MIN_NORM = 1e-5
BALL_MARGIN = 1e-3
ARTANH_MARGIN = 1e-5
MOBIUS_EPS = 1e-5
# |x|^2 + |y|^2 - 2<x, y> is rounding noise below this many units in the last place of its first two terms.
COINCIDENT_ULPS = 16

_HALF = (torch.bfloat16, torch.float16)


def in_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` outside autocast, its half-precision tensors widened to float32.

    Distances come out of small differences of large numbers: bfloat16 has eight bits for them. Gradients return in
    the precision of the original tensors.
    """

    @wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = tensors[0].device.type
        if not torch.is_autocast_enabled(device) and not any(tensor.dtype in _HALF for tensor in tensors):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*map(_widen, args), **{name: _widen(value) for name, value in kwargs.items()})

    return widened


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value


class _Artanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        clamped = x.clamp(ARTANH_MARGIN - 1, 1 - ARTANH_MARGIN)
        ctx.save_for_backward(clamped)
        return clamped.atanh()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (clamped,) = ctx.saved_tensors
        return grad / (1 - clamped * clamped)


@in_full_precision
def artanh(x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent of x [...] clamped to +-(1 - 1e-5).

    The gradient is 1 / (1 - x^2) at the clamped x and passes through the clamp, so that points at the ball's edge
    keep moving.
    """
    return _Artanh.apply(x)


@in_full_precision
def project(x: Tensor, c: float) -> Tensor:
    """Pull points beyond the radius (1 - 1e-3) / sqrt(c) back to it; those inside stay."""
    norm = _norm(x)
    radius = (1 - BALL_MARGIN) / math.sqrt(c)
    return torch.where(norm > radius, x * (radius / norm), x)


@in_full_precision
def expmap0(u: Tensor, c: float) -> Tensor:
    """DistilVPR Eq. (14). tanh(sqrt(c) |u|) u / (sqrt(c) |u|), from the tangent space at the origin to the ball."""
    scaled = math.sqrt(c) * _norm(u)
    return u * (_tanh(scaled) / scaled)


@in_full_precision
def logmap0(y: Tensor, c: float) -> Tensor:
    """Inverse of `expmap0`: artanh(sqrt(c) |y|) y / (sqrt(c) |y|)."""
    scaled = math.sqrt(c) * _norm(y)
    return y * (artanh(scaled) / scaled)


@in_full_precision
def mobius_add(x: Tensor, y: Tensor, c: float) -> Tensor:
    """DistilVPR Eq. (12). x (+) y on the ball, with the 1e-5 that the published code adds to the denominator."""
    xy, x2, y2 = _dot(x, y), _dot(x, x), _dot(y, y)
    numerator = (1 + 2 * c * xy + c * y2) * x + (1 - c * x2) * y
    return numerator / (1 + 2 * c * xy + c * c * x2 * y2 + MOBIUS_EPS)


@in_full_precision
def lambda_x(x: Tensor, c: float) -> Tensor:
    """Conformal factor 2 / (1 - c |x|^2) at x [..., D]; returns [..., 1]."""
    return 2 / (1 - c * _dot(x, x))


@in_full_precision
def expmap(x: Tensor, u: Tensor, c: float) -> Tensor:
    """DistilVPR Eq. (13). x (+) tanh(sqrt(c) lambda_x |u| / 2) u / (sqrt(c) |u|), u tangent at x."""
    scaled = math.sqrt(c) * _norm(u)
    return mobius_add(x, u * (_tanh(lambda_x(x, c) * scaled / 2) / scaled), c)


@in_full_precision
def logmap(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Inverse of `expmap`: the tangent vector at x that leads to y."""
    step = mobius_add(-x, y, c)
    scaled = math.sqrt(c) * _norm(step)
    return step * (2 * artanh(scaled) / (lambda_x(x, c) * scaled))


@in_full_precision
def to_poincare(u: Tensor, c: float, clip_r: float | None = None) -> Tensor:
    """hyptorch's ToPoincare with fixed curvature: project(expmap0(u)), rows longer than `clip_r` shortened first."""
    if clip_r is not None:
        norm = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
        u = u * (clip_r / (norm + MIN_NORM)).clamp(max=1.0)
    return project(expmap0(u, c), c)


class _MobiusNorm(torch.autograd.Function):
    """sqrt(c) |(-x) (+) y| out of w = |x - y|^2 and gap = (1 - c|x|^2)(1 - c|y|^2).

    With den = gap + c w = 1 - 2c<x, y> + c^2|x|^2|y|^2 it is sqrt(c w den) / (den + 1e-5). At the ball's edge the
    terms of its derivative nearly cancel, which costs autograd most of float32's digits; here they are cancelled on
    paper.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor, gap: Tensor, c: float) -> Tensor:
        den = gap + c * w
        ctx.save_for_backward(w, gap)
        ctx.c = c
        return (c * w * den).sqrt() / (den + MOBIUS_EPS)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        w, gap = ctx.saved_tensors
        c_w = ctx.c * w
        den = gap + c_w
        root = (c_w * den).sqrt()
        scale = (grad * ctx.c / (2 * root * (den + MOBIUS_EPS).square())).masked_fill(root == 0, 0)
        return scale * (den * gap + MOBIUS_EPS * (den + c_w)), scale * w * (MOBIUS_EPS - den), None


@in_full_precision
def dist(x: Tensor, y: Tensor, c: float) -> Tensor:
    """DistilVPR Eq. (15). (2 / sqrt(c)) artanh(sqrt(c) |(-x) (+) y|), row by row: [..., D] twice to [...].

    The gradient is 0 where x and y coincide.
    """
    gap = _edge_gap(x, c) * _edge_gap(y, c)
    difference = x - y
    return _geodesic(_dot(difference, difference), gap, c).squeeze(-1)


@in_full_precision
def dist0(x: Tensor, c: float) -> Tensor:
    """Geodesic distance from the origin: [..., D] to [...]."""
    root = math.sqrt(c)
    return 2 / root * artanh(root * torch.linalg.vector_norm(x, dim=-1))


@in_full_precision
def dist_matrix(x: Tensor, y: Tensor, c: float) -> Tensor:
    """DistilVPR Eq. (15) for all pairs: x [N, D] and y [M, D] on the ball to [N, M]."""
    x_gap = _edge_gap(x, c)
    gap = x_gap * (x_gap if x is y else _edge_gap(y, c)).T
    return _geodesic(squared_euclidean_matrix(x, y), gap, c)


@in_full_precision
def squared_euclidean_matrix(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2 for x [N, D] and y [M, D] as one matrix product, [N, M].

    Entries below the rounding noise of that form are exactly 0 and pass no gradient.
    """
    # Distances do not change with the origin; at the mean the numbers that cancel are the smallest.
    itself, centre = x is y, y.detach().mean(0)
    x = x - centre
    y = x if itself else y - centre
    x2 = _dot(x, x)
    magnitude = x2 + (x2 if itself else _dot(y, y)).T
    squared = torch.addmm(magnitude, x, y.T, alpha=-2)
    noise = COINCIDENT_ULPS * torch.finfo(squared.dtype).eps * magnitude.detach()
    return squared.masked_fill(squared <= noise, 0)


@in_full_precision
def euclidean_matrix(x: Tensor, y: Tensor) -> Tensor:
    """DistilVPR Eq. (6). |x_i - y_j|, [N, M]; its gradient is 0 where two rows coincide."""
    squared = squared_euclidean_matrix(x, y)
    apart = squared > 0
    return torch.where(apart, squared, 1).sqrt() * apart


@in_full_precision
def cosine_matrix(x: Tensor, y: Tensor) -> Tensor:
    """DistilVPR Eq. (9). Cosine similarity of the rows of x [N, D] and y [M, D], [N, M]."""
    unit = functional.normalize(x, dim=-1)
    return unit @ (unit if x is y else functional.normalize(y, dim=-1)).T


def _geodesic(squared: Tensor, gap: Tensor, c: float) -> Tensor:
    return 2 / math.sqrt(c) * artanh(_MobiusNorm.apply(squared, gap, c))


def _edge_gap(x: Tensor, c: float) -> Tensor:
    # Rounding can put the image of a long vector a hair outside the ball.
    return (1 - c * _dot(x, x)).clamp_min(0)


def _tanh(x: Tensor) -> Tensor:
    return x.clamp(-15, 15).tanh()


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1, keepdim=True)


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(MIN_NORM)
