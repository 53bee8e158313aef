"""sensor_msgs/Image and CompressedImage to RGB, from rclpy's message or a bag reader's alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rosbags.image import ImageError, message_to_cvimage

from vpr_core.errors import InputError
from vpr_core.preprocess import decode_image

_BYTES_PER_PIXEL = {
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "mono16": 2, "8UC1": 1, "8UC3": 3,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
    "yuv422": 2, "yuv422_yuy2": 2, "uyvy": 2, "yuyv": 2,
}  # fmt: skip
ACCEPTED_ENCODINGS = tuple(_BYTES_PER_PIXEL)

# Names that Jazzy gave to what Humble knows only by the older one, and what OpenCV's bare types mean by convention.
_COMMON_NAME = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2", "8UC1": "mono8", "8UC3": "bgr8"}

# image_transport writes "bgr8; jpeg compressed bgr8", or only "jpeg"; depth is announced in the same field.
_DEPTH_FORMAT = re.compile(r"compresseddepth|^(16UC1|32FC1)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PackedImage:
    """What a converter reads of sensor_msgs/Image, checked, its rows without padding."""

    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: np.ndarray


def image_from_message(message: Any) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an Image, a PackedImage or a CompressedImage.

    Raises InputError, whose `kind` says which: "encoding" (no colour or grey picture), "empty" (no pixels),
    "truncated" (less data than height, width and step promise), "undecodable".
    """
    if hasattr(message, "format"):
        return _decoded(message)
    packed = message if isinstance(message, PackedImage) else packed_image(message)
    try:
        bgr = message_to_cvimage(packed, "bgr8")  # type: ignore[arg-type]  # it reads no other fields
    except (ImageError, ValueError, TypeError, cv2.error) as error:
        raise InputError(
            f"image {packed.width}x{packed.height} with encoding {packed.encoding} cannot be converted ({error})",
            kind="undecodable",
        ) from error
    return cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2RGB)


def label_from_message(message: Any) -> np.ndarray:
    """uint8 [H, W], one class a pixel, of an Image with encoding mono8 or 8UC1, or of a CompressedImage that is a PNG.

    Raises InputError as `image_from_message` does; a JPEG is refused ("encoding"), for it invents classes.
    """
    if hasattr(message, "format"):
        return decode_label(bytes(message.data))
    if message.encoding not in ("mono8", "8UC1"):
        raise InputError(f"label encoding {message.encoding!r} is not one of mono8, 8UC1", kind="encoding")
    packed = packed_image(message)
    return packed.data.reshape(packed.height, packed.width)


def decode_label(data: bytes) -> np.ndarray:
    """The bytes of a grey PNG of 8 bits to uint8 [H, W]; raises InputError."""
    if not data.startswith(b"\x89PNG"):
        raise InputError(f"label image of {len(data)} bytes is no PNG: classes survive no other compression",
                         kind="encoding")  # fmt: skip
    label = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if label is None:
        raise InputError(f"label image of {len(data)} bytes does not decode", kind="undecodable")
    if label.dtype != np.uint8 or label.ndim != 2:
        raise InputError(f"label image is {label.dtype} {list(label.shape)}, expected uint8 [H, W]", kind="encoding")
    return label


def packed_image(message: Any) -> PackedImage:
    """A sensor_msgs/Image checked and without padding; raises InputError as `image_from_message` does."""
    pixel_bytes = _BYTES_PER_PIXEL.get(message.encoding)
    if pixel_bytes is None:
        accepted = ", ".join(ACCEPTED_ENCODINGS)
        raise InputError(f"image encoding {message.encoding!r} is not one of {accepted}", kind="encoding")
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height == 0 or width == 0:
        raise InputError(f"image is of {width}x{height} pixels", kind="empty")
    row = width * pixel_bytes
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < height * step:
        raise InputError(
            f"{width}x{height} {message.encoding} image needs {height} rows of at least {row} bytes; "
            f"its step is {step} and {data.size} bytes came",
            kind="truncated",
        )
    rows = np.ascontiguousarray(data[: height * step].reshape(height, step)[:, :row])
    encoding = _COMMON_NAME.get(message.encoding, message.encoding)
    return PackedImage(height, width, encoding, bool(message.is_bigendian), row, rows)


def _decoded(message: Any) -> np.ndarray:
    if _DEPTH_FORMAT.search(message.format):
        raise InputError(f"compressed image {message.format!r} is depth, expected a picture", kind="encoding")
    return decode_image(bytes(message.data))
