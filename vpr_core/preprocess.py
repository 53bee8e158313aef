"""Images on their way into a network: one function for training, export, the command line and the robot."""

from __future__ import annotations

import cv2
import numpy as np

from vpr_core.errors import InputError

ASPECT_TOLERANCE = 0.02
"""How far the ratio width / height of a query image may be from that of the map's images (relative)."""


def decode_image(data: bytes) -> np.ndarray:
    """A JPEG or PNG file's bytes to RGB uint8 [H, W, 3]; raises InputError where they are cut off or no picture."""
    if not data:
        raise InputError("compressed image without data", kind="empty")
    if _is_cut_off(data):
        raise InputError(f"JPEG was cut off after {len(data)} bytes", kind="truncated")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(
            f"{len(data)} bytes do not decode as an image: expected a JPEG or PNG file", kind="undecodable"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_cut_off(data: bytes) -> bool:
    """Whether a JPEG lacks its end; OpenCV would decode the part that came and fill up with grey.

    The marker of the end (FF D9) cannot occur in a scan (FF DA) [ITU-T T.81 B.1.1.2]; a thumbnail's precedes it.
    """
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")


def check_image(image: np.ndarray) -> None:
    """Raise InputError unless `image` is uint8 [H, W, 3] with at least 16 pixels a side."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 16:
        raise InputError(
            f"image is {image.dtype} {list(image.shape)}, expected RGB uint8 [H, W, 3] of 16 pixels or more"
        )


def check_aspect(image: np.ndarray, width_px: int, height_px: int) -> None:
    """Raise InputError unless the image has the shape (not necessarily the size) of the map's images."""
    height, width = image.shape[:2]
    if abs(width * height_px / (height * width_px) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"image is {width}x{height}, the map was made with images of {width_px}x{height_px}: "
            "another camera or crop; make the map with this camera, or send its images"
        )


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """RGB uint8 [H, W, 3] to [height, width, 3]; area averaging, so that shrinking does not alias."""
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
