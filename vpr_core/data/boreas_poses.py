"""Where the vehicle of a Boreas drive was, from its files of poses and its calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.data.dataset_parts import finite, read_table
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import FramesError
from vpr_core.types import Pose

T_APPLANIX_BASE = Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.5**0.5, 0.5**0.5))
"""The Applanix looks along its y axis, and its x axis points to the right."""
_POSE = dict.fromkeys(("GPSTime", "easting", "northing", "altitude", "roll", "pitch", "heading"), "a number")


def read_poses(folder: Path, sensor: str, interval: int = 1) -> dict[int, Pose]:
    """T_map_base by stamp [us] of every so many lines of a drive's poses of "lidar" or "camera", in the order of time.

    Raises FramesError where it does not parse.
    """
    path, T_sensor_base = folder / "applanix" / f"{sensor}_poses.csv", _T_sensor_base(folder, sensor)
    rows = read_table(path, _POSE, lambda row: (int(row["GPSTime"]), [finite(row[name]) for name in [*_POSE][1:]]))
    return {stamp: compose(_T_enu_sensor(*values), T_sensor_base) for stamp, values in sorted(rows)[::interval]}


def _T_enu_sensor(x_m: float, y_m: float, z_m: float, roll: float, pitch: float, heading: float) -> Pose:
    """Roll, pitch and heading turn the map's axes into the sensor's one after the other, the last first.

    Each is the transpose of the usual rotation about its axis [Barfoot, State Estimation for Robotics, 6.2].
    """
    rotation = Rotation.from_euler("zyx", [-heading, -pitch, -roll])
    x, y, z, w = rotation.as_quat(canonical=True)
    return Pose((x_m, y_m, z_m), (float(x), float(y), float(z), float(w)))


def _T_sensor_base(folder: Path, sensor: str) -> Pose:
    T_lidar_base = compose(inverse(_transform(folder / "calib" / "T_applanix_lidar.txt")), T_APPLANIX_BASE)
    if sensor == "lidar":
        return T_lidar_base
    return compose(_transform(folder / "calib" / "T_camera_lidar.txt"), T_lidar_base)


def _transform(path: Path) -> Pose:
    matrix = _matrix(path)
    if matrix.shape != (4, 4):
        raise FramesError(f"{path} holds {list(matrix.shape)} numbers, expected a 4x4 transform")
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat(canonical=True)
    x_m, y_m, z_m = map(float, matrix[:3, 3])
    return Pose((x_m, y_m, z_m), (float(x), float(y), float(z), float(w)))


def _matrix(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path)
    except ValueError as error:
        raise FramesError(f"{path} does not parse ({error}): expected rows of numbers") from error


def calibration(folder: Path) -> dict[str, Any]:
    """What the drive has of its calibration, as it stands there."""
    paths = [folder / "calib" / f"{name}.txt" for name in ("P_camera", "T_applanix_lidar", "T_camera_lidar")]
    return {path.stem: _matrix(path).tolist() for path in paths if path.is_file()}
