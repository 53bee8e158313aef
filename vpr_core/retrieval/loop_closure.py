"""Loop closures: places of the robot's own past that it sees again, while it drives. No map is needed.

For every `keyframe_m` of odometry a frame is asked about and then kept as a place: a robot that stands closes no loop
and adds no place. What it passed a moment ago looks like what it sees now, and is not searched; nor is what lies
farther away than odometry can have drifted.

No calibration is possible here: its thresholds are fitted to one map, and this one grows. A closure is accepted from a
similarity up, where those before agree with it along odometry (docs/loop_closure.md has figures).
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.errors import InputError
from vpr_core.preprocess import check_aspect, check_image
from vpr_core.retrieval.agreement import AgreementGate
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.gate import SAME_PLACE_M, judge
from vpr_core.retrieval.own_past import MIB, OwnPast
from vpr_core.retrieval.recognizer import DEFAULT_TOP_K
from vpr_core.retrieval.records import recognition_to_record
from vpr_core.types import Match, Pose, Reason, Recognition


@dataclass(frozen=True)
class LoopOptions:
    """What is kept, what is searched, and from where a closure is believed."""

    keyframe_m: float = 2.0
    """Distance from a place to the next [m]."""
    exclude_m: float = 50.0
    """Places passed within so many metres of the way are not searched. Scan Context leaves out 50 scans, about a metre
    apart; 50 m also lie well beyond the 10 m within which two poses mean the same place."""
    exclude_s: float = 10.0
    """Nor are those of so many seconds: RTAB-Map's short-term memory holds 10 nodes at one a second. Both must have
    passed, so wheels that spin do not make the present the past. LIO-SAM waits 30 s, which a fast vehicle may want."""
    max_drift: float = 0.1
    """How far odometry may be off, as a share of the way [m/m]. A place that would need more is not searched: most
    places that look alike lie farther away. Wheels drift by 1 to 10 %, vision and LiDAR by less. 1.0 and more search
    everything."""
    agreement_needed: int = 3
    agreement_of: int = 5
    """So many of the last so many queries have to find the same place once the way between them is taken out, as in
    `AgreementGate`; one look alone closes no loop. 1 believes single queries."""
    top_k: int = DEFAULT_TOP_K
    min_similarity: float | None = None
    """A closure is accepted from here up; None takes the threshold stored in the bundle."""
    memory_mib: float = 256.0
    """What descriptors and places may take; where it is full, the older half is thinned (see `OwnPast`)."""

    def check(self) -> None:
        """Raises InputError where a value cannot work."""
        if not 0.1 <= self.keyframe_m < math.inf:
            raise InputError(f"keyframe_m is {self.keyframe_m:g}, expected 0.1 m or more: odometry trembles by less")
        for name in ("exclude_m", "exclude_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name):g}, expected 0 or more")
        if not (self.exclude_m or self.exclude_s):
            raise InputError(
                "exclude_m and exclude_s are both 0, so every frame would be recognised as the one before it: set one"
            )
        if not 0.0 <= self.max_drift < math.inf:
            raise InputError(f"max_drift is {self.max_drift:g}, expected 0 or more, as a share of the way")
        if self.top_k < 1:
            raise InputError(f"top_k is {self.top_k}, expected 1 or more places")
        if not 0.0 < self.memory_mib < math.inf:
            raise InputError(f"memory_mib is {self.memory_mib:g}, expected more than 0")


@dataclass(frozen=True)
class LoopAnswer:
    """What asking about one frame gave; the frame is a place now."""

    place_id: int
    """Its number among the places of this drive."""
    pose: Pose | None
    """T_odom_base at its stamp; None without odometry."""
    recognition: Recognition
    """No matches where nothing was old enough. A match's pose is T_odom_base at that place; None where odometry broke
    in between, whose poses before and after do not belong together. Place numbers are those of the drive, from 0."""
    agrees: bool
    """Whether the queries before bear the best match out."""
    searched: int
    recent: int
    """Places left out since they were passed a moment ago."""
    unreachable: int
    """Places left out since odometry cannot have drifted so far."""

    def record(self, model_hash: str, processing_ms: float | None = None) -> dict[str, Any]:
        """As `records` has it, with the query's number and position and how many places were searched."""
        found = recognition_to_record(self.recognition, map_hash="", model_hash=model_hash, processing_ms=processing_ms)
        position = list(self.pose.position_m) if self.pose else None
        beside = {"agrees": self.agrees, "searched": self.searched, "recent": self.recent}
        return {**found, "place_id": self.place_id, "position": position, **beside, "unreachable": self.unreachable}


class LoopCloser:
    """A model, and the places that were passed so far. `wants` and `begin_session` may be called by other threads.

    Raises InputError where the options cannot work, and where neither they nor the bundle say from which similarity a
    closure is to be believed.
    """

    def __init__(self, bundle: Bundle, options: LoopOptions | None = None) -> None:
        self.bundle, self.options = bundle, options or LoopOptions()
        self.options.check()
        given, stored = self.options.min_similarity, bundle.accept_similarity
        if given is None and stored is None:
            raise InputError(
                "the bundle brings no threshold, and the past has no calibration: set min_similarity, below which no "
                "closure is accepted"
            )
        self.threshold = float(stored or 0.0) if given is None else given
        """Similarity from which a closure is accepted."""
        self._agreement = AgreementGate(
            self.options.agreement_needed, self.options.agreement_of, any_heading=bundle.modality == "lidar"
        )
        self.past = OwnPast(bundle.dim, int(self.options.memory_mib * MIB))
        self.session = 1
        self.closures = 0
        """Accepted so far."""
        self._image_size: tuple[int, int] | None = None
        self._last: tuple[int, Pose | None] | None = None
        """Stamp and pose of the last place of this session."""
        self._metres = 0.0
        self._lock = threading.Lock()

    def wants(self, pose: Pose | None) -> bool:
        """Whether a frame at `pose` is far enough from the last place; without odometry each is."""
        last = self._last
        return last is None or pose is None or last[1] is None or _way_m(last[1], pose) >= self.options.keyframe_m

    def begin_session(self) -> None:
        """Odometry goes on elsewhere: places from before are still found, without a pose."""
        with self._lock:
            self.session, self._last = self.session + 1, None
            self._agreement.clear()

    def add(
        self, observation: np.ndarray, stamp_ns: int, pose: Pose | None, *, session: int | None = None,
        top_k: int | None = None,
    ) -> LoopAnswer | None:  # fmt: skip
        """Ask whether this frame shows a place of the past, and keep it as one.

        observation: an RGB uint8 image [H, W, 3], or a cloud [N, 3 or more], as the bundle's modality is.
        pose: T_odom_base; None in a drive without odometry, where `exclude_s` alone counts.
        session: the one that the pose belongs to; None is the present one. top_k: None as the options say.
        None where it is too near to the last place, or another session began meanwhile. Raises InputError where the
        frame cannot be described, and where its stamp is not after that of the last place.
        """
        if pose is None and not self.options.exclude_s:
            raise InputError("there is no odometry and exclude_s is 0, so nothing is left out: set exclude_s")
        session = self.session if session is None else session
        if session != self.session or not self.wants(pose):
            return None
        descriptor = self._describe(observation, stamp_ns)
        with self._lock:
            if session != self.session:
                return None
            metres = self._metres + (_way_m(self._last[1], pose) if self._last else 0.0)
            answer = self._ask(descriptor, stamp_ns, pose, metres, self.options.top_k if top_k is None else top_k)
            self.past.keep(descriptor, stamp_ns, session, metres, pose)
            self._last, self._metres = (stamp_ns, pose), metres
            self.closures += answer.recognition.accepted is not None
        return answer

    def _describe(self, observation: np.ndarray, stamp_ns: int) -> np.ndarray:
        if self._last is not None and stamp_ns <= self._last[0]:
            raise InputError(
                f"its stamp {stamp_ns} ns is not after that of the last place, {self._last[0]} ns", "stamp"
            )
        if self.bundle.modality == "camera":
            check_image(observation)
            if self._image_size:
                check_aspect(observation, *self._image_size)
        descriptor = self.bundle.encode([observation])[0]
        self._image_size = self._image_size or (observation.shape[1], observation.shape[0])
        return descriptor

    def _ask(self, descriptor: np.ndarray, stamp_ns: int, pose: Pose | None, metres: float, top_k: int) -> LoopAnswer:
        options, past = self.options, self.past
        before_m = metres - options.exclude_m if pose else metres
        old = past.older(self.session, before_m, stamp_ns - round(options.exclude_s * 1e9))
        chosen = np.ones(old, bool)
        if pose and options.max_drift < 1.0:
            chosen = past.reachable(old, self.session, pose, metres, SAME_PLACE_M, options.max_drift)
        similarity, rows = past.search(descriptor, chosen, top_k)
        agrees = self._agrees(past[int(rows[0])].pose if len(rows) else None, pose)
        reasons = judge(similarity.tolist(), self.threshold)
        if reasons and reasons[0] is Reason.ACCEPTED and not agrees:
            reasons[0] = Reason.NOT_VERIFIED
        told = zip(rows.tolist(), similarity.tolist(), reasons, strict=True)
        matches = tuple(self._match(*of_one) for of_one in told)
        recognition = Recognition(stamp_ns, matches, descriptor)
        searched = int(chosen.sum())
        return LoopAnswer(past.kept, pose, recognition, agrees, searched, len(past) - old, old - searched)

    def _agrees(self, place: Pose | None, pose: Pose | None) -> bool:
        """Without odometry every query is believed by itself."""
        return self._agreement.add(place, pose) if pose else True

    def _match(self, row: int, similarity: float, reason: Reason) -> Match:
        place = self.past[row]
        pose = place.pose if place.session == self.session else None
        return Match(place.place_id, str(place.session), place.stamp_ns, pose, similarity, reason)


def _way_m(last: Pose | None, pose: Pose | None) -> float:
    """Between two places; 0 where odometry does not tell."""
    return math.dist(last.position_m, pose.position_m) if last and pose else 0.0
