"""Which match to believe: the right to refuse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_core.retrieval.calibration import Calibration, Judgement
from vpr_core.retrieval.check import SAME_PLACE_M, Check
from vpr_core.retrieval.evidence import Evidence, Layout, evidence_of
from vpr_core.retrieval.light import NO_LIGHT
from vpr_core.retrieval.look_alikes import LookAlikes
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose, Reason, Recognition


def judge(similarities: list[float], min_similarity: float) -> list[Reason]:
    """A reason for each candidate, given their similarities in falling order.

    Only the most similar place can be accepted, and only from `min_similarity` up.
    """
    best = Reason.ACCEPTED if similarities and similarities[0] >= min_similarity else Reason.BELOW_SIMILARITY
    rest = (Reason.NOT_BEST if value >= min_similarity else Reason.BELOW_SIMILARITY for value in similarities[1:])
    return [best, *rest][: len(similarities)]


def with_verification(recognition: Recognition, check: Check) -> Recognition:
    """A recognition whose candidates were checked: an accepted match is refused unless the check leads to its place."""
    best, found = recognition.accepted, check.T_map_base
    if best is None or (found and best.pose and are_near(found, best.pose)):
        return recognition
    first = Reason.AMBIGUOUS if check.is_ambiguous else Reason.NOT_VERIFIED
    matches = recognition.matches
    reasons = [first if one.accepted else one.reason for one in matches]
    told = zip(matches, _with_rivals(reasons, [one.place_id for one in matches], check), strict=True)
    return replace(recognition, matches=tuple(replace(one, reason=reason) for one, reason in told))


def _with_rivals(reasons: Sequence[Reason], place_ids: Sequence[int], check: Check) -> tuple[Reason, ...]:
    """Where the first candidate is ambiguous, so is each that fits when it is checked."""
    is_ambiguous = reasons[0] is Reason.AMBIGUOUS
    told = zip(reasons, place_ids, strict=True)
    return tuple(Reason.AMBIGUOUS if is_ambiguous and one in check.rivals else reason for reason, one in told)


def are_near(one: Pose, other: Pose) -> bool:
    """Whether two poses in one frame mean the same place."""
    return math.dist(one.position_m[:2], other.position_m[:2]) <= SAME_PLACE_M


@dataclass(frozen=True)
class CalibratedGate:
    """Judges candidates by the calibration that is stored with their map."""

    calibration: Calibration
    layout: Layout
    look_alikes: LookAlikes

    @classmethod
    def load(cls, folder: str | Path, places: PlaceMap) -> CalibratedGate | None:
        """Of a map that was read from `folder`; None where it is not calibrated. Raises MapError."""
        calibration = Calibration.load(folder, places.hash, places.model_hash)
        return None if calibration is None else cls(calibration, Layout.of(places.places), places.look_alikes)

    def judge(
        self,
        similarity: np.ndarray,
        rows: np.ndarray,
        target_precision: float | None,
        min_similarity: float,
        light: tuple[float, ...] = NO_LIGHT,
    ) -> tuple[np.ndarray, Judgement]:
        """The candidates int [K] and what calibration says of them.

        similarity: float [N] of the query to every place. rows: int [K], the candidates, the one to judge first.
        target_precision: None lets similarity alone decide who is accepted. min_similarity: below it none is.
        light: of the query's image, see `light`.
        Where the first is ambiguous and no candidate is its rival, the last of two or more makes room for the rival.
        """
        evidence = self._evidence(similarity, rows, light)
        judgement = self.calibration.judge(evidence, target_precision or 1.0)
        if target_precision is None:
            return rows, replace(judgement, reasons=tuple(judge(similarity[rows].tolist(), min_similarity)))
        if judgement.reasons[0] is Reason.AMBIGUOUS and len(rows) > 1 and Reason.AMBIGUOUS not in judgement.reasons[1:]:
            rows = np.append(rows[:-1], evidence.rival)
            judgement = self.calibration.judge(self._evidence(similarity, rows, light), target_precision)
        if judgement.reasons[0] is Reason.ACCEPTED and similarity[rows[0]] < min_similarity:
            judgement = replace(judgement, reasons=(Reason.BELOW_SIMILARITY, *judgement.reasons[1:]))
        return rows, judgement

    def has_checks(self, target_precision: float | None, light: tuple[float, ...] = NO_LIGHT) -> bool:
        """Whether checking candidates changes their probabilities at this target, in such light; None is no target."""
        known = float(self.calibration.light_shift.of(light)[1])
        return target_precision is not None and self.calibration.checked_threshold(target_precision, known) is not None

    def could_reach(
        self, similarity: np.ndarray, rows: np.ndarray, target_precision: float, light: tuple[float, ...] = NO_LIGHT
    ) -> bool:
        """Whether checking the candidates can lead to an accepted one; for a target that `has_checks`."""
        return self.calibration.could_reach(self._evidence(similarity, rows, light), target_precision)

    def judge_checked(
        self,
        similarity: np.ndarray,
        rows: np.ndarray,
        check: Check,
        target_precision: float,
        min_similarity: float,
        light: tuple[float, ...] = NO_LIGHT,
    ) -> Judgement:
        """What calibration says of the candidates once they were checked; for a target that `has_checks`."""
        assert self.layout.positions_m is not None
        support = check.support(self.layout.positions_m[rows])
        judgement = self.calibration.judge_checked(self._evidence(similarity, rows, light), support, target_precision)
        refused = similarity[rows] < min_similarity
        reasons = (Reason.BELOW_SIMILARITY if reason is Reason.ACCEPTED and low else reason
                   for reason, low in zip(judgement.reasons, refused, strict=True))  # fmt: skip
        return replace(judgement, reasons=_with_rivals(tuple(reasons), rows.tolist(), check))

    def _evidence(self, similarity: np.ndarray, rows: np.ndarray, light: tuple[float, ...]) -> Evidence:
        evidence = evidence_of(similarity, rows, self.layout, self.calibration.exclusion_m, light)
        return replace(evidence, is_look_alike=self.look_alikes.are(int(rows[0]), evidence.rival))
