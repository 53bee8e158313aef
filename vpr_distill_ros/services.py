"""The localizer's services: what they are asked for, and their replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from vpr_core.errors import InputError
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.interfaces import LoadMap, QueryPlace
from vpr_distill_ros.loaded_map import LoadedMap
from vpr_distill_ros.loading import one_line


class Services:
    """~/query and ~/load_map of a node.

    answer: places for what a query asks about. replace: has a folder's map answer from now on, and returns it. What
    they raise is replied.
    """

    def __init__(
        self, node: Node, answer: Callable[[QueryPlace.Request], Answer], replace: Callable[[str], LoadedMap]
    ) -> None:
        self._answer, self._replace = answer, replace
        # Apart from the rest, so that a query or the loading of a map holds up neither frames nor transitions.
        group = MutuallyExclusiveCallbackGroup()
        node.create_service(QueryPlace, "~/query", self._on_query, callback_group=group)
        node.create_service(LoadMap, "~/load_map", self._on_load_map, callback_group=group)

    def _on_query(self, request: QueryPlace.Request, response: QueryPlace.Response) -> QueryPlace.Response:
        try:
            answer = self._answer(request)
        except Exception as error:
            response.message = one_line(error)
            return response
        response.success = True
        response.result = answer.message()
        return response

    def _on_load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        try:
            recognizer = self._replace(request.folder).recognizer
        except Exception as error:
            response.message = one_line(error)
            return response
        response.success = True
        response.map_hash = recognizer.map_hash
        response.places = recognizer.num_places
        return response


def asked(request: QueryPlace.Request, sees: str, newest: Any) -> Any:
    """What ~/query asks about. A camera's: the request's image, or the newest live one. A LiDAR's: the newest live
    cloud, and no image.

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
