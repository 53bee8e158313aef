"""What the service ~/query asks about."""

from __future__ import annotations

from typing import Any

from vpr_core.errors import InputError
from vpr_distill_ros.interfaces import QueryPlace


def asked(request: QueryPlace.Request, sees: str, newest: Any) -> Any:
    """A camera's: the request's image, or the newest live one. A LiDAR's: the newest live cloud, and no image.

    sees: "image" or "cloud". newest: what came live, None where nothing has.
    Raises InputError where there is none, and for an image sent to a LiDAR.
    """
    if len(request.image.data) and sees == "image":
        return request.image
    if len(request.image.data):
        raise InputError(
            f"the request holds an image of {len(request.image.data)} bytes, the model recognises places by LiDAR: "
            "leave the image empty to ask about the newest live cloud"
        )
    if newest is None:
        if sees == "cloud":
            raise InputError("no live cloud has come: activate the node, and see that clouds come on its topic")
        raise InputError("the request holds no image and no live image has come: send one, or activate the node")
    return newest
