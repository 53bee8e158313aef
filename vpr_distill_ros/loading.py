"""From a node's parameters to a bundle, and what to say where that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vpr_core.errors import BundleError, MapError, VprError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.place_map import MANIFEST
from vpr_distill_ros.parameters import SensorParameters

Loaded = TypeVar("Loaded")

# A second thread takes 7 ms instead of 8 for a cloud of 2500 voxels on an idle machine, and 110 ms instead of 14 on a
# busy one: torch's threads wait for each other at every one of the network's many small steps.
_LIDAR_THREADS = 1


def load_bundle(values: SensorParameters) -> Bundle:
    """Load the bundle alone; raises BundleError, also where it is for another sensor."""
    bundle = Bundle.load(
        folder(values.bundle, BundleError, "bundle", "vpr-distill export"), values.device, threads(values)
    )
    check_modality(bundle, values)
    return bundle


def threads(values: SensorParameters) -> int:
    return _LIDAR_THREADS if values.modality == "lidar" else 0


def check_modality(bundle: Bundle, values: SensorParameters) -> None:
    if bundle.modality != values.modality:
        raise BundleError(
            f"the parameter modality is {values.modality}, {values.bundle} is a {bundle.modality} bundle: "
            f"set modality to {bundle.modality}, or bundle to a {values.modality} one"
        )


def folder(value: str, error: type[VprError], what: str, made_by: str) -> Path:
    """The folder that a parameter names; raises `error` where it names none."""
    if not value:
        raise error(f"no {what} is given: expected the folder that `{made_by}` wrote")
    return Path(value).expanduser()


def of_one_moment(place_map: Path, load: Callable[[], Loaded]) -> Loaded:
    """What `load` reads of a map's folder, once more where the map was saved anew meanwhile.

    Raises MapError where it cannot be read though nobody changes it.
    """
    while True:
        before = _saved(place_map)
        try:
            return load()
        except MapError:
            if _saved(place_map) == before:
                raise


def _saved(place_map: Path) -> tuple[int, ...]:
    """Another after each time that the map was saved, whatever was saved; empty where there is none."""
    try:
        found = (place_map / MANIFEST).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns


def one_line(error: Exception) -> str:
    """What a log or a response says of an error: its own words, with its class where it is none of ours."""
    return str(error) if isinstance(error, VprError) else f"{type(error).__name__}: {error}"
