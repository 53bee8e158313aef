"""Where a camera's CameraInfo is published."""

from __future__ import annotations

_COMPRESSIONS = ("compressed", "compressedDepth", "theora", "ffmpeg", "zstd")


def camera_info_beside(image_topic: str) -> str:
    """The topic that image_transport pairs with an image topic: camera_info in place of its last name."""
    parts = image_topic.split("/")
    image = parts[:-1] if parts[-1] in _COMPRESSIONS else parts
    return "/".join([*image[:-1], "camera_info"])
