"""The probability that a match is right, stored with the map that it was fitted for: calibration.json in its folder.

`calibrating` fits it to validation drives. Of a query it gives each candidate a probability, the probability that the
map has no place for the query, and, for a target precision, whether to accept and why not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import MapError
from vpr_core.files import read_manifest, write_json
from vpr_core.retrieval.check import Support
from vpr_core.retrieval.evidence import Evidence
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import (
    CHECKED_FEATURES,
    FEATURES,
    FIT,
    IN_LIGHT,
    LIGHT_KNOWN,
    LOG_RATIO,
    OFF_MAP_RAISES,
    OWN,
    ByLight,
    CheckedModel,
    MatchModel,
    Threshold,
    features_of,
    least_of,
    numbers,
)
from vpr_core.types import Reason

SCHEMA = 3
FILE = "calibration.json"
MADE_BY = "vpr-distill calibrate"
KEYS = (
    "map_hash", "model_hash", "radius_m", "exclusion_m", "off_map_share", "light_shift", "best", "others", "off_map",
    "typical", "thresholds", "checked",
)  # fmt: skip
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Precisions for which a threshold is looked for; one between two of them is judged by the next stricter."""
DEFAULT_TARGET = 0.99
_WELL = 0.9


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
    light_shift: LightShift
    """The models take features as it gives them."""
    best: MatchModel
    """For the first candidate."""
    others: MatchModel
    """For those after it."""
    off_map: ByLight | None
    typical: tuple[float, ...]
    """[9] median features of right best matches."""
    thresholds: tuple[Threshold, ...]
    checked: CheckedModel | None = None
    """For candidates that were checked; None where the validation drives were not."""

    def threshold(self, target_precision: float, light_known: float = 1.0) -> float | None:
        """The probability from which a best match is accepted; None where the data does not support the target.

        light_known: how far the query's light is, in [0, 1].
        """
        return least_of(self.thresholds, target_precision, light_known)

    def checked_threshold(self, target_precision: float, light_known: float = 1.0) -> float | None:
        """The same of a match whose candidates were checked; None also where it was calibrated without checks."""
        return None if self.checked is None else least_of(self.checked.thresholds, target_precision, light_known)

    def accepts(self, features: np.ndarray, target_precision: float) -> np.ndarray:
        """bool [M]: whether best matches with features [M, 9] are accepted."""
        least = _each(features, lambda known: self.threshold(target_precision, known))
        return (self.best(features) >= least) & ~self.best.has_close_rival(features)

    def accepts_checked(self, features: np.ndarray, target_precision: float) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities [M] and bool [M]: whether candidates that were chosen by checks are accepted.

        features: float64 [M, 11] as CHECKED_FEATURES says. Only for a calibration that knows checks.
        """
        assert self.checked is not None
        probability = self.checked.best(features)
        least = _each(features, lambda known: self.checked_threshold(target_precision, known))
        return probability, (probability >= least) & (features[:, FIT] > 0)

    def judge(self, evidence: Evidence, target_precision: float) -> Judgement:
        """Probabilities of the candidates, and who is accepted: the first or nobody. docs/trust.md explains it."""
        features = self.light_shift(features_of(evidence), evidence.light)
        least = self.threshold(target_precision, features[0, LIGHT_KNOWN])
        probabilities = np.append(self.best(features[:1]), self.others(features[1:]))
        off_map = None if self.off_map is None else float(self.off_map(features[0]))
        if self.accepts(features[:1], target_precision)[0]:
            first = Reason.ACCEPTED
        else:
            first = self._why_not(features[0], off_map, least, evidence.is_look_alike)
        usual_ratio = math.exp(self.typical[LOG_RATIO])
        close = evidence.elsewhere & (evidence.distance[0] >= usual_ratio * evidence.distance)
        close |= evidence.is_look_alike & (evidence.rows == evidence.rival)
        rest = [
            _other_reason(first, bool(close[k]), least is not None and float(probabilities[k]) >= least)
            for k in range(1, len(probabilities))
        ]
        return Judgement(tuple(map(float, probabilities)), (first, *rest), off_map)

    def judge_checked(self, evidence: Evidence, support: Support, target_precision: float) -> Judgement:
        """The same once the candidates were checked: the one that the check leads to is accepted, or nobody.

        Only for a target that has a `checked_threshold` in the query's light.
        """
        plain = self.judge(evidence, target_precision)
        features = self.light_shift(features_of(evidence), evidence.light)
        least = self.checked_threshold(target_precision, features[0, LIGHT_KNOWN])
        assert self.checked is not None and least is not None
        found = self.checked(np.hstack([features, support.columns]), support.chosen)
        reasons = [Reason.NOT_BEST if one >= least else Reason.BELOW_TARGET for one in found]
        if support.is_borne_out and found[support.chosen] >= least:
            reasons[support.chosen] = Reason.ACCEPTED
        else:
            reasons[0] = Reason.BELOW_TARGET if support.is_borne_out else Reason.NOT_VERIFIED
            reasons[0] = Reason.AMBIGUOUS if support.is_ambiguous else reasons[0]
            kept = (Reason.OFF_MAP, Reason.AMBIGUOUS)
            reasons = [was if was in kept else now for was, now in zip(plain.reasons, reasons, strict=True)]
        return replace(plain, probabilities=tuple(found.tolist()), reasons=tuple(reasons))

    def could_reach(self, evidence: Evidence, target_precision: float) -> bool:
        """Whether `judge_checked` would accept one of the candidates if the best of checks led to it."""
        features = self.light_shift(features_of(evidence), evidence.light)
        least = self.checked_threshold(target_precision, features[0, LIGHT_KNOWN])
        assert self.checked is not None and least is not None
        return self.checked.could_reach(features, least)

    def _why_not(self, features: np.ndarray, off_map: float | None, least: float | None, is_look_alike: bool) -> Reason:
        if least is not None and off_map is not None and off_map >= 0.5:
            return Reason.OFF_MAP
        if is_look_alike or (least is not None and self._fails_for_its_rivals(features, least)):
            return Reason.AMBIGUOUS
        return Reason.BELOW_TARGET

    def _fails_for_its_rivals(self, features: np.ndarray, least: float) -> bool:
        """Whether its rivals cost a candidate more than its own distance does, and it would do well without them."""
        if self.best.has_close_rival(features):
            return True
        without = np.array(self.typical)
        cost = self.best.by_light.cost(features, without)
        without[OWN] = features[OWN]
        return bool(cost[1:].sum() > max(cost[0], 0.0)) and float(self.best(without)) >= min(least, _WELL)

    def save(self, folder: str | Path, report: dict[str, Any]) -> Path:
        """Write it into the map's folder; report: further figures for the reader, such as the reliability diagram."""
        path = Path(folder) / FILE
        write_json(path, {"schema": SCHEMA, **asdict(self), "features": CHECKED_FEATURES, "report": report})
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
        fitted = {name: MatchModel.from_json(manifest[name]) for name in ("best", "others")}
        off_map, checked = manifest["off_map"], manifest["checked"]
        return cls(
            map_hash=manifest["map_hash"],
            model_hash=manifest["model_hash"],
            radius_m=float(manifest["radius_m"]),
            exclusion_m=float(manifest["exclusion_m"]),
            off_map_share=float(manifest["off_map_share"]),
            light_shift=LightShift.from_json(manifest["light_shift"], IN_LIGHT),
            off_map=None if off_map is None else ByLight.from_json(off_map, len(OFF_MAP_RAISES)),
            typical=numbers(manifest["typical"], len(FEATURES)),
            thresholds=tuple(Threshold(**entry) for entry in manifest["thresholds"]),
            checked=None if checked is None else CheckedModel.from_json(checked),
            **fitted,
        )


def _each(features: np.ndarray, threshold: Callable[[float], float | None]) -> np.ndarray:
    """float64 [M], the threshold of each of features [M, F] by how far its light is known; above 1 without one."""
    found = (threshold(known) for known in features[:, LIGHT_KNOWN])
    return np.array([2.0 if one is None else one for one in found])


def _other_reason(first: Reason, is_rival: bool, is_probable: bool) -> Reason:
    if first is Reason.OFF_MAP or (first is Reason.AMBIGUOUS and is_rival):
        return first
    return Reason.NOT_BEST if is_probable else Reason.BELOW_TARGET
