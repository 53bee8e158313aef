"""Image messages to arrays: sensor_msgs Image and CompressedImage to RGB, through cv_bridge where it works.

Where it does not, `vpr_core` converts, as it does for bags. Both colour-convert with OpenCV and give the same array;
`vpr_core` checks everything that a sensor can get wrong before either sees the message.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np

from vpr_core.data.images import PackedImage, image_from_message, packed_image


def image_to_rgb(message: Any) -> np.ndarray:
    """The picture in a sensor_msgs/Image or CompressedImage as uint8 [H, W, 3], RGB.

    Raises InputError as `vpr_core.data.images.image_from_message` does.
    """
    if hasattr(message, "format"):  # cv_bridge fails on a grey JPEG
        return image_from_message(message)
    image = packed_image(message)
    # cv_bridge rounds 16 bits to 8 where rosbags-image truncates.
    if image.encoding != "mono16" and cv_bridge_works():
        with contextlib.suppress(Exception):  # an older one lacks some encodings
            return np.ascontiguousarray(convert_by_cv_bridge(image))
    return image_from_message(image)


def convert_by_cv_bridge(image: PackedImage) -> np.ndarray:
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
