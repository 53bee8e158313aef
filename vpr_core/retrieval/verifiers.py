"""What checks candidates with what lies in a map's folder: clouds for a LiDAR, points of features for a camera."""

from __future__ import annotations

from pathlib import Path

from vpr_core.errors import MapError, VprError
from vpr_core.retrieval import place_clouds, place_points
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.verification import Verifier

_STORED = {"lidar": place_clouds.FILE, "camera": place_points.FILE}


def can_verify(folder: str | Path, modality: str) -> bool:
    """Whether the map in a folder has poses, and what candidates are checked with."""
    return (Path(folder) / _STORED[modality]).is_file() and PlaceMap.load(folder).has_poses


def verifier_if_wanted(wanted: bool | None, folder: str | Path, modality: str, device: str = "cpu") -> Verifier | None:
    """`load_verifier` where it is wanted; None: where the map has what it needs. Raises MapError and VprError."""
    if wanted is None and can_verify(folder, modality):
        try:
            return load_verifier(folder, modality, device)
        except VprError as error:
            raise MapError(f"{error}; or set verify to false, and nothing is checked") from error
    return load_verifier(folder, modality, device) if wanted else None


def load_verifier(folder: str | Path, modality: str, device: str = "cpu") -> Verifier:
    """Of the map in a folder; raises MapError where what it needs is absent, damaged or of another map, and where the
    library is missing that compares clouds."""
    if modality == "camera":
        from vpr_core.retrieval.verify_camera import CameraVerifier

        return CameraVerifier.load(folder, device=device)
    try:
        from vpr_core.retrieval.verify_lidar import LidarVerifier  # small_gicp is loaded where clouds are compared
    except ImportError as error:
        raise MapError(f"the clouds of {folder} are compared by {error.name}, which is missing: install it") from error
    return LidarVerifier.load(folder)
