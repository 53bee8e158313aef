"""How a vehicle follows a line: speed, wander in its lane, and the odometry that drifts from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpr_core.synthetic.lines import along, beside, heading
from vpr_core.types import Pose

CRUISE_MPS = 8.0
_SIDEWAYS_MPS2 = 2.6
_BRAKING_MPS2 = 1.8


@dataclass(frozen=True)
class Trajectory:
    """A drive sampled about every metre: time [P] s from 0, x, y [P] m, unwrapped yaw [P] rad, pitch [P] rad of the
    camera's bob, and speed [P] m/s."""

    time_s: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray
    yaw_rad: np.ndarray
    pitch_rad: np.ndarray
    speed_mps: np.ndarray

    @property
    def duration_s(self) -> float:
        return float(self.time_s[-1])

    def pose(self, time_s: float) -> Pose:
        """T_map_base."""
        x, y, yaw = (float(np.interp(time_s, self.time_s, values)) for values in (self.x_m, self.y_m, self.yaw_rad))
        return Pose.from_xy_yaw(x, y, yaw)

    def course(self, times_s: np.ndarray) -> np.ndarray:
        """x [m], y [m] and unwrapped yaw [rad] at times [T], [T, 3]."""
        columns = (self.x_m, self.y_m, self.yaw_rad)
        return np.stack([np.interp(times_s, self.time_s, values) for values in columns], axis=1)

    def speed(self, time_s: float) -> float:
        return float(np.interp(time_s, self.time_s, self.speed_mps))

    def pitch(self, time_s: float) -> float:
        return float(np.interp(time_s, self.time_s, self.pitch_rad))


def follow(line_m: np.ndarray, rng: np.random.Generator) -> Trajectory:
    """A drive along a line [P, 2] of points about 1 m apart: slower in turns, never quite in the middle of its lane."""
    along_m = along(line_m)
    path = beside(line_m, _waves(rng, along_m, 0.35, (35.0, 120.0))[:, None])
    course_rad = heading(path)
    speed = _speed(along_m, course_rad) * (1 + _waves(rng, along_m, 0.06, (80.0, 250.0)))
    return Trajectory(
        time_s=np.concatenate([[0.0], np.cumsum(np.diff(along(path)) * 2 / (speed[1:] + speed[:-1]))]),
        x_m=path[:, 0],
        y_m=path[:, 1],
        yaw_rad=course_rad + _waves(rng, along_m, math.radians(1.5), (20.0, 70.0)),
        pitch_rad=_waves(rng, along_m, math.radians(0.4), (6.0, 30.0)),
        speed_mps=speed,
    )


def _waves(
    rng: np.random.Generator, along_m: np.ndarray, deviation: float, lengths_m: tuple[float, float]
) -> np.ndarray:
    """A smooth random course [P] with about this standard deviation."""
    course = np.zeros_like(along_m)
    for _ in range(4):
        length_m, phase = rng.uniform(*lengths_m), rng.uniform(0, 2 * math.pi)
        course += np.sin(2 * math.pi * along_m / length_m + phase)
    return course * deviation / math.sqrt(2)


def _speed(along_m: np.ndarray, heading_rad: np.ndarray) -> np.ndarray:
    """Cruising speed, less where the turn is tight, with time to brake before it and to gain speed after it."""
    curvature = np.abs(np.gradient(heading_rad, along_m))
    squared = np.minimum(CRUISE_MPS**2, _SIDEWAYS_MPS2 / np.maximum(curvature, 1e-3))
    gain = 2 * _BRAKING_MPS2 * np.diff(along_m)
    for i in range(1, len(squared)):
        squared[i] = min(squared[i], squared[i - 1] + gain[i - 1])
    for i in range(len(squared) - 2, -1, -1):
        squared[i] = min(squared[i], squared[i + 1] + gain[i])
    return np.sqrt(squared)


def drifted(trajectory: Trajectory, times_s: np.ndarray, rng: np.random.Generator) -> list[Pose]:
    """T_odom_base at every time, from wheel and gyro readings with scale error, bias and noise; starts at identity."""
    true = [trajectory.pose(float(time_s)) for time_s in times_s]
    scale, bias_radps = 1 + rng.normal(0, 0.01), rng.normal(0, 0.0008)
    poses, x, y, yaw = [Pose.from_xy_yaw(0.0, 0.0, 0.0)], 0.0, 0.0, 0.0
    for before, after, step_s in zip(true, true[1:], np.diff(times_s), strict=False):
        moved_m = math.dist(before.position_m, after.position_m) * scale * (1 + rng.normal(0, 0.02))
        turned = math.remainder(after.yaw_rad - before.yaw_rad, 2 * math.pi)
        turned += bias_radps * step_s + rng.normal(0, 0.0015) * math.sqrt(step_s)
        x, y = x + moved_m * math.cos(yaw + turned / 2), y + moved_m * math.sin(yaw + turned / 2)
        yaw += turned
        poses.append(Pose.from_xy_yaw(x, y, yaw))
    return poses
