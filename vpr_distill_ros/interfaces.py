"""The project's own messages and services; the one place that tells how to get them where they are missing."""

from __future__ import annotations

try:
    from vpr_distill_msgs.msg import FilteredPlace, PlaceMatch, PlaceMatchArray
    from vpr_distill_msgs.srv import LoadMap, QueryPlace
except ImportError as error:
    raise ImportError(
        "vpr_distill_msgs cannot be imported: build it with "
        "`colcon build --base-paths . vpr_distill_msgs` and source install/setup.bash",
        name="vpr_distill_msgs",
    ) from error

__all__ = ["FilteredPlace", "LoadMap", "PlaceMatch", "PlaceMatchArray", "QueryPlace"]
