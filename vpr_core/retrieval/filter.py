"""A discrete Bayes filter over the places of a map and one state off it, with odometry as its motion model.

Each step keeps of the belief in places what odometry explains, puts a little anywhere (a robot that was carried), moves
the rest off the map, and then weighs every place by what the sensor sees. A step is taken where the vehicle has moved:
a standing vehicle sees the same again, and learns nothing.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np

from vpr_core.errors import InputError, VprError
from vpr_core.retrieval.calibration import DEFAULT_TARGET
from vpr_core.retrieval.check import SAME_PLACE_M, Check
from vpr_core.retrieval.motion import Motion, MotionModel, PlaceGraph
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose

AGAINST = 3.0
"""A belief is not accepted while the look speaks for a place elsewhere by so much more [nats]."""
_MAX_SPEED_MPS = 50.0
_JUMP_M = 5.0
_HEADING_RAD = math.pi / 4


class FilterReason(enum.Enum):
    """Why an estimate is accepted or not."""

    ACCEPTED = "accepted"
    BELOW_TARGET = "below target"
    """The belief is spread, without two places that stand out."""
    AMBIGUOUS = "ambiguous"
    """Two places or more that lie apart are each likely."""
    OFF_MAP = "off the map"
    UNSUPPORTED = "not seen"
    """The belief has a place, but what the sensor sees now speaks against it, or far more for another."""
    NO_ODOMETRY = "no odometry"


@dataclass(frozen=True)
class Estimate:
    """Where the filter believes the vehicle to be."""

    stamp_ns: int
    belief: np.ndarray
    """float64 [N] by place; with `p_off_map` it sums to 1."""
    p_off_map: float
    place_id: int
    """The likeliest place."""
    pose: Pose
    """T_map_base of that place."""
    probability: float
    """Of being within the exclusion radius and an eighth turn of `pose`."""
    runner_up: int
    """The likeliest place outside that; `place_id` again where there is none."""
    runner_up_probability: float
    reason: FilterReason
    is_step: bool
    """Whether the vehicle had moved enough for this observation to count."""

    @property
    def accepted(self) -> bool:
        return self.reason is FilterReason.ACCEPTED


class PlaceFilter:
    """Belief over the N places of a map and being off it.

    observation_model: fitted on a validation drive with the same bundle and map.
    motion_model: how exact odometry is, and how often a vehicle leaves and enters the map or is carried.
    min_probability: an estimate is accepted from here up.
    ambiguous_from: a second place from here up makes a refused estimate ambiguous.
    exclusion_m: places so near count as the same one [m].
    step_m, step_rad: an observation counts after so much travel [m] or turn [rad].
    initial_off_map: the chance that a vehicle of which nothing is known is off the map.
    max_gap_s: after so long without an observation or without odometry nothing is known any more [s].
    Raises MapError where the map has no poses, VprError where a parameter cannot work.
    """

    def __init__(
        self,
        place_map: PlaceMap,
        observation_model: ObservationModel,
        motion_model: MotionModel | None = None,
        *,
        min_probability: float = DEFAULT_TARGET,
        ambiguous_from: float = 0.05,
        exclusion_m: float = 10.0,
        step_m: float = 2.0,
        step_rad: float = 0.35,
        initial_off_map: float = 0.5,
        max_gap_s: float = 10.0,
    ) -> None:
        if not (0 < min_probability <= 1 and 0 <= initial_off_map < 1 and min(step_m, step_rad, max_gap_s) > 0):
            raise VprError(
                f"a filter with min_probability {min_probability}, initial_off_map {initial_off_map}, step_m {step_m}, "
                f"step_rad {step_rad} and max_gap_s {max_gap_s} cannot work: expected probabilities and positive steps"
            )
        self.observation_model = observation_model
        self.motion_model = motion_model or MotionModel()
        self.min_probability, self.ambiguous_from = min_probability, ambiguous_from
        self.exclusion_m, self.step_m, self.step_rad = exclusion_m, step_m, step_rad
        self.initial_off_map, self.max_gap_s = initial_off_map, max_gap_s
        self._graph = PlaceGraph.of(place_map, step_m)
        self._look_alikes = place_map.look_alikes
        self._places, self._poses = len(place_map), [place.pose for place in place_map.places if place.pose]
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next observation is the first."""
        self._belief = np.full(len(self._graph.poses), (1 - self.initial_off_map) / len(self._graph.poses))
        self._off_map = self.initial_off_map
        self._offsets = np.zeros((len(self._belief), 2))
        self._moved = Motion()
        self._since_check_m = math.inf
        self._is_first = True
        self._stamp_ns: int | None = None
        self._moved_ns = 0

    def update(
        self, similarities: np.ndarray, motion: Pose | None, stamp_ns: int, check: Check | None = None
    ) -> Estimate:
        """Take in one observation.

        similarities: [N] of the query to every place of the map, in the map's order.
        check: what checking its candidates gave; None where they were not checked.
        motion: T_before_now, the increment of odometry since the last update that had one, of no account in the first;
        None where it is not known: then the belief stays, and nothing is accepted.
        Time that goes back, a gap longer than `max_gap_s` and an increment that no vehicle drives reset the filter.
        Raises InputError where the similarities are not N finite numbers or the motion is not finite.
        """
        similarities = self._checked(similarities, motion)
        self._follow(motion, stamp_ns)
        is_step = motion is not None and (self._is_first or self._travelled >= 1.0)
        ratio = self.observation_model.log_ratio(similarities)
        if is_step:
            self._predict()
            self._weigh(ratio, check)
            self._moved, self._is_first = Motion(), False
        return self._estimate(ratio, check, motion is not None, is_step, stamp_ns)

    def _checked(self, similarities: np.ndarray, motion: Pose | None) -> np.ndarray:
        similarities = np.asarray(similarities, dtype=np.float64)
        if similarities.shape != (self._places,) or not np.isfinite(similarities).all():
            raise InputError(
                f"similarities are {list(similarities.shape)}, expected {self._places} finite numbers, one a place"
            )
        if motion is not None and not motion.is_finite:
            raise InputError(f"odometry moved by {motion}, expected finite numbers", "pose")
        return similarities

    def _follow(self, motion: Pose | None, stamp_ns: int) -> None:
        """Add the increment to the motion since the last step, or begin again where it cannot be continued."""
        increment = Motion() if motion is None else Motion.of(motion)
        since_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._moved_ns) / 1e9
        gap_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / 1e9
        if gap_s < 0 or since_s > self.max_gap_s or increment.distance_m > _JUMP_M + _MAX_SPEED_MPS * since_s:
            self.reset()
        elif not self._is_first:
            self._moved = self._moved.then(increment)
        if motion is not None or self._is_first:
            self._moved_ns = stamp_ns
        self._stamp_ns = stamp_ns

    @property
    def _travelled(self) -> float:
        """Of the way or the turn after which an observation counts, the share since the last step."""
        return max(self._moved.distance_m / self.step_m, abs(self._moved.turn_rad) / self.step_rad)

    def _predict(self) -> None:
        """Move the belief on; what leads to no place is off the map."""
        motion, model = self._moved, self.motion_model
        parts = max(math.ceil(self._travelled - 1e-9), 1) if not self._is_first else 0
        for _ in range(parts):
            self._belief, self._offsets = self._graph.move(self._belief, self._offsets, motion.part(parts), model)
        off_map = 1.0 - float(self._belief.sum())
        rates = (model.leave_per_m, model.jump_per_m, model.enter_per_m)
        leaves, jumps, enters = (1 - math.exp(-rate * motion.distance_m) for rate in rates)
        anywhere = (jumps * (1 - off_map) + enters * off_map) / len(self._belief)
        self._belief = self._belief * (1 - leaves) * (1 - jumps) + anywhere
        self._off_map = max(1.0 - float(self._belief.sum()), 0.0)

    def _weigh(self, ratio: np.ndarray, check: Check | None) -> None:
        """Weigh the places by log ratios [N] to being off the map, and by what the check says."""
        looked_m = self._travelled * self.step_m
        self._since_check_m += looked_m
        weight = 1.0 if self._is_first else self._weight_of(looked_m)
        likelihood = np.exp(weight * self._look_alikes.levelled(ratio))
        self._belief = self._belief * likelihood
        if check is not None:
            self._belief *= np.exp(self._weight_of(self._since_check_m) * self._ratio_of(check))
            self._since_check_m = 0.0
        total = float(self._belief.sum()) + self._off_map
        self._belief, self._off_map = self._belief / total, self._off_map / total

    def _weight_of(self, looked_m: float) -> float:
        """What a look is worth so far from the last."""
        return min(looked_m / self.observation_model.evidence_m, 1.0)

    def _ratio_of(self, check: Check) -> np.ndarray:
        """float64 [N], the log ratio of each place to being off the map.

        Like houses fit one another: what speaks for one of them speaks for all.
        """
        if check.T_map_base is None:
            told = 0.0 if check.is_ambiguous else self.observation_model.unchecked_log_ratio
            return np.full(len(self._belief), told)
        at = np.where(self._is_at(check.T_map_base), self.observation_model.checked_log_ratio, 0.0)
        return self._look_alikes.levelled(at)

    def _is_at(self, pose: Pose) -> np.ndarray:
        """bool [N]: which places mean about this pose."""
        off_m = np.hypot(*(self._graph.poses[:, :2] - pose.position_m[:2]).T)
        return (off_m <= SAME_PLACE_M) & (np.cos(self._graph.poses[:, 2] - pose.yaw_rad) >= math.cos(_HEADING_RAD))

    def _estimate(
        self, ratio: np.ndarray, check: Check | None, has_motion: bool, is_step: bool, stamp_ns: int
    ) -> Estimate:
        place_id, near = self._best()
        probability = min(float(self._belief[near].sum()), 1.0)
        second, around = self._beside(near)
        second_probability = float(self._belief[around].sum())
        supported = self._supports(ratio, check, near)
        return Estimate(
            stamp_ns=stamp_ns,
            belief=self._belief,
            p_off_map=self._off_map,
            place_id=place_id,
            pose=self._poses[place_id],
            probability=probability,
            runner_up=second if second_probability > 0 else place_id,
            runner_up_probability=second_probability,
            reason=self._judge(probability, second_probability, has_motion, supported),
            is_step=is_step,
        )

    def _supports(self, ratio: np.ndarray, check: Check | None, near: np.ndarray) -> bool:
        """Whether what is seen now speaks for the places bool [N] `near`, and not much more for another.

        A check that leads somewhere decides. Else a look that speaks against the places or for another by AGAINST more
        does: whoever was carried since the last look is believed where odometry says for some looks to come.
        """
        if check is not None and check.T_map_base is not None:
            return bool((self._is_at(check.T_map_base) & near).any())
        return bool(ratio[near].max() >= max(0.0, ratio.max() - AGAINST))

    def _best(self) -> tuple[int, np.ndarray]:
        """The likeliest place of the likeliest surroundings, and bool [N] which places these are."""
        best = int(self._belief.argmax())
        near = self._near(best)
        second, around = self._beside(near)
        # A peak may be lower than another and stand on more.
        return (second, self._near(second)) if self._belief[around].sum() > self._belief[near].sum() else (best, near)

    def _beside(self, near: np.ndarray) -> tuple[int, np.ndarray]:
        """The likeliest place that is not near, and bool [N] which around it are not either."""
        second = int(np.where(near, 0.0, self._belief).argmax())
        return second, self._near(second) & ~near

    def _near(self, place_id: int) -> np.ndarray:
        off = self._graph.poses - self._graph.poses[place_id]
        return (np.hypot(off[:, 0], off[:, 1]) <= self.exclusion_m) & (np.cos(off[:, 2]) >= math.cos(_HEADING_RAD))

    def _judge(self, probability: float, second: float, has_motion: bool, supported: bool) -> FilterReason:
        if not has_motion:
            return FilterReason.NO_ODOMETRY
        if probability >= self.min_probability:
            return FilterReason.ACCEPTED if supported else FilterReason.UNSUPPORTED
        if self._off_map >= 0.5:
            return FilterReason.OFF_MAP
        return FilterReason.AMBIGUOUS if second >= self.ambiguous_from else FilterReason.BELOW_TARGET
