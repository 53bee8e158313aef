"""Single-frame answers and the filter's beside each other, from images or clouds and odometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.poses import Track, compose, inverse
from vpr_core.retrieval.calibration import DEFAULT_TARGET
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.filter import Estimate, PlaceFilter
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Pose, Recognition


@dataclass
class SequenceRecognizer:
    """A recognizer, and the filter that its similarities go to."""

    recognizer: PlaceRecognizer
    places: PlaceFilter
    _last: Pose | None = field(default=None, init=False)
    """T_odom_base of the last observation that had one."""

    @classmethod
    def of(cls, recognizer: PlaceRecognizer, place_map: str | Path, **parameters: Any) -> SequenceRecognizer:
        """With the observation model stored in the map's folder `place_map`.

        It accepts from the recognizer's target precision up, see `aim_at`. parameters: others of `PlaceFilter`.
        Raises MapError where the map has no such model or no poses.
        """
        model = ObservationModel.load(place_map, recognizer.map_hash)
        made = cls(recognizer, PlaceFilter(recognizer.place_map, model, **parameters))
        made.aim_at(recognizer.target_precision)
        return made

    def aim_at(self, target_precision: float | None) -> None:
        """Accept from this probability up, in (0, 1]: a place as probable as that is right as often. None, where single
        frames are accepted by similarity, stands for the default."""
        self.places.min_probability = DEFAULT_TARGET if target_precision is None else target_precision

    def recognize(self, observation: np.ndarray, stamp_ns: int, pose: Pose | None) -> tuple[Recognition, Estimate]:
        """What this frame alone says, and what it says with those before it.

        observation, stamp_ns: as for `PlaceRecognizer.recognize`, which raises InputError.
        pose: T_odom_base at the stamp, of odometry that may drift; None where it is not known.
        """
        recognition = self.recognizer.recognize(observation, stamp_ns)
        return recognition, self.follow(recognition, pose)

    def follow(
        self, recognition: Recognition, pose: Pose | None, verification: Verification[Any] | None = None
    ) -> Estimate:
        """The filter's answer to a frame that was recognised already; verification: what checking its candidates gave,
        None where they were not checked."""
        check = Check.of(verification, self.recognizer.place_map) if verification and verification.tried else None
        similarities = self.recognizer.place_map.descriptors @ recognition.descriptor
        motion = None if pose is None else compose(inverse(self._last), pose) if self._last else Pose((0.0, 0.0, 0.0))
        estimate = self.places.update(similarities, motion, recognition.stamp_ns, check)
        self._last = self._last if pose is None else pose
        return estimate

    def reset(self) -> None:
        """Forget what was seen and where odometry was."""
        self.places.reset()
        self._last = None


def follower(
    sequence: SequenceRecognizer, odometry: Track
) -> Callable[[Recognition, Verification[Any] | None], dict[str, Any]]:
    """Takes the answers of a drive in their order, with what checking their candidates gave, and gives the filter's as
    JSON values (see `estimate_to_record`)."""

    def follow(recognition: Recognition, verification: Verification[Any] | None) -> dict[str, Any]:
        pose = odometry.at(recognition.stamp_ns)
        return estimate_to_record(sequence.follow(recognition, None if isinstance(pose, str) else pose, verification))

    return follow


def estimate_to_record(estimate: Estimate) -> dict[str, Any]:
    """{"place_id": int, "probability": float, "p_off_map": float, "accepted": bool, "reason": str,
    "runner_up": int, "runner_up_probability": float, "position": [x_m, y_m, z_m]}"""
    return {
        "place_id": estimate.place_id,
        "probability": round(estimate.probability, 6),
        "p_off_map": round(estimate.p_off_map, 6),
        "accepted": estimate.accepted,
        "reason": estimate.reason.value,
        "runner_up": estimate.runner_up,
        "runner_up_probability": round(estimate.runner_up_probability, 6),
        "position": list(estimate.pose.position_m),
    }
