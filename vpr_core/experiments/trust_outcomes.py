"""What a robot would have been told on a drive, frame by frame, by four modes: one frame alone and the frames so far
along odometry, each as they are and with candidates that are verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.experiments.trust_drives import read_odometry
from vpr_core.retrieval.check import SAME_PLACE_M
from vpr_core.retrieval.filter import Estimate, PlaceFilter
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.retrieval.validation import is_on_map, yaws_of
from vpr_core.retrieval.verification import Verification, Verifier
from vpr_core.types import Pose, Recognition

SINGLE, VERIFIED = "single frame", "single frame, verified"
FILTERED, FILTERED_VERIFIED = "filtered", "filtered, verified"
MODES = (SINGLE, VERIFIED, FILTERED, FILTERED_VERIFIED)
CHECKED, UNCHECKED = (VERIFIED, FILTERED_VERIFIED), (SINGLE, FILTERED)
"""What the localizer does with `verify: auto` on maps that have what candidates are checked with, and with `false`."""
RADIUS_M = SAME_PLACE_M
"""An answer so near in x and y is right."""
TARGET, STRICT = 0.99, 0.999
AMBIGUOUS = "ambiguous"

Step = Callable[[], object]
"""Called after every frame."""


@dataclass(frozen=True)
class Outcome:
    """What one mode said of M frames of one drive."""

    town: str
    sensor: str
    condition: str
    mode: str
    on_map: np.ndarray
    """bool [M]: the map has a place within RADIUS_M, for a camera one that faces its way."""
    right: np.ndarray
    """bool [M]: the likeliest place is within RADIUS_M, whether accepted or not."""
    probability: np.ndarray
    """float [M], of the likeliest place."""
    accepted: np.ndarray
    """bool [M], at TARGET."""
    strict: np.ndarray
    """bool [M], at STRICT."""
    ambiguous: np.ndarray
    """bool [M]: refused as ambiguous."""

    def to_json(self) -> dict[str, Any]:
        return {name: value if isinstance(value, str) else _listed(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Outcome:
        return cls(**{field.name: _array(values[field.name], field.name) for field in fields(cls)})


def _listed(values: np.ndarray) -> list[Any]:
    return values.astype(int).tolist() if values.dtype == bool else [round(float(value), 6) for value in values]


def _array(value: Any, name: str) -> Any:
    return value if isinstance(value, str) else np.array(value, float if name == "probability" else bool)


@dataclass(frozen=True)
class Seen:
    """A drive that a recognizer answered, frame by frame."""

    recognitions: list[Recognition]
    odometry: list[Pose]
    """T_odom_base of each frame."""
    positions_m: np.ndarray | None
    """[M, 2] in the map's frame; None of a drive elsewhere."""
    verifications: list[Verification[Any] | None]
    """Of the candidates of each frame; None where they were not checked."""
    yaws_rad: np.ndarray | None = None
    """[M] headings in the map's frame, as `yaws_of` gives them."""

    @property
    def followed_as(self) -> str:
        """The mode of its frames along odometry."""
        return FILTERED_VERIFIED if any(self.verifications) else FILTERED

    def part(self, rows: Sequence[int]) -> Seen:
        """Some frames of it."""
        return Seen(
            [self.recognitions[row] for row in rows],
            [self.odometry[row] for row in rows],
            None if self.positions_m is None else self.positions_m[list(rows)],
            [self.verifications[row] for row in rows],
            None if self.yaws_rad is None else self.yaws_rad[list(rows)],
        )

    def right(self, answers: Sequence[Pose | None]) -> np.ndarray:
        """bool [M], of an answer for each frame."""
        if self.positions_m is None:
            return np.zeros(len(answers), bool)
        found = np.array([(np.inf, np.inf) if pose is None else pose.position_m[:2] for pose in answers])
        return np.hypot(*(found.reshape(-1, 2) - self.positions_m).T) <= RADIUS_M


def look(
    recognizer: PlaceRecognizer,
    folder: Path,
    *,
    is_elsewhere: bool = False,
    verifier: Verifier | None = None,
    every: int = 1,
    step: Step | None = None,
) -> Seen:
    """Each frame of a drive through the recognizer, as the node calls it.

    verifier: checks the candidates of every `every`-th frame. Raises FramesError and InputError.
    """
    drive = Frames.load(folder)
    observation = drive.image if recognizer.modality == "camera" else drive.cloud
    recognitions: list[Recognition] = []
    verifications: list[Verification[Any] | None] = []
    for index in range(len(drive)):
        seen = observation(index)
        recognitions.append(recognizer.recognize(seen, drive.frames[index].stamp_ns))
        verifies = verifier is not None and index % every == 0
        verifications.append(verifier.verify(seen, recognitions[-1]) if verifier and verifies else None)
        if step and (verifies or verifier is None):
            step()
    positions_m = None if is_elsewhere else drive.positions_m[:, :2]
    yaws_rad = None if is_elsewhere else yaws_of([frame.pose for frame in drive.frames if frame.pose])
    return Seen(recognitions, read_odometry(folder), positions_m, verifications, yaws_rad)


@dataclass(frozen=True)
class Judge:
    """The modes of one map."""

    town: str
    sensor: str
    recognizer: PlaceRecognizer
    places: PlaceFilter

    def single(self, seen: Seen, condition: str) -> Outcome:
        strict = [self._is_strict(recognition) for recognition in seen.recognitions]
        return self._of_frames(seen, condition, SINGLE, seen.recognitions, strict)

    def _of_frames(
        self, seen: Seen, condition: str, mode: str, answers: Sequence[Recognition], strict: Sequence[bool]
    ) -> Outcome:
        """Judged by the match that is believed, or the first."""
        best = [answer.accepted or answer.matches[0] for answer in answers]
        return Outcome(
            self.town, self.sensor, condition, mode,
            on_map=self._on_map(seen),
            right=seen.right([match.pose for match in best]),
            probability=np.array([match.probability for match in best], float),
            accepted=np.array([match.accepted for match in best], bool),
            strict=np.array(strict, bool),
            ambiguous=np.array([match.reason.name.lower() == AMBIGUOUS for match in best], bool),
        )  # fmt: skip

    def verified(self, seen: Seen, condition: str) -> Outcome:
        """Of the frames whose candidates were checked, as the localizer does with `verify`."""
        rows = [row for row, one in enumerate(seen.verifications) if one]
        strictly = replace(self.recognizer, target_precision=STRICT)
        answers, strict = [], []
        for row in rows:
            found, recognition = seen.verifications[row], seen.recognitions[row]
            assert found
            answers.append(self.recognizer.checked(recognition, found))
            strict.append(strictly.checked(recognition, found).accepted is not None)
        return self._of_frames(seen.part(rows), condition, VERIFIED, answers, strict)

    def filtered(self, seen: Seen, condition: str, begin: int = 0) -> Outcome:
        """Along odometry, from the frame `begin` on."""
        followed = seen.part(range(begin, len(seen.recognitions)))
        estimates = self.follow(followed)
        accepted = np.array([estimate.accepted for estimate in estimates], bool)
        probability = np.array([estimate.probability for estimate in estimates], float)
        return Outcome(
            self.town, self.sensor, condition, seen.followed_as,
            on_map=self._on_map(followed),
            right=followed.right([estimate.pose for estimate in estimates]),
            probability=probability,
            accepted=accepted,
            strict=accepted & (probability >= STRICT),
            ambiguous=np.array([estimate.reason.value == AMBIGUOUS for estimate in estimates], bool),
        )  # fmt: skip

    def follow(self, seen: Seen) -> list[Estimate]:
        """The filter's answers to successive frames of a vehicle of which nothing is known before."""
        sequence = SequenceRecognizer(self.recognizer, self.places)
        sequence.reset()
        return [sequence.follow(*frame)
                for frame in zip(seen.recognitions, seen.odometry, seen.verifications, strict=True)]  # fmt: skip

    def _on_map(self, seen: Seen) -> np.ndarray:
        if seen.positions_m is None:
            return np.zeros(len(seen.recognitions), bool)
        return is_on_map(self.recognizer.place_map, seen.positions_m, seen.yaws_rad, RADIUS_M)

    def _is_strict(self, recognition: Recognition) -> bool:
        gate = self.recognizer.gate
        assert gate
        similarity = self.recognizer.place_map.descriptors @ recognition.descriptor
        rows = np.array([match.place_id for match in recognition.matches])
        return gate.judge(similarity, rows, STRICT, -1.0, recognition.light)[1].reasons[0].name == "ACCEPTED"
