"""Probabilities from evidence: what a calibration consists of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.retrieval.evidence import Evidence
from vpr_core.retrieval.light import PRIOR_FRAMES

PLAIN = ("log_distance", "log_ratio", "margin", "agreement", "log_spread")
RAISES = (-1, -1, 1, 1, -1)
"""Whether a feature can only raise the probability or only lower it: evidence never works against its meaning."""
IN_LIGHT = 3
"""So many of PLAIN, the first, depend on the query's light: `LightShift` adds them as they are beside right matches in
such light, and how far such light is known."""
FEATURES = (*PLAIN, *(f"{name}_in_light" for name in PLAIN[:IN_LIGHT]), "light_known")
KNOWN = 15.0 / (15.0 + PRIOR_FRAMES)
"""From here up a light counts as known: 15 validation frames in such light, or more in lights near it, were right."""
LIGHT_KNOWN = FEATURES.index("light_known")
CHECKED_FEATURES = (*FEATURES, "fit", "against")
FIT = CHECKED_FEATURES.index("fit")
CHECKED_RAISES = (*RAISES, 1, -1)
OFF_MAP_RAISES = (1,)
"""Of the distance alone, as it is and in the query's light: rivals speak of ambiguity, not of being off the map."""
OWN = [FEATURES.index(name) for name in ("log_distance", "log_distance_in_light", "light_known")]
"""What a candidate shows whatever its rivals are."""
LOG_RATIO = FEATURES.index("log_ratio")


def columns(count: int) -> tuple[list[int], list[int]]:
    """Of CHECKED_FEATURES those of a model of `count` features: as they are, and as they are in the query's light."""
    plain = [*range(len(PLAIN)), *range(FIT, len(CHECKED_FEATURES))][:count]
    return plain, [number + len(PLAIN) if number < IN_LIGHT else number for number in plain]


def features_of(evidence: Evidence) -> np.ndarray:
    """float64 [K, 5], columns as PLAIN says."""
    spread = np.minimum(evidence.spread, 1e6)
    of_each = (_log(evidence.distance), _log(evidence.ratio), evidence.margin, evidence.agreement, np.log1p(spread))
    return np.stack(of_each, axis=1)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-3))


@dataclass(frozen=True)
class Logistic:
    """A probability from features: the logistic of a weighted sum of them, each standardised."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """features [..., F] to probabilities [...]."""
        logit = ((np.ascontiguousarray(features) - self.mean) / self.scale) @ np.asarray(self.weights) + self.bias
        return 0.5 * (1.0 + np.tanh(0.5 * logit))  # the logistic function, which does not overflow

    @classmethod
    def from_json(cls, entry: dict[str, Any], width: int) -> Logistic:
        """Of `width` features. Raises TypeError, ValueError and KeyError on anything else."""
        mean, scale, weights = (numbers(entry[name], width) for name in ("mean", "scale", "weights"))
        return cls(mean, scale, weights, float(entry["bias"]))


@dataclass(frozen=True)
class ByLight:
    """A probability by what right matches show in the query's light, as far as that light is known; else without it."""

    plain: Logistic
    in_light: Logistic

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """features [..., F], as FEATURES or CHECKED_FEATURES says, to probabilities [...]."""
        plain, in_light = columns(len(self.plain.weights))
        known = features[..., LIGHT_KNOWN]
        return known * self.in_light(features[..., in_light]) + (1.0 - known) * self.plain(features[..., plain])

    def cost(self, features: np.ndarray, typical: np.ndarray) -> np.ndarray:
        """[F] how much less the logit is for each of its features than if it were typical; both [9 or more]."""
        known = features[LIGHT_KNOWN]
        plain, in_light = (
            (typical[chosen] - features[chosen]) / model.scale * model.weights
            for model, chosen in zip((self.plain, self.in_light), columns(len(self.plain.weights)), strict=True)
        )
        return np.asarray(known * in_light + (1.0 - known) * plain)

    @classmethod
    def from_json(cls, entry: dict[str, Any], width: int) -> ByLight:
        """Of `width` features. Raises TypeError, ValueError and KeyError on anything else."""
        return cls(Logistic.from_json(entry["plain"], width), Logistic.from_json(entry["in_light"], width))


@dataclass(frozen=True)
class MatchModel:
    """The probability that a candidate is right, from FEATURES.

    A sum lets a small distance outweigh any rival; but of two places that look the same one is wrong, however alike the
    query is to both. So where the rival is closer than those of nearly all right matches were, the probability is at
    most the share of right ones among such matches, and the match is never accepted.
    """

    by_light: ByLight
    closest_rival: float
    """Log ratio beyond which a rival is that close."""
    at_most: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """features [..., 9] to probabilities [...]."""
        probability = self.by_light(features)
        return np.where(self.has_close_rival(features), np.minimum(probability, self.at_most), probability)

    def has_close_rival(self, features: np.ndarray) -> np.ndarray:
        """bool [...] of features [..., 9]."""
        return features[..., LOG_RATIO] > self.closest_rival

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> MatchModel:
        closest, at_most = numbers([entry["closest_rival"], entry["at_most"]], 2)
        return cls(ByLight.from_json(entry["by_light"], len(RAISES)), closest, at_most)


@dataclass(frozen=True)
class Threshold:
    """From which probability best matches are accepted for a target precision, and what speaks for it."""

    target: float
    probability: float | None
    """None where the validation frames are too few, or too many of them wrong, to support the target."""
    accepted: int
    """Validation frames from that probability up, in any light; without one, those of the cut that came nearest."""
    wrong: int
    lower_bound: float
    """Of the precision of frames weighted as in probabilities, one-sided, at 95 % confidence (Clopper and Pearson)."""
    in_unknown_light: float | None
    """The same for queries in a light in which too few validation frames were right, see KNOWN; never lower."""


def least_of(thresholds: Sequence[Threshold], target_precision: float, light_known: float) -> float | None:
    """The probability from which a match is accepted; None where the data does not support the target.

    light_known: how far the query's light is, in [0, 1].
    """
    entry = next((entry for entry in thresholds if entry.target >= target_precision - 1e-9), None)
    if entry is None:
        return None
    return entry.probability if light_known >= KNOWN else entry.in_unknown_light


@dataclass(frozen=True)
class CheckedModel:
    """The probability that a candidate is right once the candidates were checked, from CHECKED_FEATURES.

    Rivals need no rule of their own here: a check that fits two places says so, and gives no pose.
    """

    best: ByLight
    """For the candidate that the check leads to, or the first."""
    others: ByLight
    best_fit: float
    """The best fit that a validation frame had: nothing better is hoped for of a candidate before it is checked."""
    thresholds: tuple[Threshold, ...]

    def __call__(self, features: np.ndarray, chosen: int) -> np.ndarray:
        """features [K, 11] to probabilities [K]; chosen: the candidate that the check leads to, or the first."""
        probability = self.others(features)
        probability[chosen] = self.best(features[chosen])
        return probability

    def could_reach(self, features: np.ndarray, least: float) -> bool:
        """Whether one of the candidates with features [K, 9] would be accepted if the best of checks led to it."""
        hoped = np.tile([self.best_fit, 0.0], (len(features), 1))
        return bool((self.best(np.hstack([features, hoped])) >= least).any())

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> CheckedModel:
        best, others = (ByLight.from_json(entry[name], len(CHECKED_RAISES)) for name in ("best", "others"))
        (best_fit,) = numbers([entry["best_fit"]], 1)
        return cls(best, others, best_fit, tuple(Threshold(**one) for one in entry["thresholds"]))


def numbers(values: Sequence[Any], width: int) -> tuple[float, ...]:
    """So many finite numbers. Raises ValueError and TypeError on anything else."""
    found = tuple(map(float, values))
    if len(found) != width or not all(map(math.isfinite, found)):
        raise ValueError(f"expected {width} finite numbers, got {values}")
    return found
