"""Fits what a calibration consists of: logistic regressions whose weights keep the sign of their evidence.

Platt, "Probabilistic Outputs for Support Vector Machines" (1999), with his smoothed targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from vpr_core.retrieval.match_model import LIGHT_KNOWN, LOG_RATIO, RAISES, ByLight, Logistic, MatchModel, columns

_RIDGE = 1.0
_NEARLY_ALL = 0.95


def fit_match_model(features: np.ndarray, right: np.ndarray, weight: np.ndarray) -> MatchModel:
    """Of candidates with features [M, 9], bool [M] whether they are right, and what each counts [M]."""
    by_light, log_ratio = fit_by_light(features, right, weight, RAISES), features[:, LOG_RATIO]
    closest = float(np.quantile(log_ratio[right], _NEARLY_ALL)) if right.any() else 0.0
    beyond = log_ratio > closest
    at_most = float((weight[beyond & right].sum() + 1) / (weight[beyond].sum() + 2))
    return MatchModel(by_light, closest, at_most)


def fit_by_light(features: np.ndarray, target: np.ndarray, weight: np.ndarray, raises: Sequence[int]) -> ByLight:
    """Of bool target [M] on features [M, 9 or 11], for as many of them as `raises` has; see `fit_logistic`.

    In the query's light a frame counts as far as that is known.
    """
    plain, in_light = columns(len(raises))
    without = fit_logistic(features[:, plain], target, weight, raises)
    known = features[:, LIGHT_KNOWN]
    if not known.any():
        return ByLight(without, without)
    return ByLight(without, fit_logistic(features[:, in_light], target, weight * known, raises))


def fit_logistic(features: np.ndarray, target: np.ndarray, weight: np.ndarray, raises: Sequence[int]) -> Logistic:
    """Ridge logistic regression of bool target [M] on features [M, F], each weight of the sign that `raises` says.

    With Platt's targets (n + 1) / (n + 2) and 1 / (m + 2) in place of 1 and 0, for the weighted counts of both kinds:
    where no match is wrong, the probability stays short of 1 by what so many frames can tell.
    """
    features = np.ascontiguousarray(features)
    mean, sign = features.mean(axis=0), np.asarray(raises, dtype=np.float64)
    scale = np.maximum(features.std(axis=0), 1e-6)
    inputs = (features - mean) / scale * sign
    yes, no = float(weight[target].sum()), float(weight[~target].sum())
    goal = np.where(target, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logit = inputs @ parameters[:-1] + parameters[-1]
        value = float(weight @ (np.logaddexp(0.0, logit) - goal * logit))
        error = weight * (0.5 * (1.0 + np.tanh(0.5 * logit)) - goal)
        ridge = _RIDGE * parameters[:-1]
        return value + 0.5 * float(parameters[:-1] @ ridge), np.append(inputs.T @ error + ridge, error.sum())

    width = features.shape[1]
    bounds = [(0.0, None)] * width + [(None, None)]
    found = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = np.where(found[:-1] > 0, found[:-1] * sign, 0.0)
    return Logistic(tuple(mean.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), float(found[-1]))
