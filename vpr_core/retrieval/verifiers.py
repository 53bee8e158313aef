"""What checks candidates with what lies in a map's folder: clouds for a LiDAR, points of features for a camera."""

from __future__ import annotations

from pathlib import Path

from vpr_core.retrieval import place_clouds, place_points
from vpr_core.retrieval.verification import Verifier

_STORED = {"lidar": place_clouds.FILE, "camera": place_points.FILE}


def can_verify(folder: str | Path, modality: str) -> bool:
    """Whether the map in a folder has what `load_verifier` needs."""
    return (Path(folder) / _STORED[modality]).is_file()


def verifier_if_wanted(wanted: bool | None, folder: str | Path, modality: str, device: str = "cpu") -> Verifier | None:
    """`load_verifier` where it is wanted; None: where the map has what it needs."""
    wanted = can_verify(folder, modality) if wanted is None else wanted
    return load_verifier(folder, modality, device) if wanted else None


def load_verifier(folder: str | Path, modality: str, device: str = "cpu") -> Verifier:
    """Of the map in a folder; raises MapError where what it needs is absent, damaged or of another map."""
    if modality == "camera":
        from vpr_core.retrieval.verify_camera import CameraVerifier

        return CameraVerifier.load(folder, device=device)
    from vpr_core.retrieval.verify_lidar import LidarVerifier  # small_gicp is loaded where clouds are compared

    return LidarVerifier.load(folder)
