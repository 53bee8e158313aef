"""The one call behind the command line and the live node: an image or a cloud in, places out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import InputError, MapError
from vpr_core.preprocess import check_aspect, check_image
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.calibration import DEFAULT_TARGET, Calibration
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.gate import CalibratedGate, judge, with_verification
from vpr_core.retrieval.index import Index, build_index
from vpr_core.retrieval.light import NO_LIGHT
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.reranker import Reranker
from vpr_core.retrieval.verification import Verification, Verifier
from vpr_core.types import Match, Pose, Reason, Recognition

DEFAULT_TOP_K = 5


@dataclass(frozen=True)
class PlaceRecognizer:
    """A bundle and a map made with it."""

    bundle: Bundle
    place_map: PlaceMap
    index: Index
    top_k: int
    min_similarity: float | None
    """As `load` takes it."""
    device: str
    reranker: Reranker | None = None
    target_precision: float | None = None
    """As `load` takes it."""
    gate: CalibratedGate | None = None
    """Where the map is calibrated."""

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        place_map: str | Path,
        *,
        top_k: int = DEFAULT_TOP_K,
        min_similarity: float | None = None,
        device: str = "cpu",
        threads: int = 0,
        rerank: int = 0,
        target_precision: float | None = DEFAULT_TARGET,
    ) -> PlaceRecognizer:
        """Load both folders, and the calibration that lies with the map, where there is one.

        min_similarity: a match is accepted from here up; None takes the threshold stored in the bundle, or accepts
        every best match where the bundle has none.
        rerank: so many of the most similar places are put in the order of what their pictures share with the query's,
        for which the map has local features; 0 leaves the order of the descriptors.
        target_precision: on a calibrated map a match is accepted from the probability that stands for it, and from
        min_similarity where that is given; None, and a map without calibration, leave it to similarity alone.
        Raises BundleError and MapError; a map made with another bundle or of another sensor is refused, and for
        `rerank` one without local features.
        """
        if rerank < 0:
            raise InputError(f"rerank is {rerank}, expected 0 or more places")
        loaded = Bundle.load(bundle, device, threads)
        places = _load_map(place_map, loaded)
        reranker = Reranker.load(place_map, places, loaded, rerank, device) if rerank else None
        index, gate = build_index(places.descriptors, device), CalibratedGate.load(place_map, places)
        return cls(loaded, places, index, top_k, min_similarity, device, reranker, target_precision, gate)

    def with_map(self, place_map: str | Path) -> PlaceRecognizer:
        """The same model and settings on another map, with its own calibration; raises MapError."""
        places, reranker = _load_map(place_map, self.bundle), self.reranker
        if reranker:
            reranker = Reranker.load(place_map, places, self.bundle, reranker.candidates, self.device)
        index, gate = build_index(places.descriptors, self.device), CalibratedGate.load(place_map, places)
        return replace(self, place_map=places, index=index, reranker=reranker, gate=gate)

    def recognize(self, observation: np.ndarray, stamp_ns: int, top_k: int | None = None) -> Recognition:
        """Places for what the sensor of the bundle's modality saw at `stamp_ns`.

        observation: camera: an RGB uint8 image [H, W, 3]; lidar: a cloud [N, 3 or more] (x, y, z [m] first).
        top_k: how many places; None as many as the recognizer was loaded with.
        Raises InputError where the image is no picture or has another aspect than the map's images, where the cloud is
        empty or shows too little, and where not even one place is asked for.
        """
        top_k = self._asked(top_k)
        self._check(observation)
        descriptor = self.bundle.encode([observation])
        compared = self.reranker.candidates if self.reranker else 0
        similarity, rows = (found[0] for found in self.index.search(descriptor, max(top_k, compared)))
        inliers: dict[int, int | None] = {}
        if self.reranker:
            order, shared = self.reranker.order(observation, rows)
            similarity, rows = similarity[order], rows[order]
            inliers = dict(zip(rows.tolist(), shared, strict=True))
        of_all = None if self.gate is None else self.place_map.descriptors @ descriptor[0]
        return self._judged(stamp_ns, observation, descriptor[0], similarity[:top_k], rows[:top_k], of_all, inliers)

    def recognize_many(
        self, observations: Sequence[np.ndarray], stamp_ns: int, top_k: int | None = None
    ) -> tuple[Recognition, tuple[int, ...]]:
        """Places for what several sensors of one vehicle saw at `stamp_ns`, such as a camera ahead and one behind.

        Each is a query of its own; a place is as similar as the sensor says that sees the most of it. The second value
        is the number of that sensor for every match: where it looks is how the vehicle stands to the place's pose. The
        descriptor and the light are those of the best match's sensor. A calibration was fitted to one sensor: each of
        several adds places to choose from, so probabilities are too high by what that gives.
        observations, top_k: as `recognize` has them; raises InputError as that does, and with re-ranking.
        """
        top_k = self._asked(top_k)
        if not len(observations):
            raise InputError("no observation came, expected one of each sensor", kind="empty")
        if self.reranker:
            raise InputError("re-ranking compares one picture with the map's: load with rerank 0 for several sensors")
        for observation in observations:
            self._check(observation)
        descriptors = self.bundle.encode(observations)
        of_each = descriptors @ self.place_map.descriptors.T
        of_all = of_each.max(axis=0)
        rows = np.argsort(-of_all, kind="stable")[:top_k]
        best = int(of_each[:, rows[0]].argmax())
        recognition = self._judged(
            stamp_ns, observations[best], descriptors[best], of_all[rows], rows, of_all if self.gate else None, {}
        )
        return recognition, tuple(int(of_each[:, match.place_id].argmax()) for match in recognition.matches)

    def recognize_checked(
        self,
        observation: np.ndarray,
        stamp_ns: int,
        verifier: Verifier | None,
        top_k: int | None = None,
        T_base_sensor: Pose | None = None,
        *,
        always: bool = False,
    ) -> tuple[Recognition, Verification[Any] | None]:
        """`recognize`, judged by what checking the candidates gave, and that; None where they were not checked.

        verifier, T_base_sensor: as `Verifier.verify` has them; None checks nothing. always: check also where no check
        could lead to an accepted match, for a filter, which may believe what one frame alone does not.
        """
        recognition = self.recognize(observation, stamp_ns, top_k)
        if verifier is None or not (always or self.could_accept(recognition)):
            return recognition, None
        verification = verifier.verify(observation, recognition, T_base_sensor)
        return self.checked(recognition, verification), verification

    def could_accept(self, recognition: Recognition) -> bool:
        """Whether checking the candidates of an answer that `recognize` gave can lead to an accepted match."""
        gate, target = self.gate, self.target_precision
        if gate is None or target is None or not gate.has_checks(target, recognition.light):
            return recognition.accepted is not None
        return gate.could_reach(*self._compared(recognition), target, recognition.light)

    def checked(self, recognition: Recognition, verification: Verification[Any]) -> Recognition:
        """An answer that `recognize` gave, judged again by what checking its candidates gave.

        Where the calibration knows checks, the match that it leads to is accepted from the probability that stands for
        the target, be it the most similar or not. Otherwise an accepted match stays so where the check leads to it.
        """
        check = Check.of(verification, self.place_map)
        gate, target = self.gate, self.target_precision
        if gate is None or target is None or not gate.has_checks(target, recognition.light):
            return with_verification(recognition, check)
        similarity, rows = self._compared(recognition)
        judged = gate.judge_checked(similarity, rows, check, target, self.similarity_threshold, recognition.light)
        told = zip(recognition.matches, judged.reasons, judged.probabilities, strict=True)
        matches = tuple(replace(match, reason=reason, probability=one) for match, reason, one in told)
        return replace(recognition, matches=matches)

    def _compared(self, recognition: Recognition) -> tuple[np.ndarray, np.ndarray]:
        """Similarity to every place, and the candidates' rows."""
        rows = np.array([match.place_id for match in recognition.matches], dtype=np.int64)
        return self.place_map.descriptors @ recognition.descriptor, rows

    def _asked(self, top_k: int | None) -> int:
        top_k = self.top_k if top_k is None else top_k
        if top_k < 1:
            raise InputError(f"top_k is {top_k}, expected 1 or more places")
        return top_k

    def _check(self, observation: np.ndarray) -> None:
        if self.place_map.image_size is not None:
            check_image(observation)
            check_aspect(observation, *self.place_map.image_size)

    def _judged(
        self,
        stamp_ns: int,
        observation: np.ndarray,
        descriptor: np.ndarray,
        similarity: np.ndarray,
        rows: np.ndarray,
        of_all: np.ndarray | None,
        inliers: dict[int, int | None],
    ) -> Recognition:
        """The candidates `rows` and whom to believe; of_all: similarity to every place, for a calibrated map."""
        reasons: Sequence[Reason] = judge(similarity.tolist(), self.similarity_threshold)
        probabilities: Sequence[float | None] = [None] * len(rows)
        off_map_probability, light = None, NO_LIGHT
        if self.gate is not None and of_all is not None:
            light = self.bundle.light_of(observation)
            rows, judged = self.gate.judge(of_all, rows, self.target_precision, self.similarity_threshold, light)
            similarity, reasons, probabilities = of_all[rows], judged.reasons, judged.probabilities
            off_map_probability = judged.off_map_probability
        told = zip(rows.tolist(), similarity.tolist(), reasons, probabilities, strict=True)
        matches = tuple(self._match(*of_one, inliers.get(of_one[0])) for of_one in told)
        return Recognition(stamp_ns, matches, descriptor, off_map_probability, light)

    def _match(
        self, row: int, similarity: float, reason: Reason, probability: float | None, inliers: int | None
    ) -> Match:
        place = self.place_map.places[row]
        return Match(row, place.session, place.stamp_ns, place.pose, similarity, reason, probability, inliers)

    @property
    def similarity_threshold(self) -> float:
        """Similarity below which no match is accepted; -1 where there is no such threshold."""
        if self.min_similarity is not None:
            return self.min_similarity
        by_probability = self.gate is not None and self.target_precision is not None
        stored = None if by_probability else self.bundle.accept_similarity
        return -1.0 if stored is None else stored

    @property
    def calibration(self) -> Calibration | None:
        """The calibration stored with the map, where there is one."""
        return None if self.gate is None else self.gate.calibration

    @property
    def modality(self) -> str:
        """What it recognises places by: "camera" or "lidar"."""
        return self.bundle.modality

    @property
    def model_hash(self) -> str:
        return self.bundle.hash

    @property
    def map_hash(self) -> str:
        return self.place_map.hash

    @property
    def map_frame(self) -> str:
        """Coordinate frame of the matches' poses; empty in a map without poses."""
        return self.place_map.map_frame if self.has_poses else ""

    @property
    def num_places(self) -> int:
        return len(self.place_map)

    @property
    def has_poses(self) -> bool:
        return self.place_map.has_poses


def _load_map(folder: str | Path, bundle: Bundle) -> PlaceMap:
    places = PlaceMap.load(folder, bundle.hash, bundle.modality)
    if not len(places):
        raise MapError(f"{folder} has no places")
    if places.descriptors.shape[1] != bundle.dim:
        raise MapError(f"{folder} holds {places.descriptors.shape[1]}-d descriptors, the bundle gives {bundle.dim}-d")
    return places
