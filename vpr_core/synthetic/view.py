"""Where a sensor is and how it is turned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpr_core.types import Pose


@dataclass(frozen=True)
class View:
    """Where a sensor is and how it is turned in the map frame."""

    origin_m: np.ndarray
    """[3]."""
    turn: np.ndarray
    """[3, 3] rotation from base_link to the map frame."""

    @classmethod
    def of(cls, pose: Pose, position_base_m: tuple[float, float, float], pitch_rad: float = 0.0) -> View:
        cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
        yaw = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        cos, sin = math.cos(pitch_rad), math.sin(pitch_rad)
        pitch = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
        return cls(np.array(pose.position_m) + yaw @ np.array(position_base_m), yaw @ pitch)

    @staticmethod
    def origins_m(course: np.ndarray, position_base_m: tuple[float, float, float]) -> np.ndarray:
        """Where the sensor is, [T, 3], on a vehicle at x [m], y [m] and yaw [rad], [T, 3], on the flat ground."""
        x, y, yaw = course.T
        ahead, aside, up = position_base_m
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.stack([x + cos * ahead - sin * aside, y + sin * ahead + cos * aside, np.full_like(x, up)], axis=1)

    def rays(self, directions_base: np.ndarray) -> np.ndarray:
        return (directions_base @ self.turn.T).astype(np.float32)
