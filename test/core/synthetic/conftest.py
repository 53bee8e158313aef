"""One town and one scene for all tests of this folder: building them takes longer than looking at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr_core.synthetic.drive import record_drive
from vpr_core.synthetic.lines import heading
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.town import Town
from vpr_core.types import Pose

LENGTH_M = 40.0


@pytest.fixture(scope="session")
def town() -> Town:
    return Town(4)


@pytest.fixture(scope="session")
def scene(town: Town) -> Scene:
    return town.scene(1)


@pytest.fixture(scope="session")
def street_pose(town: Town) -> Pose:
    """On the right lane in the middle of the loop's first street, along the street."""
    line_m = town.route("loop")[20:60]
    return Pose.from_xy_yaw(float(line_m[20, 0]), float(line_m[20, 1]), float(heading(line_m)[20]))


@pytest.fixture(scope="session")
def noon_bag(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("town") / "noon"
    return record_drive(out, town=town, condition="noon", route="loop", seed=1, max_length_m=LENGTH_M)
