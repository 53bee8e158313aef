"""Every scheme against its formula, on ranks made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vpr_core.structvpr.weighting import SCHEMES, sample_weights

INF = math.inf
X = [1, 2, 10, 4, 1, 11, INF, INF, 5, 10]
Y = [1, 7, 10, 2, INF, 1, 3, INF, 250, 11]


def by_hand(scheme: str, x: float, y: float, n_t: int = 10) -> float:
    """One sample's weight, by the words of the paper and its tables."""
    good = x <= n_t
    if scheme == "8-4-1-0":
        return 0 if not good else 8 if y > n_t else 4 if x <= y else 1
    return {
        "paper": min(y, 100) / x if good else 0,
        "log": math.log(1 + min(y, 100)) / x if good else 0,
        "ratio": 0 if not good else 1 if y == INF else y / (x + y),
        "gp_s": 1 / x if good else 0,
        "gp_s_constant": float(good),
        "gp_r": float(y <= n_t),
        "all": 1.0,
        "none": 0.0,
    }[scheme]


@pytest.mark.parametrize("n_t", [1, 4, 10])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("error")
def test_every_scheme(scheme: str, n_t: int) -> None:
    weights = sample_weights(np.array(X, float), np.array(Y, float), n_t, scheme)
    np.testing.assert_allclose(weights, [by_hand(scheme, x, y, n_t) for x, y in zip(X, Y, strict=True)], rtol=1e-12)
    assert np.isfinite(weights).all()


def test_the_paper_s_by_numbers() -> None:
    weights = sample_weights(np.array(X, float), np.array(Y, float))
    np.testing.assert_allclose(weights, [1, 3.5, 1, 0.5, 100, 0, 0, 0, 20, 1.1])


def test_the_groups_are_ordered_as_their_constants() -> None:
    """What the student misses weighs most, what it does better than the teacher less than 1."""
    rng = np.random.default_rng(2)
    x, y = rng.integers(1, 40, 500), rng.integers(1, 40, 500)
    weights, constants = (sample_weights(x, y, scheme=scheme) for scheme in ("paper", "8-4-1-0"))
    assert weights[constants == 4].min() >= 1 > weights[constants == 1].max() > 0
    assert (weights[constants == 0] == 0).all() and weights[constants == 8].mean() > weights[constants == 4].mean()


@pytest.mark.parametrize(
    ("groups", "kept"),
    [
        (("D1",), [4, 8, 9]),
        (("D2",), [0, 1, 2]),
        (("D3",), [3]),
        (("D4",), [5, 6, 7]),
        (("D1", "D2", "D3"), [0, 1, 2, 3, 4, 8, 9]),
        (("x<=N_t",), [0, 1, 2, 3, 4, 8, 9]),
        (("y<=N_t",), [0, 1, 2, 3, 5, 6]),
        (("y>N_t",), [4, 7, 8, 9]),
        ((), []),
    ],
)
def test_groups_give_the_rows_of_table_5(groups: tuple[str, ...], kept: list[int]) -> None:
    x, y = np.array(X, float), np.array(Y, float)
    assert np.flatnonzero(sample_weights(x, y, scheme="all", groups=groups)).tolist() == kept
    weights, whole = sample_weights(x, y, groups=groups), sample_weights(x, y)
    assert weights[kept].tolist() == whole[kept].tolist()
    assert np.delete(weights, kept).sum() == 0


def test_what_comes_is_what_goes() -> None:
    for dtype in (np.float32, np.float64):
        weights = sample_weights(np.array([2, INF], dtype), np.array([4, 1], dtype))
        assert type(weights) is np.ndarray and weights.dtype == dtype and weights.tolist() == [2, 0]
    assert sample_weights(np.array([2, 3]), np.array([4, 1])).dtype == np.float64
    for tensor_type in (torch.float32, torch.float64):
        tensor = sample_weights(torch.tensor([2, INF], dtype=tensor_type), torch.tensor([4, 1], dtype=tensor_type))
        assert tensor.dtype == tensor_type and tensor.tolist() == [2, 0]
    assert sample_weights([2, 3], [4, 1]).tolist() == [2, 1 / 3]  # type: ignore[type-var]
    whole = sample_weights(torch.tensor([2, 3]), torch.tensor([5, 1]))
    assert whole.dtype == torch.float32 and whole[0] == 2.5
    assert sample_weights(np.empty(0), np.empty(0)).shape == (0,)


@pytest.mark.parametrize(
    ("x", "y", "options", "told"),
    [
        ([0.0, 1], [1.0, 1], {}, "teacher rank 0: ranks count from 1"),
        ([1.0, 1], [1.0, -2], {}, "student rank -2"),
        ([1.0, math.nan], [1.0, 1], {}, "teacher rank nan"),
        ([1.0], [1.0, 1], {}, r"teacher ranks \[1\] and student ranks \[2\]"),
        ([[1.0]], [[1.0]], {}, r"expected \[S\]"),
        ([1.0], [1.0], {"n_t": 0}, "n_t is 0"),
        ([1.0], [1.0], {"scheme": "eq4"}, "scheme is 'eq4', expected one of paper, log"),
        ([1.0], [1.0], {"groups": ("D1", "D5")}, "group 'D5' is not one of D1"),
    ],
)
def test_what_cannot_be_a_rank_is_refused(x: list, y: list, options: dict, told: str) -> None:
    for make in (np.array, torch.tensor):
        with pytest.raises(ValueError, match=told):
            sample_weights(make(x), make(y), **options)


def test_arrays_and_tensors_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="both as arrays or both as tensors"):
        sample_weights(np.ones(2), torch.ones(2))  # type: ignore[type-var]
