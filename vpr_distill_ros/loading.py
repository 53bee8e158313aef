"""From a node's parameters to a bundle or a recognizer, and what to say where that fails."""

from __future__ import annotations

from pathlib import Path

from vpr_core.errors import BundleError, MapError, VprError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.retrieval.verification import Verifier
from vpr_distill_ros.parameters import LocalizerParameters, SensorParameters
from vpr_distill_ros.query_camera import LiveCameraVerifier, QueryCamera

# A second thread takes 7 ms instead of 8 for a cloud of 2500 voxels on an idle machine, and 110 ms instead of 14 on a
# busy one: torch's threads wait for each other at every one of the network's many small steps.
_LIDAR_THREADS = 1


def load_recognizer(values: LocalizerParameters) -> PlaceRecognizer:
    """Load bundle and map; raises BundleError, also where the bundle is for another sensor, and MapError."""
    recognizer = PlaceRecognizer.load(
        folder(values.bundle, BundleError, "bundle", "vpr-distill export"),
        folder(values.map, MapError, "map", "vpr-distill map"),
        top_k=values.top_k,
        min_similarity=values.threshold,
        device=values.device,
        threads=_threads(values),
        rerank=values.rerank,
        target_precision=values.target,
    )
    _check_modality(recognizer.bundle, values)
    return recognizer


def load_bundle(values: SensorParameters) -> Bundle:
    """Load the bundle alone; raises BundleError, also where it is for another sensor."""
    bundle = Bundle.load(
        folder(values.bundle, BundleError, "bundle", "vpr-distill export"), values.device, _threads(values)
    )
    _check_modality(bundle, values)
    return bundle


def _threads(values: SensorParameters) -> int:
    return _LIDAR_THREADS if values.modality == "lidar" else 0


def _check_modality(bundle: Bundle, values: SensorParameters) -> None:
    if bundle.modality != values.modality:
        raise BundleError(
            f"the parameter modality is {values.modality}, {values.bundle} is a {bundle.modality} bundle: "
            f"set modality to {bundle.modality}, or bundle to a {values.modality} one"
        )


def load_map(recognizer: PlaceRecognizer, place_map: str) -> PlaceRecognizer:
    """The same model on another map; raises MapError."""
    return recognizer.with_map(folder(place_map, MapError, "map", "vpr-distill map"))


def acceptance(recognizer: PlaceRecognizer, verifies: bool = False) -> tuple[str, bool]:
    """By what matches are accepted, in words, and whether somebody should look at it."""
    target = recognizer.target_precision
    if recognizer.calibration is None or target is None:
        if recognizer.similarity_threshold > -1.0:
            return f"accepting from similarity {recognizer.similarity_threshold:g}", False
        text = "the bundle brings no threshold, so the best place is accepted however unlike it is"
        return f"{text}: calibrate the map, or set min_similarity", True
    checked = recognizer.calibration.checked_threshold(target) if verifies else None
    if checked is not None:
        return f"accepting from probability {checked:.4f} what is verified, for a precision of {target:g}", False
    least = recognizer.calibration.threshold(target)
    if least is None:
        return (
            f"refusing every match: the map's calibration does not support a precision of {target:g}; calibrate on "
            "more drives, or set a lower target_precision",
            True,
        )
    return f"accepting from probability {least:.4f}, for a precision of {target:g}", False


def load_verifier(
    values: LocalizerParameters, recognizer: PlaceRecognizer, place_map: str, camera: QueryCamera
) -> Verifier | None:
    """What checks candidates against what the map stores of its places, where `verify` asks for it; raises MapError.

    camera: of the live images, where they are what is compared.
    """
    if not values.verify:
        return None
    folder = Path(place_map).expanduser()
    try:
        if recognizer.modality == "camera":
            from vpr_core.retrieval.verify_camera import CameraVerifier

            return LiveCameraVerifier(CameraVerifier.load(folder, device=values.device), camera)
        from vpr_core.retrieval.verify_lidar import LidarVerifier
    except ImportError as error:
        raise MapError(f"verify is true, which needs {error.name}: install it ({error}), or set it to false") from error
    return LidarVerifier.load(folder)


def load_sequence(
    values: LocalizerParameters, recognizer: PlaceRecognizer, place_map: str
) -> SequenceRecognizer | None:
    """The filter of the map, where the parameter `filter` asks for it; raises MapError where it was not fitted."""
    return SequenceRecognizer.of(recognizer, Path(place_map).expanduser()) if values.filter else None


def folder(value: str, error: type[VprError], what: str, made_by: str) -> Path:
    """The folder that a parameter names; raises `error` where it names none."""
    if not value:
        raise error(f"no {what} is given: expected the folder that `{made_by}` wrote")
    return Path(value).expanduser()


def one_line(error: Exception) -> str:
    """What a log or a response says of an error: its own words, with its class where it is none of ours."""
    return str(error) if isinstance(error, VprError) else f"{type(error).__name__}: {error}"
