"""How vehicles follow their lines, and the odometry that drifts from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.synthetic.routes import ROUTES
from vpr_core.synthetic.town import Town
from vpr_core.synthetic.trajectory import drifted, follow


@pytest.mark.parametrize("route", ROUTES)
def test_vehicles_keep_to_their_line_and_speed(town: Town, route: str) -> None:
    line_m = town.route(route)
    trajectory = follow(line_m, np.random.default_rng(0))
    path_m = np.stack([trajectory.x_m, trajectory.y_m], axis=1)
    aside_m = np.linalg.norm(path_m - line_m, axis=1)
    assert aside_m.std() > 0.1 and aside_m.max() < 1.5
    assert np.isfinite([trajectory.yaw_rad, trajectory.pitch_rad, trajectory.time_s]).all()
    assert (np.diff(trajectory.time_s) > 0).all()
    assert 7.0 < np.median(trajectory.speed_mps) < 9.0 and trajectory.speed_mps.min() > 1.0
    other = follow(line_m, np.random.default_rng(1))
    assert np.hypot(other.x_m - trajectory.x_m, other.y_m - trajectory.y_m).max() > 0.3


def test_odometry_drifts_slowly_from_identity(town: Town) -> None:
    trajectory = follow(town.route("loop"), np.random.default_rng(0))
    times_s = np.arange(0, trajectory.duration_s, 0.05)
    poses = drifted(trajectory, times_s, np.random.default_rng(1))
    start, end = trajectory.pose(0.0), trajectory.pose(float(times_s[-1]))
    assert poses[0].position_m == (0.0, 0.0, 0.0) and poses[0].yaw_rad == 0.0
    east, north = np.array(end.position_m[:2]) - start.position_m[:2]
    cos, sin = math.cos(start.yaw_rad), math.sin(start.yaw_rad)
    exact_m = np.array([cos * east + sin * north, cos * north - sin * east])
    error_m = np.linalg.norm(np.array(poses[-1].position_m[:2]) - exact_m)
    assert 0.5 < error_m < 0.1 * len(town.route("loop"))
