"""Where PointNetVLAD's submaps of Oxford RobotCar lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr_core.data.dataset_parts import finite, read_table
from vpr_core.types import Pose

_COLUMNS = {name: "a number" for name in ("timestamp", "northing", "easting")}


class Submap(NamedTuple):
    """A submap of a run, by its stamp [us]."""

    stamp: int
    northing: float | None
    """None where a training tuple does not say it."""
    easting: float | None
    query: bool = True


def read_locations(path: Path) -> dict[int, Submap]:
    """The submaps of a CSV file of locations, by their stamps; raises FramesError where it does not parse."""
    rows = read_table(
        path, _COLUMNS, lambda row: Submap(int(row["timestamp"]), finite(row["northing"]), finite(row["easting"]))
    )
    return {row.stamp: row for row in rows}


def poses_of(located: Mapping[int, Submap]) -> dict[int, Pose]:
    """By stamp: x is easting, y northing, the heading that of the way driven."""
    from vpr_core.data.gnss import headings_rad  # brings SciPy, which --help does without

    stamps = sorted(located)
    positions_m = np.array([(located[stamp].easting, located[stamp].northing, 0.0) for stamp in stamps], float)
    yaws = headings_rad(positions_m.reshape(-1, 3))
    poses = [Pose.from_xy_yaw(float(x), float(y), yaw) for (x, y, _), yaw in zip(positions_m, yaws, strict=True)]
    return dict(zip(stamps, poses, strict=True))


def pose_at(submap: Submap, pose: Pose) -> Pose:
    """The pose where a pickle has the submap, which may know more digits than the CSV file."""
    if submap.easting is None or submap.northing is None:
        return pose
    return Pose((submap.easting, submap.northing, 0.0), pose.quaternion_xyzw)
