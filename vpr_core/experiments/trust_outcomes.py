"""What a robot would have been told on a drive, frame by frame, by three modes: one frame alone, one frame whose
candidates are verified, and the frames so far along odometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from vpr_core.data.frames import Frames
from vpr_core.experiments.trust_drives import read_odometry
from vpr_core.retrieval.filter import Estimate, PlaceFilter
from vpr_core.retrieval.gate import SAME_PLACE_M, with_verification
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.types import Pose, Recognition

SINGLE, VERIFIED, FILTERED = "single frame", "single frame, verified", "filtered"
MODES = (SINGLE, VERIFIED, FILTERED)
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
    """bool [M]: the map has a place within RADIUS_M."""
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

    folder: Path
    recognitions: list[Recognition]
    odometry: list[Pose]
    """T_odom_base of each frame."""
    positions_m: np.ndarray | None
    """[M, 2] in the map's frame; None of a drive elsewhere."""

    def right(self, answers: Sequence[Pose | None]) -> np.ndarray:
        """bool [M], of an answer for each frame."""
        if self.positions_m is None:
            return np.zeros(len(answers), bool)
        found = np.array([(np.inf, np.inf) if pose is None else pose.position_m[:2] for pose in answers])
        return np.hypot(*(found.reshape(-1, 2) - self.positions_m).T) <= RADIUS_M


def look(recognizer: PlaceRecognizer, folder: Path, *, is_elsewhere: bool = False, step: Step | None = None) -> Seen:
    """Every frame of a drive through the recognizer, as the node calls it; raises FramesError and InputError."""
    drive = Frames.load(folder)
    observation = drive.image if recognizer.modality == "camera" else drive.cloud
    recognitions = []
    for index, frame in enumerate(drive.frames):
        recognitions.append(recognizer.recognize(observation(index), frame.stamp_ns))
        if step:
            step()
    return Seen(folder, recognitions, read_odometry(folder), None if is_elsewhere else drive.positions_m[:, :2])


@dataclass(frozen=True)
class Judge:
    """The modes of one map."""

    town: str
    sensor: str
    recognizer: PlaceRecognizer
    places: PlaceFilter
    verifier: LidarVerifier | None

    def single(self, seen: Seen, condition: str) -> Outcome:
        best = [recognition.matches[0] for recognition in seen.recognitions]
        return Outcome(
            self.town, self.sensor, condition, SINGLE,
            on_map=self._on_map(seen),
            right=seen.right([match.pose for match in best]),
            probability=np.array([match.probability for match in best], float),
            accepted=np.array([match.accepted for match in best], bool),
            strict=np.array([self._is_strict(recognition) for recognition in seen.recognitions], bool),
            ambiguous=np.array([match.reason.name.lower() == AMBIGUOUS for match in best], bool),
        )  # fmt: skip

    def verified(self, seen: Seen, single: Outcome, every: int, step: Step | None = None) -> Outcome:
        """Of every so many frames: what is accepted is accepted still where a candidate's cloud confirms it."""
        assert self.verifier
        drive, rows = Frames.load(seen.folder), range(0, len(seen.recognitions), every)
        confirmed = np.zeros(len(rows), bool)
        for number, row in enumerate(rows):
            recognition = seen.recognitions[row]
            if recognition.accepted:
                found = self.verifier.verify(drive.cloud(row), recognition).verified
                checked = with_verification(recognition, found.T_map_base if found else None)
                confirmed[number] = checked.accepted is not None
            if step:
                step()
        kept = {name: getattr(single, name)[::every] for name in ("on_map", "right", "probability", "ambiguous")}
        accepted = {name: getattr(single, name)[::every] & confirmed for name in ("accepted", "strict")}
        return Outcome(self.town, self.sensor, single.condition, VERIFIED, **kept, **accepted)

    def filtered(self, seen: Seen, condition: str, begin: int = 0) -> Outcome:
        """Along odometry, from the frame `begin` on."""
        estimates = self.follow(seen.recognitions[begin:], seen.odometry[begin:])
        whole = [None] * begin + [estimate.pose for estimate in estimates]
        accepted = np.array([estimate.accepted for estimate in estimates], bool)
        probability = np.array([estimate.probability for estimate in estimates], float)
        return Outcome(
            self.town, self.sensor, condition, FILTERED,
            on_map=self._on_map(seen)[begin:],
            right=seen.right(whole)[begin:],
            probability=probability,
            accepted=accepted,
            strict=accepted & (probability >= STRICT),
            ambiguous=np.array([estimate.reason.value == AMBIGUOUS for estimate in estimates], bool),
        )  # fmt: skip

    def follow(self, recognitions: Sequence[Recognition], odometry: Sequence[Pose]) -> list[Estimate]:
        """The filter's answers to successive frames of a vehicle of which nothing is known before."""
        sequence = SequenceRecognizer(self.recognizer, self.places)
        sequence.reset()
        return [sequence.follow(*frame) for frame in zip(recognitions, odometry, strict=True)]

    def _on_map(self, seen: Seen) -> np.ndarray:
        if seen.positions_m is None:
            return np.zeros(len(seen.recognitions), bool)
        places = [place.pose.position_m[:2] for place in self.recognizer.place_map.places if place.pose]
        return np.asarray(cKDTree(np.array(places)).query(seen.positions_m)[0] <= RADIUS_M)

    def _is_strict(self, recognition: Recognition) -> bool:
        gate = self.recognizer.gate
        assert gate
        similarity = self.recognizer.place_map.descriptors @ recognition.descriptor
        rows = np.array([match.place_id for match in recognition.matches])
        return gate.judge(similarity, rows, STRICT, -1.0)[1].reasons[0].name == "ACCEPTED"
