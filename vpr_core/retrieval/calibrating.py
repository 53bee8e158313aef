"""Fits a `Calibration` to validation drives: logistic regression whose weights keep their sign, cross-validated.

Platt, "Probabilistic Outputs for Support Vector Machines" (1999), with his smoothed targets; thresholds after
Angelopoulos et al., "Conformal Risk Control" (2022): one wrong match more is counted than was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import beta

from vpr_core.data.places import within
from vpr_core.errors import FramesError
from vpr_core.retrieval.calibration import (
    OFF_MAP_RAISES,
    RAISES,
    TARGETS,
    Calibration,
    Logistic,
    MatchModel,
    Threshold,
    features_of,
    off_map_features_of,
)
from vpr_core.retrieval.evidence import Layout, evidence_of
from vpr_core.retrieval.place_map import PlaceMap

EXCLUSION_RADII = 1.5
"""Exclusion radius over the radius within which a match is right: a match just beyond is wrong, so it is a rival."""
DEFAULT_OFF_MAP_SHARE = 0.1
CANDIDATES = 5
FOLDS = 5
GAP_FRAMES = 5
"""Frames so near to a held-out block are not trained on either."""
MIN_FRAMES = 50
MIN_OFF_MAP = 20
CONFIDENCE = 0.95
_RIDGE = 1.0
_NEARLY_ALL = 0.95

Progress = Callable[[int], object]


@dataclass(frozen=True)
class ValidationDrive:
    """One drive in a map's terms."""

    descriptors: np.ndarray
    """float32 [M, D], unit rows."""
    positions_m: np.ndarray | None
    """[M, 2 or more] in the map frame; None for a drive through places that the map does not have."""


@dataclass(frozen=True)
class Samples:
    """Evidence and truth of M validation frames with K candidates each."""

    features: np.ndarray
    """float64 [M, K, F]."""
    off_map_features: np.ndarray
    """float64 [M, 1], of the best match."""
    right: np.ndarray
    """bool [M, K]."""
    on_map: np.ndarray
    """bool [M]: the map has a place within the radius."""
    drive: np.ndarray
    """int [M], the number of its drive."""
    fold: np.ndarray
    """int [M], which block of its drive."""

    def weights(self, off_map_share: float) -> np.ndarray:
        """[M] so that frames off the map have that share of the whole, where there are frames of both kinds."""
        count = int((~self.on_map).sum())
        if not count or count == len(self.on_map):
            return np.ones(len(self.on_map))
        each = off_map_share / (1.0 - off_map_share) * (len(self.on_map) - count) / count
        return np.where(self.on_map, 1.0, each)


@dataclass(frozen=True)
class Validated:
    """What the best match of every validation frame was given by models that had not seen its block."""

    probability: np.ndarray
    """[M]."""
    right: np.ndarray
    """bool [M]."""
    weight: np.ndarray
    """[M], see `Samples.weights`."""
    on_map: np.ndarray
    """bool [M]."""


def calibrate(
    place_map: PlaceMap,
    drives: Sequence[ValidationDrive],
    radius_m: float,
    exclusion_m: float | None = None,
    off_map_share: float = DEFAULT_OFF_MAP_SHARE,
    progress: Progress | None = None,
) -> tuple[Calibration, Validated]:
    """Fit a calibration of a map with poses, and validate it.

    exclusion_m: None takes EXCLUSION_RADII times the radius. off_map_share: how much of its time the robot is taken to
    be off the map, in [0, 1); frames off the map are weighted to it. Raises FramesError where poses lack, or too few
    frames have a place in the map.
    """
    exclusion_m = EXCLUSION_RADII * radius_m if exclusion_m is None else exclusion_m
    samples = collect(place_map, drives, radius_m, exclusion_m, progress)
    if (count := int(samples.on_map.sum())) < MIN_FRAMES:
        raise FramesError(
            f"{count} of {len(samples.on_map)} validation frames have a place of the map within {radius_m:g} m, "
            f"expected {MIN_FRAMES} or more: give a drive through the mapped places, with poses in the map's frame"
        )
    weight = samples.weights(off_map_share)
    probability, refused = _cross_validated(samples, weight)
    validated = Validated(probability, samples.right[:, 0], weight, samples.on_map)
    best, others, off_map = _fit(samples, weight, np.full(len(weight), True))
    calibration = Calibration(
        map_hash=place_map.hash,
        model_hash=place_map.model_hash,
        radius_m=radius_m,
        exclusion_m=exclusion_m,
        off_map_share=off_map_share,
        best=best,
        others=others,
        off_map=off_map,
        typical=_typical(samples),
        thresholds=thresholds(np.where(refused, 0.0, probability), validated.right, weight),
    )
    return calibration, validated


def collect(
    place_map: PlaceMap,
    drives: Sequence[ValidationDrive],
    radius_m: float,
    exclusion_m: float,
    progress: Progress | None = None,
) -> Samples:
    """Evidence and truth of every frame of the drives; raises FramesError in a map without poses."""
    layout = Layout.of(place_map.places)
    if layout.positions_m is None:
        raise FramesError("the map has no poses, so nothing tells which match is right: make it of a drive with poses")
    parts = [_of_drive(place_map, layout, drive, (radius_m, exclusion_m), progress) for drive in drives]
    features, off_map_features, right, on_map = (np.concatenate(column) for column in zip(*parts, strict=True))
    sizes = [len(part[0]) for part in parts]
    fold = np.concatenate([np.arange(size) * FOLDS // max(size, 1) for size in sizes])
    return Samples(features, off_map_features, right, on_map, np.repeat(np.arange(len(sizes)), sizes), fold)


def _of_drive(
    place_map: PlaceMap,
    layout: Layout,
    drive: ValidationDrive,
    radii_m: tuple[float, float],
    progress: Progress | None,
) -> tuple[np.ndarray, ...]:
    radius_m, exclusion_m = radii_m
    if drive.positions_m is None:
        truth = [np.empty(0, np.int64)] * len(drive.descriptors)
    else:
        truth = within(layout.positions_m, drive.positions_m, radius_m)  # type: ignore[arg-type]
    features, off_map_features, right = [], [], []
    for descriptor, true in zip(drive.descriptors, truth, strict=True):
        similarity = place_map.descriptors @ descriptor
        rows = np.argsort(-similarity, kind="stable")[:CANDIDATES]
        evidence = evidence_of(similarity, rows, layout, exclusion_m)
        features.append(features_of(evidence))
        off_map_features.append(off_map_features_of(evidence)[0])
        right.append(np.isin(rows, true))
        if progress:
            progress(1)
    return np.array(features), np.array(off_map_features), np.array(right), np.array([len(true) > 0 for true in truth])


def _fit(samples: Samples, weight: np.ndarray, use: np.ndarray) -> tuple[MatchModel, MatchModel, Logistic | None]:
    """Models of the best match, of the others and of being off the map, from the frames that `use` bool [M] names."""
    features, right, weight = samples.features[use], samples.right[use], weight[use]
    best = _match_model(features[:, 0], right[:, 0], weight)
    width, rest = features.shape[-1], features.shape[1] - 1
    others = best
    if rest:
        each = np.repeat(weight, rest) / rest
        others = _match_model(features[:, 1:].reshape(-1, width), right[:, 1:].ravel(), each)
    off_map, beside = None, ~samples.on_map[use]
    if beside.sum() >= MIN_OFF_MAP:
        off_map = fit_logistic(samples.off_map_features[use], beside, weight, OFF_MAP_RAISES)
    return best, others, off_map


def _match_model(features: np.ndarray, right: np.ndarray, weight: np.ndarray) -> MatchModel:
    logistic, log_ratio = fit_logistic(features, right, weight, RAISES), features[:, 1]
    closest = float(np.quantile(log_ratio[right], _NEARLY_ALL)) if right.any() else 0.0
    beyond = log_ratio > closest
    at_most = float((weight[beyond & right].sum() + 1) / (weight[beyond].sum() + 2))
    return MatchModel(logistic, closest, at_most)


def fit_logistic(features: np.ndarray, target: np.ndarray, weight: np.ndarray, raises: Sequence[int]) -> Logistic:
    """Ridge logistic regression of bool target [M] on features [M, F], each weight of the sign that `raises` says.

    With Platt's targets (n + 1) / (n + 2) and 1 / (m + 2) in place of 1 and 0, for the weighted counts of both kinds:
    where no match is wrong, the probability stays short of 1 by what so many frames can tell.
    """
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


def _cross_validated(samples: Samples, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[M] probability of each best match by a model that saw neither its block of the drive nor frames next to it.

    And bool [M], whether that model refuses it for a close rival.
    """
    probability, refused = np.empty(len(weight)), np.empty(len(weight), bool)
    for fold in range(FOLDS):
        held_out = samples.fold == fold
        if held_out.any():
            best, _, _ = _fit(samples, weight, ~_widened(held_out, samples.drive))
            probability[held_out] = best(samples.features[held_out, 0])
            refused[held_out] = best.has_close_rival(samples.features[held_out, 0])
    return probability, refused


def _widened(held_out: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """The held-out frames bool [M] and those of the same drive within GAP_FRAMES of one."""
    found = held_out.copy()
    for shift in range(1, GAP_FRAMES + 1):
        same = drive[shift:] == drive[:-shift]
        found[shift:] |= held_out[:-shift] & same
        found[:-shift] |= held_out[shift:] & same
    return found


def _typical(samples: Samples) -> tuple[float, ...]:
    right = samples.features[samples.right[:, 0], 0]
    chosen = right if len(right) else samples.features[:, 0]
    return tuple(np.median(chosen, axis=0).tolist())


def thresholds(probability: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None) -> tuple[Threshold, ...]:
    """For each of TARGETS the lowest probability that supports it, from best matches [M] and whether they were right.

    weight: float [M], what each counts; all alike by default.

    A cut supports a target where its precision reaches it with one wrong match more than was seen: without any wrong
    one, 99 % takes 99 frames and 99.9 % takes 999. A stricter target never has a lower threshold, and none accepts what
    is more probably wrong than right.
    """
    order = np.argsort(-probability, kind="stable")
    falling = probability[order]
    ends_a_tie = np.append(np.diff(falling) < 0, True)[: len(falling)]
    cuts = np.flatnonzero(ends_a_tie & (falling >= 0.5))
    if not len(cuts):
        return tuple(Threshold(target, None, 0, 0, 0.0) for target in TARGETS)
    counted = np.ones(len(order)) if weight is None else weight[order]
    wrong = ~right[order]
    accepted_weight, wrong_weight = np.cumsum(counted)[cuts], np.cumsum(counted * wrong)[cuts]
    precision = 1.0 - (wrong_weight + 1) / (accepted_weight + 1)
    found = []
    for target in TARGETS:
        reached = np.flatnonzero(precision >= target - 1e-12)
        at = int(reached[-1] if len(reached) else precision.argmax())
        least = float(falling[cuts[at]]) if len(reached) else None
        bound = lower_bound(float(accepted_weight[at]), float(wrong_weight[at]))
        found.append(Threshold(target, least, int(cuts[at]) + 1, int(wrong[: cuts[at] + 1].sum()), bound))
    return tuple(found)


def lower_bound(accepted: float, wrong: float) -> float:
    """One-sided Clopper-Pearson bound of the precision of `accepted` matches with `wrong` errors, at CONFIDENCE."""
    right = accepted - wrong
    return float(beta.ppf(1.0 - CONFIDENCE, right, wrong + 1)) if right > 0 else 0.0
