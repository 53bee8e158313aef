"""Which places of a database a query is to be recognised as."""

from __future__ import annotations

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.places import facing, within


def true_places(
    database: Frames, queries: Frames, radius_m: float, max_heading_deg: float | None = None
) -> list[np.ndarray]:
    """For each query the sorted rows of the database within `radius_m` in x and y.

    max_heading_deg: and whose heading differs by no more than this, as MSLS has it with 40 degrees; None takes all.
    Raises FramesError in a drive without poses.
    """
    found = within(database.positions_m, queries.positions_m, radius_m)
    if max_heading_deg is None:
        return found
    return facing(found, headings_rad(database), headings_rad(queries), np.radians(max_heading_deg))


def headings_rad(drive: Frames) -> np.ndarray:
    """[N] heading of each frame about z, counter-clockwise from the map's x axis.

    Where every frame has one and the same orientation, as where their source gives none, it is the heading of
    travel between the frame's neighbours. Raises FramesError in a drive without poses.
    """
    positions_m = drive.positions_m
    orientations = {frame.pose.quaternion_xyzw for frame in drive.frames if frame.pose}
    if len(orientations) == 1 and len(drive) > 1:
        along = np.gradient(positions_m[:, :2], axis=0)
        return np.arctan2(along[:, 1], along[:, 0])
    return np.array([frame.pose.yaw_rad for frame in drive.frames if frame.pose])
