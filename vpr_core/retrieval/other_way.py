"""A LiDAR map's places as a vehicle sees them that drives the same street the other way.

A LiDAR looks all around, so what it will see then is known from the same sweep: the sweep turned half round. With such
places beside its own a map knows its streets in both directions, and nothing that searches, calibrates, filters or
registers has to know of it: each has the pose of a vehicle that faces the other way.
"""

from __future__ import annotations

from dataclasses import replace

from vpr_core.data.poses import compose
from vpr_core.data.turned import HALF_TURN
from vpr_core.retrieval.place_map import Place

SESSION_ENDING = "-other-way"


def turned_place(place: Place) -> Place:
    """The place of a vehicle that stands there the other way round, in a session of its own."""
    pose = None if place.pose is None else compose(place.pose, HALF_TURN)
    return replace(place, session=place.session + SESSION_ENDING, pose=pose)
