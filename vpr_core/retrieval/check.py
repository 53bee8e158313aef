"""What checking a query's candidates against what their places store says of each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.data.poses import compose
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Pose

SAME_PLACE_M = 10.0
"""Poses so near mean the same place [m]: the radius within which a match counts as right."""
AGREE_M, AGREE_RAD = 2.0, math.radians(15.0)
"""Two checks that put the vehicle no farther apart than this say the same."""


@dataclass(frozen=True)
class Support:
    """What a check says of K candidates, in their order."""

    fit: np.ndarray
    """[K] score of the check where it leads to the candidate, 0 elsewhere."""
    against: np.ndarray
    """[K] its score where it leads to another place, 0 elsewhere."""
    chosen: int
    """The candidate to be judged: of those that it leads to the nearest, the first where it leads to none."""
    is_ambiguous: bool = False
    """Whether candidates fit, and none of them is the one."""

    @property
    def is_borne_out(self) -> bool:
        """Whether the check leads to the chosen candidate."""
        return bool(self.fit[self.chosen] > 0)

    @property
    def columns(self) -> np.ndarray:
        """float64 [K, 2]: fit, against."""
        return np.stack([self.fit, self.against], axis=1)


@dataclass(frozen=True)
class Check:
    """Where the check that was kept puts the vehicle, of one query."""

    T_map_base: Pose | None
    """None where every candidate was refused, or two fit equally well."""
    score: float = 0.0
    """The sum of the scores of all candidates whose check puts the vehicle there, above 0 where there is a pose.

    A wrong place fits now and then by chance; its neighbours along the road do not put the vehicle at the same pose."""
    rivals: frozenset[int] = frozenset()
    """The places that fit where none of them is the one."""

    @property
    def is_ambiguous(self) -> bool:
        """Whether candidates fit, and none of them is the one: that there is no pose then speaks against no place."""
        return bool(self.rivals)

    @classmethod
    def of(cls, verification: Verification[Any], place_map: PlaceMap) -> Check:
        """Of what checking the candidates against a map's places gave."""
        kept = verification.verified
        if kept is None:
            return cls(None, rivals=frozenset(verification.rivals))
        believed = ((place_map.places[place_id].pose, one) for place_id, one in verification.tried if one.accepted)
        scores = [
            one.score for pose, one in believed if pose and _agree(compose(pose, one.T_place_query), kept.T_map_base)
        ]
        return cls(kept.T_map_base, float(sum(scores)))

    def support(self, positions_m: np.ndarray) -> Support:
        """For candidates at positions [K, 2 or more] in the map's frame [m]."""
        none = np.zeros(len(positions_m))
        if self.T_map_base is None:
            return Support(none, none, 0, self.is_ambiguous)
        distance_m = np.linalg.norm(positions_m[:, :2] - np.asarray(self.T_map_base.position_m[:2]), axis=1)
        near = distance_m <= SAME_PLACE_M
        score = max(self.score, math.ulp(0.0))
        chosen = int(np.where(near, distance_m, np.inf).argmin()) if near.any() else 0
        return Support(np.where(near, score, 0.0), np.where(near, 0.0, score), chosen)


def _agree(one: Pose, other: Pose) -> bool:
    turn = math.remainder(one.yaw_rad - other.yaw_rad, 2 * math.pi)
    return math.dist(one.position_m[:2], other.position_m[:2]) <= AGREE_M and abs(turn) <= AGREE_RAD
