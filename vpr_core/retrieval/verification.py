"""Candidates of a recognition that were checked: which one puts the vehicle where, and whether to believe it.

Every candidate is tried, whatever its similarity: the best one is kept, not the first and not the last. Two that fit
equally well and mean different poses make the answer ambiguous, which is a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.data.poses import compose
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.rigid import are_apart, matrix_of
from vpr_core.types import Pose, Recognition


class Verifier(Protocol):
    """What checks the candidates of a recognition."""

    def verify(
        self, observation: np.ndarray, recognition: Recognition, T_base_sensor: Pose | None = None, /
    ) -> Verification:
        """observation: the image or the cloud that was recognised. T_base_sensor: where its sensor was; None where the
        map's was. Raises InputError where it is none."""


class Attempt(Protocol):
    """What checking one candidate gave, by clouds or by images."""

    @property
    def T_place_query(self) -> Pose:
        """From the query's vehicle frame to the place's."""

    @property
    def covariance(self) -> np.ndarray:
        """[6, 6] of x, y, z [m] and rotations about x, y, z [rad], along the place's axes."""

    @property
    def score(self) -> float:
        """What decides between two attempts."""

    @property
    def accepted(self) -> bool: ...

    @property
    def is_ambiguous(self) -> bool:
        """Whether it fits, and fits elsewhere about as well."""

    @property
    def reason(self) -> str:
        """The verdict with figures, for a log."""


A = TypeVar("A", bound=Attempt)


@dataclass(frozen=True)
class Verified(Generic[A]):
    """Where the vehicle is, in the map, by one place."""

    place_id: int
    T_map_base: Pose
    """At `stamp_ns`."""
    stamp_ns: int
    """Of an image its stamp, of a cloud that of the sweep's middle."""
    covariance: np.ndarray
    """[6, 6] of x, y, z [m] and rotations about x, y, z [rad], in this order, in the map's frame and about its axes.
    Of the check alone: how well the map's poses are known is not in it."""
    registration: A


@dataclass(frozen=True)
class Verification(Generic[A]):
    """What checking the candidates of one recognition gave."""

    verified: Verified[A] | None
    """None: NOT_VERIFIED, for `reason`."""
    reason: str
    tried: tuple[tuple[int, A], ...]
    """Each candidate's place and what checking it gave, in the order of the recognition."""

    @property
    def rivals(self) -> tuple[int, ...]:
        """The places that fit where none of them is the one; one alone where that fits at two poses."""
        if self.verified is not None:
            return ()
        return tuple(place_id for place_id, one in self.tried if one.accepted or one.is_ambiguous)


def decide(
    place_map: PlaceMap, tried: tuple[tuple[int, A], ...], stamp_ns: int, rival_margin: float
) -> Verification[A]:
    """The best of the accepted candidates.

    rival_margin: another that means another pose and scores less by this share at most makes the answer ambiguous.
    """
    found = [_verified(place_map, place_id, one, stamp_ns) for place_id, one in tried if one.accepted]
    found.sort(key=lambda one: one.registration.score, reverse=True)
    if not found:
        return Verification(None, _why_none(tried), tried)
    best, *others = found
    if rival := next((other for other in others if _contradicts(best, other, rival_margin)), None):
        return Verification(None, f"ambiguous: {_named(best)} and {_named(rival)} both fit", tried)
    return Verification(best, best.registration.reason, tried)


def _verified(place_map: PlaceMap, place_id: int, found: A, stamp_ns: int) -> Verified[A]:
    T_map_place = place_map.places[place_id].pose
    assert T_map_place is not None
    spread = turned(found.covariance, T_map_place)
    return Verified(place_id, compose(T_map_place, found.T_place_query), stamp_ns, spread, found)


def turned(covariance: np.ndarray, T_map_place: Pose) -> np.ndarray:
    """A covariance [6, 6] along the place's axes along the map's."""
    rotation = Rotation.from_quat(T_map_place.quaternion_xyzw).as_matrix()
    both = np.kron(np.eye(2), rotation)
    return np.asarray(both @ covariance @ both.T)


def _contradicts(best: Verified[A], other: Verified[A], rival_margin: float) -> bool:
    """Whether the other fits about as well and means another pose."""
    score = best.registration.score
    near = other.registration.score >= score - rival_margin * abs(score)
    return near and are_apart(matrix_of(best.T_map_base), matrix_of(other.T_map_base))


def _why_none(tried: Sequence[tuple[int, A]]) -> str:
    """The words of the candidate that came nearest."""
    if not tried:
        return "no candidate"
    place_id, best = max(tried, key=lambda one: one[1].score)
    return f"none of {len(tried)} candidates fits; the nearest, place {place_id}: {best.reason}"


def _named(verified: Verified[A]) -> str:
    x, y, _ = verified.T_map_base.position_m
    return f"place {verified.place_id} (pose {x:.1f}, {y:.1f} m, score {verified.registration.score:.2f})"
