"""The map that the localizer answers from, with all that is loaded for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_core.errors import BundleError, MapError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.retrieval.verification import Verification, Verifier
from vpr_core.retrieval.verifiers import verifier_if_wanted
from vpr_core.retrieval.verify_camera import CameraVerifier
from vpr_core.types import Pose, Recognition
from vpr_distill_ros.following import Followed, Following
from vpr_distill_ros.loading import check_modality, folder, of_one_moment, threads
from vpr_distill_ros.localizer_parameters import LocalizerParameters
from vpr_distill_ros.query_camera import LiveCameraVerifier, QueryCamera
from vpr_distill_ros.sensors import Sensor

NO_IDENTITY = {"map_hash": "", "model_hash": "", "places": "0", "calibrated": "no"}
"""For /diagnostics, where no map is loaded."""


@dataclass(frozen=True)
class LoadedMap:
    """A place map, and what knows it: they are replaced together."""

    folder: str
    """As it was given."""
    recognizer: PlaceRecognizer
    camera: QueryCamera
    """Of the live images, where they are what is compared."""
    verifier: Verifier | None
    """What checks candidates against what the map stores of its places; None where they are not checked."""
    only_verified: bool
    """Whether the filter's place is no pose where no candidate fits: `verify` is true, not auto."""
    following: Following | None
    """What brings answers and odometry together; None without odometry."""

    @classmethod
    def load(
        cls,
        values: LocalizerParameters,
        deliver: Callable[[Followed], None],
        restart: Callable[[], None],
        before: LoadedMap | None = None,
    ) -> LoadedMap:
        """The map that the parameters name, with their bundle; raises MapError and BundleError.

        deliver, restart: as `Following` has them. before: the map whose place it takes, and whose model and camera are
        kept; None loads the bundle.
        """

        def read() -> LoadedMap:
            camera = QueryCamera(values) if before is None else before.camera
            recognizer = _load_recognizer(values) if before is None else before.recognizer.with_map(_map_folder(values))
            verifier = _load_verifier(values, recognizer, camera)
            following = None
            if values.odometry_topic:
                sequence = SequenceRecognizer.of(recognizer, _map_folder(values)) if values.filter else None
                following = Following(sequence, recognizer.map_hash, deliver, restart)
            return cls(values.map, recognizer, camera, verifier, bool(values.verifies), following)

        return of_one_moment(_map_folder(values), read)

    @property
    def filters(self) -> bool:
        return self.following is not None and self.following.filters

    def aiming_at(self, target_precision: float | None) -> LoadedMap:
        """The same map with another precision to accept for; None leaves it to similarity."""
        return replace(self, recognizer=replace(self.recognizer, target_precision=target_precision))

    def recognize(
        self, observation: np.ndarray, stamp_ns: int, top_k: int, T_base_sensor: Pose | None
    ) -> tuple[Recognition, Verification | None]:
        """As `PlaceRecognizer.recognize_checked`."""
        return self.recognizer.recognize_checked(
            observation, stamp_ns, self.verifier, top_k, T_base_sensor, always=self.filters
        )

    # What is told

    def described(self, sensor: Sensor) -> str:
        """What to log once it is loaded."""
        recognizer = self.recognizer
        return (
            f"model {recognizer.model_hash}, map {recognizer.map_hash} of {recognizer.num_places} places, "
            f"{sensor.sees}s through {sensor.converter}"
            + (f", re-ranked by {recognizer.reranker.kind.name}" if recognizer.reranker else "")
            + (", candidates checked" if self.verifier else "")
        )

    @property
    def identity(self) -> dict[str, str]:
        """For /diagnostics."""
        return {
            "map_hash": self.recognizer.map_hash,
            "model_hash": self.recognizer.model_hash,
            "places": str(self.recognizer.num_places),
            "calibrated": "no" if self.recognizer.calibration is None else "yes",
            "verify": "on" if self.verifier else "off",
            "filter": "on" if self.filters else "off",
            "camera_info": self.camera.state if self.verifier else "",
        }

    @property
    def acceptance(self) -> tuple[str, bool]:
        """By what matches are accepted, in words, and whether somebody should look at it."""
        recognizer = self.recognizer
        target = recognizer.target_precision
        if recognizer.calibration is None or target is None:
            if recognizer.similarity_threshold > -1.0:
                return f"accepting from similarity {recognizer.similarity_threshold:g}", False
            text = "the bundle brings no threshold, so the best place is accepted however unlike it is"
            return f"{text}: calibrate the map, or set min_similarity", True
        calibration = recognizer.calibration
        checked = calibration.checked_threshold(target) if self.verifier is not None else None
        if checked is not None:
            # Where checks do not support the target a verified match is accepted by the probability without them.
            unknown = calibration.checked_threshold(target, 0.0) or calibration.threshold(target, 0.0)
            known = f"accepting from probability {checked:.4f} what is verified, for a precision of {target:g}"
            return known + _in_unknown_light(checked, unknown), False
        least = calibration.threshold(target)
        if least is None:
            return (
                f"refusing every match: the map's calibration does not support a precision of {target:g}; calibrate on "
                "more drives, or set a lower target_precision",
                True,
            )
        known = f"accepting from probability {least:.4f}, for a precision of {target:g}"
        return known + _in_unknown_light(least, calibration.threshold(target, 0.0)), False


def _in_unknown_light(known: float, least: float | None) -> str:
    """What is accepted in a light that too few frames were right in when a camera's map was calibrated."""
    if least == known:
        return ""
    return "; in a light of which calibration knows too little: " + ("none" if least is None else f"from {least:.4f}")


def _map_folder(values: LocalizerParameters) -> Path:
    return folder(values.map, MapError, "map", "vpr-distill map")


def _load_recognizer(values: LocalizerParameters) -> PlaceRecognizer:
    """Load bundle and map; raises BundleError, also where the bundle is for another sensor, and MapError."""
    recognizer = PlaceRecognizer.load(
        folder(values.bundle, BundleError, "bundle", "vpr-distill export"),
        _map_folder(values),
        top_k=values.top_k,
        min_similarity=values.threshold,
        device=values.device,
        threads=threads(values),
        rerank=values.rerank,
        target_precision=values.target,
    )
    check_modality(recognizer.bundle, values)
    return recognizer


def _load_verifier(values: LocalizerParameters, recognizer: PlaceRecognizer, camera: QueryCamera) -> Verifier | None:
    """None where candidates are not checked; raises MapError."""
    verifier = verifier_if_wanted(values.verifies, _map_folder(values), recognizer.modality, values.device)
    return LiveCameraVerifier(verifier, camera) if isinstance(verifier, CameraVerifier) else verifier
