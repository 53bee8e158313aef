"""sensor_msgs/Image and CompressedImage to RGB, from rclpy's message or a bag reader's alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from rosbags.image import ImageError, message_to_cvimage
from rosbags.image.image import to_cvtype

from vpr_core.errors import InputError
from vpr_core.preprocess import decode_image

# Depth and disparity have no colour to recognise a place by.
_NOT_COLOUR = ("16SC", "16UC", "32SC", "32FC", "64FC")


def image_from_message(message: Any) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an Image or CompressedImage message.

    Raises InputError on an encoding that holds no colour or grey picture, and on data that does not decode.
    """
    if hasattr(message, "format"):
        return decode_image(bytes(message.data))
    if message.encoding.startswith(_NOT_COLOUR):
        raise InputError(f"image encoding {message.encoding} is not a colour or grey picture; send rgb8, bgr8 or mono8")
    try:
        bgr = message_to_cvimage(_without_padding(message), "bgr8")
    except (ImageError, ValueError, KeyError, TypeError, cv2.error) as error:
        raise InputError(
            f"image {message.width}x{message.height} with encoding {message.encoding!r} cannot be read ({error}); "
            "expected rgb8, bgr8, rgba8, bgra8, mono8, mono16, a Bayer or a YUV 4:2:2 encoding"
        ) from error
    return cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2RGB)


def _without_padding(message: Any) -> Any:
    """The message with rows that follow each other directly; drivers may pad each row to a multiple of some bytes."""
    bytes_per_row = len(message.data) // message.height if message.height else 0
    if message.step <= 0 or bytes_per_row < message.step:
        return message
    rows = np.frombuffer(message.data, np.uint8)[: message.height * message.step].reshape(message.height, message.step)
    packed = _packed_row_bytes(message)
    if packed >= message.step:
        return message
    return SimpleNamespace(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        is_bigendian=message.is_bigendian,
        data=np.ascontiguousarray(rows[:, :packed]),
    )


def _packed_row_bytes(message: Any) -> int:
    _, _, dtype, channels = to_cvtype(message.encoding)
    return int(message.width * channels * np.dtype(dtype).itemsize)
