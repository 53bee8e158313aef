"""GNSS fixes: their error is as large as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.geodesy import enu_from_wgs84
from vpr_core.synthetic.gnss import Gnss, fixes, town_origin
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.town import Town
from vpr_core.synthetic.trajectory import follow


def test_the_fixes_of_many_drives_have_the_stated_error(town: Town, scene: Scene) -> None:
    gnss, trajectory = Gnss(), follow(town.route("loop")[:200], np.random.default_rng(0))
    times_s, origin = np.arange(0, trajectory.duration_s, 1.0), town_origin(town.seed)
    poses = [trajectory.pose(float(time_s)) for time_s in times_s]
    ahead_m = gnss.position_base_m[0]
    antenna_m = [
        (pose.position_m[0] + ahead_m * math.cos(pose.yaw_rad), pose.position_m[1] + ahead_m * math.sin(pose.yaw_rad))
        for pose in poses
    ]
    found = [fixes(gnss, scene, trajectory, times_s, origin, np.random.default_rng(seed)) for seed in range(60)]
    error_m = np.array([enu_from_wgs84(*geodetic.T, origin) for geodetic, _ in found])
    error_m -= np.column_stack([antenna_m, np.full(len(times_s), gnss.position_base_m[2])])
    assert (error_m / found[0][1]).std() == pytest.approx(1.0, abs=0.12)
    assert np.abs(error_m.mean(axis=(0, 1))).max() < 0.5
    assert 0.9 < np.sqrt((error_m[..., :2] ** 2).sum(axis=2).mean()) < 2.0
