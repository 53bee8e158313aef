"""From the localizer's parameters to a recognizer, and what to say where that fails."""

from __future__ import annotations

from pathlib import Path

from vpr_core.errors import BundleError, MapError, VprError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_distill_ros.parameters import LocalizerParameters

# A second thread takes 7 ms instead of 8 for a cloud of 2500 voxels on an idle machine, and 110 ms instead of 14 on a
# busy one: torch's threads wait for each other at every one of the network's many small steps.
_LIDAR_THREADS = 1


def load_recognizer(values: LocalizerParameters) -> PlaceRecognizer:
    """Load bundle and map; raises BundleError, also where the bundle is for another sensor, and MapError."""
    recognizer = PlaceRecognizer.load(
        _folder(values.bundle, BundleError, "bundle", "vpr-distill export"),
        _folder(values.map, MapError, "map", "vpr-distill map"),
        top_k=values.top_k,
        min_similarity=values.threshold,
        device=values.device,
        threads=_LIDAR_THREADS if values.modality == "lidar" else 0,
    )
    if recognizer.modality != values.modality:
        raise BundleError(
            f"the parameter modality is {values.modality}, {values.bundle} is a {recognizer.modality} bundle: "
            f"set modality to {recognizer.modality}, or bundle to a {values.modality} one"
        )
    return recognizer


def load_map(recognizer: PlaceRecognizer, folder: str) -> PlaceRecognizer:
    """The same model on another map; raises MapError."""
    return recognizer.with_map(_folder(folder, MapError, "map", "vpr-distill map"))


def _folder(value: str, error: type[VprError], what: str, made_by: str) -> Path:
    if not value:
        raise error(f"no {what} is given: expected the folder that `{made_by}` wrote")
    return Path(value).expanduser()


def one_line(error: Exception) -> str:
    """What a log or a response says of an error: its own words, with its class where it is none of ours."""
    return str(error) if isinstance(error, VprError) else f"{type(error).__name__}: {error}"
