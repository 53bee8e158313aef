"""Image messages to arrays: sensor_msgs Image and CompressedImage to RGB, through cv_bridge where it works.

Where it does not, `vpr_core` converts, by rosbags-image, as it does for bags. Both colour-convert with OpenCV and
give the same array. Everything that a sensor can get wrong is checked before either sees the message.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.data.images import image_from_message
from vpr_core.errors import InputError

_BYTES_PER_PIXEL = {
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "mono16": 2,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
    "yuv422": 2, "yuv422_yuy2": 2, "uyvy": 2, "yuyv": 2,
}  # fmt: skip
ACCEPTED_ENCODINGS = tuple(_BYTES_PER_PIXEL)

# Names that Jazzy gave to what Humble's cv_bridge knows only by the older one.
_OLDER_NAME = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}

# image_transport writes "bgr8; jpeg compressed bgr8", or only "jpeg"; depth is announced in the same field.
_DEPTH_FORMAT = re.compile(r"compresseddepth|^(16UC1|32FC1)\b", re.IGNORECASE)


class ImageRefusedError(InputError):
    """An image message that cannot be used; `kind` is a short key under which a node counts it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class _PackedImage:
    """What both converters read of sensor_msgs/Image, its rows without padding."""

    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: np.ndarray


def image_to_rgb(message: Any) -> np.ndarray:
    """The picture in a sensor_msgs/Image or CompressedImage as uint8 [H, W, 3], RGB.

    Raises ImageRefusedError for an encoding that holds no colour or grey picture, for a picture of no size, for data
    that is shorter than its height, width and step promise, and for compressed bytes that do not decode.
    """
    compressed = hasattr(message, "format")
    image = _checked_format(message) if compressed else _packed(message)
    # cv_bridge rounds 16 bits to 8 where rosbags-image truncates, and fails on a grey JPEG.
    if not compressed and image.encoding != "mono16" and cv_bridge_works():
        with contextlib.suppress(Exception):  # an older one lacks some encodings
            return np.ascontiguousarray(convert_by_cv_bridge(image))
    try:
        return np.ascontiguousarray(image_from_message(image))
    except Exception as error:  # OpenCV raises several unrelated classes
        raise ImageRefusedError("undecodable", f"image cannot be decoded: {error}") from error


def _checked_format(message: Any) -> Any:
    if _DEPTH_FORMAT.search(message.format):
        raise ImageRefusedError("encoding", f"compressed image {message.format!r} is depth, expected a picture")
    if not len(message.data):
        raise ImageRefusedError("empty", "compressed image without data")
    if _is_cut_off(bytes(message.data)):
        raise ImageRefusedError("truncated", f"JPEG was cut off after {len(message.data)} bytes")
    return message


def _is_cut_off(data: bytes) -> bool:
    """Whether a JPEG lacks its end; OpenCV would decode the part that came and fill up with grey.

    The marker of the end (FF D9) cannot occur in a scan (FF DA) [ITU-T T.81 B.1.1.2]; a thumbnail's precedes it.
    """
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")


def _packed(message: Any) -> _PackedImage:
    pixel_bytes = _BYTES_PER_PIXEL.get(message.encoding)
    if pixel_bytes is None:
        accepted = ", ".join(ACCEPTED_ENCODINGS)
        raise ImageRefusedError("encoding", f"image encoding {message.encoding!r} is not one of {accepted}")
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ImageRefusedError("empty", f"image of {width} x {height} pixels")
    row = width * pixel_bytes
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < height * step:
        raise ImageRefusedError(
            "truncated",
            f"{width} x {height} {message.encoding} image needs {height} rows of at least {row} bytes; "
            f"its step is {step} and {data.size} bytes came",
        )
    # cv_bridge misreads padding that is no whole number of pixels.
    rows = np.ascontiguousarray(data[: height * step].reshape(height, step)[:, :row])
    encoding = _OLDER_NAME.get(message.encoding, message.encoding)
    return _PackedImage(height, width, encoding, bool(message.is_bigendian), row, rows)


def convert_by_cv_bridge(image: Any) -> np.ndarray:
    """sensor_msgs/Image to uint8 [H, W, 3] RGB by cv_bridge."""
    from cv_bridge import CvBridge

    return CvBridge().imgmsg_to_cv2(image, "rgb8")


@functools.cache
def cv_bridge_works() -> bool:
    """Whether cv_bridge is there and converts; the first call may take a second.

    A cv_bridge built for NumPy 1 imports under NumPy 2 and takes the process down at its first conversion
    (vision_opencv#535). Only a conversion tells, and only in another process is it safe.
    """
    if importlib.util.find_spec("cv_bridge") is None:
        return False
    try:
        tried = subprocess.run([sys.executable, "-c", _TRY_CV_BRIDGE], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


_TRY_CV_BRIDGE = """
from types import SimpleNamespace
from cv_bridge import CvBridge
pixel = SimpleNamespace(height=1, width=1, encoding="bgr8", is_bigendian=False, step=3, data=bytes([10, 20, 30]))
assert CvBridge().imgmsg_to_cv2(pixel, "rgb8").tolist() == [[[30, 20, 10]]]
"""
