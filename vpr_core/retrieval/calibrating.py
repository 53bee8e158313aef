"""Fits a `Calibration` to validation drives, cross-validated, with thresholds that hold for each drive by itself.

Thresholds after Angelopoulos et al., "Conformal Risk Control" (2022): one wrong match more is counted than was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.stats import beta, binom

from vpr_core.errors import FramesError
from vpr_core.retrieval.calibration import TARGETS, Calibration
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import (
    CHECKED_RAISES,
    FIT,
    IN_LIGHT,
    OFF_MAP_RAISES,
    ByLight,
    CheckedModel,
    MatchModel,
    Threshold,
)
from vpr_core.retrieval.model_fit import fit_by_light, fit_match_model
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.validation import FOLDS, Progress, Samples, ValidationDrive, collect

EXCLUSION_RADII = 1.5
"""Exclusion radius over the radius within which a match is right: a match just beyond is wrong, so it is a rival."""
DEFAULT_OFF_MAP_SHARE = 0.1
GAP_FRAMES = 5
"""Frames so near to a held-out block are not trained on either."""
MIN_FRAMES = 50
MIN_OFF_MAP = 20
OFF_MAP = -1
"""The group of frames that no place is near, of whatever drive."""
CONFIDENCE = 0.95
LIKELY = 0.5
"""A drive breaks a target where so many wrong matches as it has are less likely than this at the target's precision."""
MOST_DOUBTFUL = 5.0
"""See `_least_ever`."""

Judge = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes bool [M], the frames to judge; gives probability and whether it is refused in any case, of each of them."""
Fit = Callable[[Samples, np.ndarray, np.ndarray], Judge]
"""Takes samples, what each counts [M], and bool [M], the frames to fit a model to."""


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
    is_elsewhere: np.ndarray
    """bool [M], see `Samples`."""
    checked: Validated | None = None
    """The same of the match that the check leads to, of the frames that were checked; None without a model of them."""


def calibrate(
    place_map: PlaceMap,
    drives: Sequence[ValidationDrive],
    radius_m: float,
    exclusion_m: float | None = None,
    off_map_share: float = DEFAULT_OFF_MAP_SHARE,
    progress: Progress | None = None,
) -> tuple[Calibration, Validated]:
    """Fit a calibration of a map with poses, and validate it.

    Where drives bring checks of MIN_FRAMES frames on the map, it has a `CheckedModel` too.

    exclusion_m: None takes EXCLUSION_RADII times the radius. off_map_share: how much of its time the robot is taken to
    be off the map, in [0, 1); frames off the map are weighted to it. Raises FramesError where poses lack, or too few
    frames have a place in the map.
    """
    exclusion_m = EXCLUSION_RADII * radius_m if exclusion_m is None else exclusion_m
    samples = collect(place_map, drives, radius_m, exclusion_m, progress)
    if (count := int(samples.on_map.sum())) < MIN_FRAMES:
        facing = " that faces their way" if place_map.modality == "camera" else ""
        raise FramesError(
            f"{count} of {len(samples.on_map)} validation frames have a place of the map within {radius_m:g} m{facing},"
            f" expected {MIN_FRAMES} or more: give a drive through the mapped places, with poses in the map's frame"
        )
    weight, everything = samples.weights(off_map_share), np.full(len(samples.drive), True)
    light_shift = _light_shift(samples, everything)
    validated, found = _validated(samples, weight, samples.right[:, 0], _plain)
    by_light = samples.by_light(light_shift)
    best, others, off_map = _fit(by_light, weight, everything)
    checked = _checked(samples, light_shift, off_map_share)
    calibration = Calibration(
        map_hash=place_map.hash,
        model_hash=place_map.model_hash,
        radius_m=radius_m,
        exclusion_m=exclusion_m,
        off_map_share=off_map_share,
        light_shift=light_shift,
        best=best,
        others=others,
        off_map=off_map,
        typical=_typical(by_light),
        thresholds=found,
        checked=checked[0] if checked else None,
    )
    return calibration, replace(validated, checked=checked[1] if checked else None)


def _checked(whole: Samples, light_shift: LightShift, off_map_share: float) -> tuple[CheckedModel, Validated] | None:
    """Of frames that were checked; None where they are too few."""
    samples = whole.checked
    if samples.on_map.sum() < MIN_FRAMES:
        return None
    weight, right = samples.weights(off_map_share), samples.right_chosen
    validated, found = _validated(samples, weight, right, partial(_with_checks, whole))
    best, others = _fit_checked(samples.by_light(light_shift), weight, np.full(len(weight), True))
    return CheckedModel(best, others, float(samples.support[..., 0].max()), found), validated


def _validated(
    samples: Samples, weight: np.ndarray, right: np.ndarray, fit: Fit
) -> tuple[Validated, tuple[Threshold, ...]]:
    """Where the light is not known thresholds hold as if it were of no validation frame, and none is lower."""
    group = np.where(samples.is_elsewhere, OFF_MAP, samples.drive)

    def judged(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        probability, refused = _cross_validated(samples, lambda use: fit(samples, weight, use))
        return probability, np.where(refused, 0.0, probability)

    probability, given = judged(samples)
    without = judged(samples.without_light)[1] if samples.light.size else given
    unlit = thresholds(without, right, weight, group)
    found = tuple(
        replace(lit, in_unknown_light=_stricter(lit.probability, without.probability))
        for lit, without in zip(thresholds(given, right, weight, group), unlit, strict=True)
    )
    return Validated(probability, right, weight, samples.on_map, samples.is_elsewhere), found


def _stricter(*thresholds: float | None) -> float | None:
    known = [one for one in thresholds if one is not None]
    return max(known) if len(known) == len(thresholds) else None


def _plain(samples: Samples, weight: np.ndarray, use: np.ndarray) -> Judge:
    samples = samples.by_light(_light_shift(samples, use))
    best, _, _ = _fit(samples, weight, use)
    return lambda rows: (best(samples.features[rows, 0]), best.has_close_rival(samples.features[rows, 0]))


def _with_checks(whole: Samples, samples: Samples, weight: np.ndarray, use: np.ndarray) -> Judge:
    """Of the checked ones of the whole; what is usual in a light is told by the frames between them too."""
    samples = samples.by_light(_light_shift(whole, _of_whole(whole, use)))
    best, _ = _fit_checked(samples, weight, use)
    features = samples.of_chosen(samples.checked_features)
    return lambda rows: (best(features[rows]), features[rows, FIT] <= 0)


def _of_whole(whole: Samples, use: np.ndarray) -> np.ndarray:
    """bool [M] of all frames from that of the checked ones: as the last before in its drive, or the first, is used."""
    is_checked, found = whole.chosen >= 0, np.ones(len(whole.drive), bool)
    number = np.cumsum(is_checked) - 1
    for one in np.unique(whole.drive[is_checked]):
        of_drive = whole.drive == one
        found[of_drive] = use[np.maximum(number[of_drive], number[of_drive & is_checked][0])]
    return found


def _light_shift(samples: Samples, use: np.ndarray) -> LightShift:
    """By right best matches on the map of the frames that `use` bool [M] names; by all of these where none is."""
    right = use & samples.on_map & samples.right[:, 0]
    chosen = right if right.any() else use
    return LightShift.fit(samples.features[chosen, 0, :IN_LIGHT], samples.light[chosen])


def _fit(samples: Samples, weight: np.ndarray, use: np.ndarray) -> tuple[MatchModel, MatchModel, ByLight | None]:
    """Models of the best match, of the others and of being off the map, from the frames that `use` bool [M] names."""
    features, right, weight = samples.features[use], samples.right[use], weight[use]
    best = fit_match_model(features[:, 0], right[:, 0], weight)
    width, rest = features.shape[-1], features.shape[1] - 1
    others = best
    if rest:
        each = np.repeat(weight, rest) / rest
        others = fit_match_model(features[:, 1:].reshape(-1, width), right[:, 1:].ravel(), each)
    off_map, beside = None, ~samples.on_map[use]
    if beside.sum() >= MIN_OFF_MAP:
        off_map = fit_by_light(features[:, 0], beside, weight, OFF_MAP_RAISES)
    return best, others, off_map


def _fit_checked(samples: Samples, weight: np.ndarray, use: np.ndarray) -> tuple[ByLight, ByLight]:
    """Models of the candidates that checks lead to, and of the others, from the frames that `use` bool [M] names."""
    features, right, chosen = samples.checked_features[use], samples.right[use], samples.chosen[use]
    of_chosen = samples.of_chosen(samples.checked_features)[use]
    best = fit_by_light(of_chosen, samples.right_chosen[use], weight[use], CHECKED_RAISES)
    rest = np.arange(features.shape[1])[None] != chosen[:, None]
    if not rest.any():
        return best, best
    each = np.broadcast_to(weight[use, None], rest.shape)[rest] / (features.shape[1] - 1)
    return best, fit_by_light(features[rest], right[rest], each, CHECKED_RAISES)


def _cross_validated(samples: Samples, judge: Callable[[np.ndarray], Judge]) -> tuple[np.ndarray, np.ndarray]:
    """[M] probability of each best match by a model that saw neither its block of the drive nor frames next to it.

    And bool [M], whether that model refuses it in any case. Where no frame is left to fit one to, nothing is probable.
    """
    probability, refused = np.zeros(len(samples.drive)), np.ones(len(samples.drive), bool)
    for fold in range(FOLDS):
        held_out = samples.fold == fold
        use = ~_widened(held_out, samples.drive)
        if held_out.any() and use.any():
            of_others = judge(use)
            probability[held_out], refused[held_out] = of_others(held_out)
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


def thresholds(
    probability: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None, group: np.ndarray | None = None
) -> tuple[Threshold, ...]:
    """For each of TARGETS the lowest probability that supports it, from best matches [M] and whether they were right.

    weight: float [M], what each counts; all alike by default. group: int [M], the drive of each, OFF_MAP for frames
    elsewhere; one drive by default.

    A cut supports a target where its precision reaches it with one wrong match more than was seen (without any wrong
    one, 99 % takes 99 frames and 99.9 % takes 999) and no group breaks it, see `_holds`. A stricter target never has a
    lower threshold, and none lies below `_least_ever`.
    """
    order = np.argsort(-probability, kind="stable")
    falling = probability[order]
    ends_a_tie = np.append(np.diff(falling) < 0, True)[: len(falling)]
    cuts = np.flatnonzero(ends_a_tie & (falling >= _least_ever(min(TARGETS))))
    if not len(cuts):
        return tuple(Threshold(target, None, 0, 0, 0.0, None) for target in TARGETS)
    counted = np.ones(len(order)) if weight is None else weight[order]
    of = np.zeros(len(order), np.int64) if group is None else group[order]
    wrong = ~right[order]
    accepted_weight, wrong_weight = np.cumsum(counted)[cuts], np.cumsum(counted * wrong)[cuts]
    precision = 1.0 - (wrong_weight + 1) / (accepted_weight + 1)
    found = []
    for target in TARGETS:
        supported = (precision >= target - 1e-12) & (falling[cuts] >= _least_ever(target))
        reached = np.flatnonzero(supported & _holds(wrong, of, cuts, target))
        at = int(reached[-1] if len(reached) else precision.argmax())
        least = float(falling[cuts[at]]) if len(reached) else None
        bound = lower_bound(float(accepted_weight[at]), float(wrong_weight[at]))
        found.append(Threshold(target, least, int(cuts[at]) + 1, int(wrong[: cuts[at] + 1].sum()), bound, least))
    return tuple(found)


def _least_ever(target: float) -> float:
    """The lowest threshold that a target may have, whatever was seen.

    Where no validation match is wrong nothing else bounds it from below: a match that is accepted at all may be wrong
    MOST_DOUBTFUL times as probably as accepted matches on the average, and none more probably than right.
    """
    return max(0.5, 1.0 - MOST_DOUBTFUL * (1.0 - target))


def _holds(wrong: np.ndarray, group: np.ndarray, cuts: np.ndarray, target: float) -> np.ndarray:
    """bool [C]: whether no group breaks a target at each cut, of matches bool [M] and int [M] in falling order.

    A drive breaks it where so many wrong of its accepted matches are less likely than LIKELY at the target's precision;
    frames elsewhere where so many accepted of all of them are, were each accepted as often as a match may be wrong.
    """
    holds = np.full(len(cuts), True)
    for one in np.unique(group):
        of_one = group == one
        false = np.cumsum(of_one & wrong)[cuts]
        of = of_one.sum() if one == OFF_MAP else np.cumsum(of_one)[cuts]
        holds &= (false == 0) | (binom.sf(false - 1, of, 1.0 - target) >= LIKELY)
    return holds


def lower_bound(accepted: float, wrong: float) -> float:
    """One-sided Clopper-Pearson bound of the precision of `accepted` matches with `wrong` errors, at CONFIDENCE."""
    right = accepted - wrong
    return float(beta.ppf(1.0 - CONFIDENCE, right, wrong + 1)) if right > 0 else 0.0
