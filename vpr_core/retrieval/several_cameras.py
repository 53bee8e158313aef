"""Images that several cameras of one vehicle took at one moment, recognised as one query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.data.camera_sets import ImageSet
from vpr_core.data.poses import compose, inverse
from vpr_core.data.stamps import header_stamp_ns
from vpr_core.data.usable import KINDS, Watch
from vpr_core.errors import InputError
from vpr_core.preprocess import check_aspect, check_image
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.types import Pose, Recognition


@dataclass(frozen=True)
class Seen:
    """What several cameras recognise, and which of them sees what."""

    recognition: Recognition
    cameras: tuple[int, ...]
    """By match, the number of the camera that sees the most of the place."""


class Cameras:
    """Looks at the images of several cameras, each as those before it from the same camera have been.

    names: of the cameras, for what is told. to_array: a message to an RGB uint8 image [H, W, 3]; raises InputError.
    For one thread at a time.
    """

    def __init__(self, names: Sequence[str], to_array: Callable[[Any], np.ndarray]) -> None:
        self.names = tuple(names)
        self.refused: Counter[tuple[int, str]] = Counter()
        """Images that were not worth a query, by number of the camera and kind of the InputError."""
        self.complaints = [""] * len(self.names)
        """Why the newest image of a camera was not worth a query; empty where it was."""
        self._to_array = to_array
        self._watches = [Watch() for _ in names]

    def recognize(
        self,
        recognizer: PlaceRecognizer,
        taken: ImageSet[Any],
        top_k: int | None = None,
        refuse: Collection[str] = KINDS,
    ) -> Seen:
        """Places for messages of one moment, by those of them that show something.

        Raises InputError where none does, for the reason of the first, and as `PlaceRecognizer.recognize_many`.
        """
        images = self._usable(recognizer, taken.images, refuse)
        recognition, which = recognizer.recognize_many(list(images.values()), taken.stamp_ns, top_k)
        numbers = tuple(images)
        return Seen(recognition, tuple(numbers[one] for one in which))

    def _usable(
        self, recognizer: PlaceRecognizer, messages: Mapping[int, Any], refuse: Collection[str]
    ) -> dict[int, np.ndarray]:
        images, errors = {}, []
        for camera, message in messages.items():
            try:
                image = self._to_array(message)
                self._watches[camera].see(image, header_stamp_ns(message), refuse)
                check_image(image)
                check_aspect(image, *recognizer.place_map.image_size or (image.shape[1], image.shape[0]))
            except InputError as error:
                self.refused[camera, error.kind] += 1
                self.complaints[camera] = f"{self.names[camera]}: {error}"
                errors.append(InputError(self.complaints[camera], error.kind))
                continue
            images[camera], self.complaints[camera] = image, ""
        if not images:
            raise errors[0]
        return images


def turn(T_base_first: Pose, T_base_camera: Pose) -> Pose:
    """T_place_base: how a vehicle stands to a place that one of its cameras sees as the map's saw it.

    T_base_first: of the camera that is mounted as the map's was. T_base_camera: of the one that sees the place.
    A picture says where its camera stands and which way it looks, so the vehicle is `T_base_first` inverse(
    `T_base_camera`) from where the map's was. It stands on the same road: height and tilt are the place's.
    """
    whole = compose(T_base_first, inverse(T_base_camera))
    yaw_rad = whole.yaw_rad
    turned = Pose.from_xy_yaw(0.0, 0.0, yaw_rad)
    x, y, _ = compose(turned, Pose((-T_base_camera.position_m[0], -T_base_camera.position_m[1], 0.0))).position_m
    return Pose.from_xy_yaw(T_base_first.position_m[0] + x, T_base_first.position_m[1] + y, yaw_rad)
