"""Poses as matrices, when two of them are two answers, and what the information of a fit says of one."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.errors import InputError
from vpr_core.types import Pose

APART_M, APART_RAD = 2.0, math.radians(15.0)
"""Two transforms farther apart than this are two answers, not one found twice."""


def moved(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 3] under a transform [4, 4]."""
    return np.asarray(points @ T[:3, :3].T + T[:3, 3])


def are_apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two transforms [4, 4] are two answers."""
    turned_rad = Rotation.from_matrix(first[:3, :3].T @ second[:3, :3]).magnitude()
    return bool(np.linalg.norm(first[:3, 3] - second[:3, 3]) > APART_M or turned_rad > APART_RAD)


def matrix_of(pose: Pose) -> np.ndarray:
    """[4, 4] float64; raises InputError where the pose is none."""
    if not pose.is_finite or not any(pose.quaternion_xyzw):
        raise InputError(f"pose {pose} has no finite position and rotation")
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(pose.quaternion_xyzw).as_matrix()
    matrix[:3, 3] = pose.position_m
    return matrix


def pose_of(matrix: np.ndarray) -> Pose:
    """Of a transform [4, 4]."""
    x, y, z = map(float, matrix[:3, 3])
    qx, qy, qz, qw = map(float, Rotation.from_matrix(matrix[:3, :3]).as_quat(canonical=True))
    return Pose((x, y, z), (qx, qy, qz, qw))


def tilt_rad(T: np.ndarray) -> float:
    """Angle between the vertical axes of two frames, by the transform [4, 4] between them."""
    return math.acos(min(max(float(T[2, 2]), -1.0), 1.0))


def covariance(information: np.ndarray, weight: float, systematic_m: float, systematic_rad: float) -> np.ndarray:
    """[6, 6] of x, y, z [m] and rotations about x, y, z [rad], in the axes of `information` [6, 6].

    information: sum of J^T J of the measurements. weight: their variance, in their unit squared. systematic_m,
    systematic_rad: standard deviations of what more measurements do not reduce.
    """
    # 100 m and 180 degrees are known of any pose at a place: so the inverse exists in a tunnel and on a plain.
    known = np.diag([1e-4] * 3 + [math.pi**-2] * 3)
    noise = np.linalg.inv(information / weight + known)
    return np.asarray(noise + np.diag([systematic_m**2] * 3 + [systematic_rad**2] * 3))


def degeneracy(information: np.ndarray) -> tuple[float, np.ndarray]:
    """How much worse the position is determined in one direction than in another, and that direction [3].

    The smallest eigenvalue of the position's information by the largest, in [0, 1], rotation being unknown as well.
    The direction is in the place's frame: x forward, y left, z up.
    """
    position, mixed, rotation = information[:3, :3], information[:3, 3:], information[3:, 3:]
    values, vectors = np.linalg.eigh(position - mixed @ np.linalg.pinv(rotation) @ mixed.T)
    weakest = vectors[:, 0]
    weakest = weakest if weakest[np.argmax(np.abs(weakest))] > 0 else -weakest
    return (float(np.clip(values[0] / values[-1], 0.0, 1.0)) if values[-1] > 0 else 0.0), weakest
