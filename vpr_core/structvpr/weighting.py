"""StructVPR Sec. 3.5. How much a sample's distillation counts, by what either branch makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vpr_core.structvpr.partition import N_T, group_masks

if TYPE_CHECKING:
    from torch import Tensor

    Ranks = TypeVar("Ranks", np.ndarray, Tensor)

__all__ = ["LARGEST_RANK", "SCHEMES", "sample_weights"]

LARGEST_RANK = 100.0
"""Y of Eq. (4), inferred: the paper's formula is lost. It keeps weights finite for positives never retrieved."""

Masks = dict[str, np.ndarray]
Scheme = Callable[[np.ndarray, np.ndarray, Masks], np.ndarray]


def _paper(x: np.ndarray, y: np.ndarray, masks: Masks) -> np.ndarray:
    """Eq. (4) as inferred from the text: proportional to y, inversely to x, zero on some samples."""
    return masks["x<=N_t"] * np.minimum(y, LARGEST_RANK) / x


def _log(x: np.ndarray, y: np.ndarray, masks: Masks) -> np.ndarray:
    return masks["x<=N_t"] * np.log1p(np.minimum(y, LARGEST_RANK)) / x


def _ratio(x: np.ndarray, y: np.ndarray, masks: Masks) -> np.ndarray:
    # y / (x + y), written so that an infinite y gives its limit of 1; an infinite x is masked.
    return masks["x<=N_t"] / (1 + np.where(masks["x<=N_t"], x, 1.0) / y)


def _constants(x: np.ndarray, y: np.ndarray, masks: Masks) -> np.ndarray:
    """GP-D(8-4-1-0) of Table 6."""
    return 8.0 * masks["D1"] + 4.0 * masks["D2"] + 1.0 * masks["D3"]


def _gp_s(x: np.ndarray, y: np.ndarray, masks: Masks) -> np.ndarray:
    """Eq. (7), inferred like Eq. (4): by the teacher's rank alone."""
    return masks["x<=N_t"] / x


SCHEMES: dict[str, Scheme] = {
    "paper": _paper,
    "log": _log,
    "ratio": _ratio,
    "8-4-1-0": _constants,
    "gp_s": _gp_s,
    "gp_s_constant": lambda x, y, masks: 1.0 * masks["x<=N_t"],
    "gp_r": lambda x, y, masks: 1.0 * masks["y<=N_t"],
    "all": lambda x, y, masks: np.ones_like(x),
    "none": lambda x, y, masks: np.zeros_like(x),
}


def sample_weights(
    teacher_rank: Ranks,
    student_rank: Ranks,
    n_t: int = N_T,
    scheme: str = "paper",
    groups: Sequence[str] | None = None,
) -> Ranks:
    """StructVPR Eq. (4), (7), Tables 5 and 6. The weight [S] of each sample, not normalised.

    teacher_rank x, student_rank y: [S] ranks from 1, infinite for a positive never retrieved, numpy or torch; the
    weights come back as the same, in their floating type (float64 or torch's default for integers).
    scheme, each but the last three 0 where x > N_t:
      paper          min(y, 100) / x                        gp_r   1 where y <= N_t, else 0
      log            log(1 + min(y, 100)) / x               all    1
      ratio          y / (x + y)                            none   0
      8-4-1-0        8, 4, 1, 0 on D1, D2, D3, D4
      gp_s           1 / x
      gp_s_constant  1
    groups: only samples in one of these sets of `group_masks` keep their weight, the others have 0: with scheme "all"
    the rows of Table 5.
    Raises ValueError for ranks below 1 or NaN, lengths that differ, an N_t below 1, an unknown scheme or group.
    """
    if _is_tensor(teacher_rank) != _is_tensor(student_rank):
        raise ValueError("one of the ranks is a tensor and the other is not: give both as arrays or both as tensors")
    x, y = _as_array(teacher_rank), _as_array(student_rank)
    _check(x, y, n_t)
    if scheme not in SCHEMES:
        raise ValueError(f"scheme is {scheme!r}, expected one of {', '.join(SCHEMES)}")
    masks = group_masks(x, y, n_t)
    weights = SCHEMES[scheme](x, y, masks)
    if groups is not None:
        weights = weights * _any_of(groups, masks)
    return _like(weights, teacher_rank)


def _is_tensor(ranks: np.ndarray | Tensor) -> bool:
    return hasattr(ranks, "detach")


def _as_array(ranks: np.ndarray | Tensor) -> np.ndarray:
    return np.asarray(ranks.tolist() if _is_tensor(ranks) else ranks, dtype=np.float64)


def _check(x: np.ndarray, y: np.ndarray, n_t: int) -> None:
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"teacher ranks {list(x.shape)} and student ranks {list(y.shape)}: expected [S] twice")
    for name, ranks in (("teacher", x), ("student", y)):
        # Not "below 1", so that NaN is refused too.
        if len(wrong := ranks[~(ranks >= 1)]):
            raise ValueError(f"{name} rank {wrong[0]:g}: ranks count from 1, infinity is never retrieved")
    if n_t < 1:
        raise ValueError(f"n_t is {n_t}, expected at least 1")


def _any_of(groups: Sequence[str], masks: Masks) -> np.ndarray:
    if unknown := [group for group in groups if group not in masks]:
        raise ValueError(f"group {unknown[0]!r} is not one of {', '.join(masks)}")
    return np.any([masks[group] for group in groups], axis=0)


def _like(weights: np.ndarray, ranks: Any) -> Any:
    """The weights as the ranks came: a tensor of their device, or an array."""
    if not _is_tensor(ranks):
        floating = np.issubdtype(np.asarray(ranks).dtype, np.floating)
        return weights.astype(np.asarray(ranks).dtype if floating else np.float64)
    import torch

    dtype = ranks.dtype if ranks.is_floating_point() else torch.get_default_dtype()
    return torch.tensor(weights, dtype=dtype, device=ranks.device)
