"""The camera of live images as its CameraInfo tells, and candidates checked by what such an image shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import CameraInfo

from vpr_core.data.camera_info import camera_info_beside
from vpr_core.errors import InputError
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Pose, Recognition
from vpr_distill_ros.localizer_parameters import BESIDE_IMAGE, LocalizerParameters

if TYPE_CHECKING:
    from vpr_core.retrieval.verify_camera import CameraVerifier

_TYPES = {"sensor_msgs/msg/CameraInfo": CameraInfo}


class QueryCamera:
    """Keeps the newest CameraInfo; `topic` is empty where none is needed, and then the map's camera is taken."""

    def __init__(self, values: LocalizerParameters) -> None:
        wanted = values.verifies is not False and values.modality == "camera"
        given = values.camera_info_topic
        self.topic = (camera_info_beside(values.image_topic) if given == BESIDE_IMAGE else given) if wanted else ""
        self._camera: CameraModel | None = None
        self._complaint = (
            f"no CameraInfo has come on {self.topic} yet: set camera_info_topic to where it is published, or to '' if "
            "the camera is the one that the map was made with"
        )

    @property
    def state(self) -> str:
        """For /diagnostics: the size of the images that it is of, or what is wrong; "" where none is needed."""
        camera = self._camera if self.topic else None
        return f"{camera.width}x{camera.height}" if camera else self._complaint if self.topic else ""

    def open(self, open_input: Callable[..., None]) -> None:
        """Take CameraInfo, where it is needed, through `open_input` of the node; raises InputError where ROS refuses
        it."""
        if self.topic:
            open_input(self.topic, _TYPES, "set camera_info_topic", self._take)

    def _take(self, message: CameraInfo) -> None:
        about = {"K": message.k, "D": message.d, "width": message.width, "height": message.height,
                 "distortion_model": message.distortion_model}  # fmt: skip
        try:
            self._camera, self._complaint = CameraModel.of(about, f"the CameraInfo on {self.topic}"), ""
        except InputError as error:
            self._camera, self._complaint = None, str(error)

    def of(self, image: np.ndarray) -> CameraModel | None:
        """The camera of an image [H, W, 3]; None where it is the map's. Raises InputError where it is not known."""
        if not self.topic:
            return None
        camera = self._camera
        if camera is None:
            raise InputError(self._complaint, kind="camera_info")
        camera.check_size((image.shape[1], image.shape[0]), f"the CameraInfo on {self.topic}")
        return camera


class LiveCameraVerifier:
    """A `CameraVerifier` for images of which CameraInfo tells the camera; for one thread."""

    def __init__(self, verifier: CameraVerifier, camera: QueryCamera) -> None:
        self._verifier, self._camera = verifier, camera

    def verify(self, image: np.ndarray, recognition: Recognition, T_base_camera: Pose | None = None) -> Verification:
        """As `CameraVerifier.verify`; where the camera is not known nothing is verified, for that reason."""
        try:
            camera = self._camera.of(image)
        except InputError as error:
            return Verification(None, str(error), ())
        return self._verifier.verify(image, recognition, T_base_camera, camera)
