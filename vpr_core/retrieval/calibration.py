"""The probability that a match is right, stored with the map that it was fitted for: calibration.json in its folder.

`calibrating` fits it to validation drives. Of a query it gives each candidate a probability, the probability that the
map has no place for the query, and, for a target precision, whether to accept and why not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import MapError
from vpr_core.files import read_manifest, write_json
from vpr_core.retrieval.evidence import Evidence
from vpr_core.types import Reason

SCHEMA = 1
FILE = "calibration.json"
MADE_BY = "vpr-distill calibrate"
KEYS = (
    "map_hash", "model_hash", "radius_m", "exclusion_m", "off_map_share", "best", "others", "off_map", "typical",
    "thresholds",
)  # fmt: skip
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Precisions for which a threshold is looked for; one between two of them is judged by the next stricter."""
DEFAULT_TARGET = 0.99
FEATURES = ("log_distance", "log_ratio", "margin", "agreement", "log_spread")
RAISES = (-1, -1, 1, 1, -1)
"""Whether a feature can only raise the probability or only lower it: evidence never works against its meaning."""
OFF_MAP_FEATURES = ("log_distance",)
OFF_MAP_RAISES = (1,)
_WELL = 0.9


def features_of(evidence: Evidence) -> np.ndarray:
    """float64 [K, 5], columns as FEATURES says."""
    spread = np.minimum(evidence.spread, 1e6)
    columns = (_log(evidence.distance), _log(evidence.ratio), evidence.margin, evidence.agreement, np.log1p(spread))
    return np.stack(columns, axis=1)


def off_map_features_of(evidence: Evidence) -> np.ndarray:
    """float64 [K, 1], columns as OFF_MAP_FEATURES says: rivals speak of ambiguity, not of being off the map."""
    return _log(evidence.distance)[:, None]


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
        logit = ((features - self.mean) / self.scale) @ np.asarray(self.weights) + self.bias
        return 0.5 * (1.0 + np.tanh(0.5 * logit))  # the logistic function, which does not overflow


@dataclass(frozen=True)
class MatchModel:
    """The probability that a candidate is right, from FEATURES.

    A sum lets a small distance outweigh any rival; but of two places that look the same one is wrong, however alike the
    query is to both. So where the rival is closer than those of nearly all right matches were, the probability is at
    most the share of right ones among such matches, and the match is never accepted.
    """

    logistic: Logistic
    closest_rival: float
    """Log ratio beyond which a rival is that close."""
    at_most: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """features [..., 5] to probabilities [...]."""
        probability = self.logistic(features)
        return np.where(self.has_close_rival(features), np.minimum(probability, self.at_most), probability)

    def has_close_rival(self, features: np.ndarray) -> np.ndarray:
        """bool [...] of features [..., 5]."""
        return features[..., 1] > self.closest_rival


@dataclass(frozen=True)
class Threshold:
    """From which probability best matches are accepted for a target precision, and what speaks for it."""

    target: float
    probability: float | None
    """None where the validation frames are too few, or too many of them wrong, to support the target."""
    accepted: int
    """Validation frames from that probability up; without one, those of the cut that came nearest."""
    wrong: int
    lower_bound: float
    """Of the precision of frames weighted as in probabilities, one-sided, at 95 % confidence (Clopper and Pearson)."""


@dataclass(frozen=True)
class Judgement:
    """What calibration says of one query's K candidates, in their order."""

    probabilities: tuple[float, ...]
    reasons: tuple[Reason, ...]
    off_map_probability: float | None
    """That the map has no place for the query; None where no validation frame was off the map."""


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration. Probabilities are those of a robot that is off the map `off_map_share` of its time."""

    map_hash: str
    model_hash: str
    radius_m: float
    """A match within this distance was right."""
    exclusion_m: float
    """Places within this distance of a candidate are no rivals of it."""
    off_map_share: float
    best: MatchModel
    """For the first candidate."""
    others: MatchModel
    """For those after it."""
    off_map: Logistic | None
    typical: tuple[float, ...]
    """[5] median features of right best matches."""
    thresholds: tuple[Threshold, ...]

    def threshold(self, target_precision: float) -> float | None:
        """The probability from which a best match is accepted; None where the data does not support the target."""
        stricter = (entry for entry in self.thresholds if entry.target >= target_precision - 1e-9)
        entry = next(stricter, None)
        return entry.probability if entry else None

    def accepts(self, features: np.ndarray, target_precision: float) -> np.ndarray:
        """bool [M]: whether best matches with features [M, 5] are accepted."""
        least = self.threshold(target_precision)
        if least is None:
            return np.zeros(len(features), bool)
        return (self.best(features) >= least) & ~self.best.has_close_rival(features)

    def judge(self, evidence: Evidence, target_precision: float) -> Judgement:
        """Probabilities of the candidates, and who is accepted: the first or nobody. docs/trust.md explains it."""
        features, least = features_of(evidence), self.threshold(target_precision)
        probabilities = np.append(self.best(features[:1]), self.others(features[1:]))
        off_map = None if self.off_map is None else float(self.off_map(off_map_features_of(evidence)[0]))
        if self.accepts(features[:1], target_precision)[0]:
            first = Reason.ACCEPTED
        else:
            first = self._why_not(features[0], off_map, least)
        close = evidence.elsewhere & (evidence.distance[0] >= math.exp(self.typical[1]) * evidence.distance)
        rest = [
            _other_reason(first, bool(close[k]), least is not None and float(probabilities[k]) >= least)
            for k in range(1, len(probabilities))
        ]
        return Judgement(tuple(map(float, probabilities)), (first, *rest), off_map)

    def _why_not(self, features: np.ndarray, off_map: float | None, least: float | None) -> Reason:
        if least is None:
            return Reason.BELOW_TARGET
        if off_map is not None and off_map >= 0.5:
            return Reason.OFF_MAP
        return Reason.AMBIGUOUS if self._fails_for_its_rivals(features, least) else Reason.BELOW_TARGET

    def _fails_for_its_rivals(self, features: np.ndarray, least: float) -> bool:
        """Whether its rivals cost a candidate more than its own distance does, and it would do well without them."""
        if self.best.has_close_rival(features):
            return True
        without, model = np.append(features[:1], self.typical[1:]), self.best.logistic
        cost = (np.asarray(self.typical) - features) / model.scale * model.weights
        return bool(cost[1:].sum() > max(cost[0], 0.0)) and float(self.best(without)) >= min(least, _WELL)

    def save(self, folder: str | Path, report: dict[str, Any]) -> Path:
        """Write it into the map's folder; report: further figures for the reader, such as the reliability diagram."""
        path = Path(folder) / FILE
        write_json(path, {"schema": SCHEMA, **asdict(self), "features": FEATURES, "report": report})
        return path

    @classmethod
    def load(cls, folder: str | Path, map_hash: str, model_hash: str) -> Calibration | None:
        """The calibration in a map's folder; None where there is none.

        Raises MapError where it is damaged, or was made for another map or model than the given.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        manifest = read_manifest(Path(folder), FILE, SCHEMA, MapError, MADE_BY, KEYS)
        for name, expected in (("map", map_hash), ("model", model_hash)):
            if (came := manifest[f"{name}_hash"]) != expected:
                raise MapError(
                    f"{path} was made for {name} {came}, expected {expected}: calibrate again with `{MADE_BY}`, or "
                    "delete the file to accept by similarity"
                )
        try:
            return cls._from_json(manifest)
        except (TypeError, ValueError, KeyError) as error:
            raise MapError(f"{path} does not parse ({error}); make it again with `{MADE_BY}`") from error

    @classmethod
    def _from_json(cls, manifest: dict[str, Any]) -> Calibration:
        fitted = {name: _match_model(manifest[name]) for name in ("best", "others")}
        off_map = manifest["off_map"]
        return cls(
            map_hash=manifest["map_hash"],
            model_hash=manifest["model_hash"],
            radius_m=float(manifest["radius_m"]),
            exclusion_m=float(manifest["exclusion_m"]),
            off_map_share=float(manifest["off_map_share"]),
            off_map=None if off_map is None else _logistic(off_map, len(OFF_MAP_FEATURES)),
            typical=_numbers(manifest["typical"], len(FEATURES)),
            thresholds=tuple(Threshold(**entry) for entry in manifest["thresholds"]),
            **fitted,
        )


def _other_reason(first: Reason, is_rival: bool, is_probable: bool) -> Reason:
    if first is Reason.OFF_MAP or (first is Reason.AMBIGUOUS and is_rival):
        return first
    return Reason.NOT_BEST if is_probable else Reason.BELOW_TARGET


def _match_model(entry: dict[str, Any]) -> MatchModel:
    closest, at_most = _numbers([entry["closest_rival"], entry["at_most"]], 2)
    return MatchModel(_logistic(entry["logistic"], len(FEATURES)), closest, at_most)


def _logistic(entry: dict[str, Any], width: int) -> Logistic:
    mean, scale, weights = (_numbers(entry[name], width) for name in ("mean", "scale", "weights"))
    return Logistic(mean, scale, weights, float(entry["bias"]))


def _numbers(values: Sequence[Any], width: int) -> tuple[float, ...]:
    numbers = tuple(map(float, values))
    if len(numbers) != width or not all(map(math.isfinite, numbers)):
        raise ValueError(f"expected {width} finite numbers, got {values}")
    return numbers
