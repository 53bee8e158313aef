"""Image messages to arrays, encoding by encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from vpr_core.data.images import ACCEPTED_ENCODINGS, image_from_message
from vpr_core.errors import InputError
from vpr_distill_ros.images import convert_by_cv_bridge, cv_bridge_works, image_to_rgb

RGB = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
GREY = RGB[:, :, 0]
# Red, green, blue, white and a grey in BT.601's Y, U, V with Y in 16..235 [ITU-R BT.601].
YUV = {
    (255, 0, 0): (81, 90, 240),
    (0, 255, 0): (145, 54, 34),
    (0, 0, 255): (41, 240, 110),
    (255, 255, 255): (235, 128, 128),
}


def image(data: np.ndarray, encoding: str, width: int, height: int, step: int | None = None) -> Image:
    message = Image(encoding=encoding, width=width, height=height, step=step or data.nbytes // height)
    message.data.frombytes(np.ascontiguousarray(data).tobytes())
    return message


def of_rgb(encoding: str) -> Image:
    alpha = np.full_like(RGB[:, :, :1], 7)
    data = {
        "rgb8": RGB,
        "bgr8": RGB[:, :, ::-1],
        "rgba8": np.concatenate([RGB, alpha], axis=2),
        "bgra8": np.concatenate([RGB[:, :, ::-1], alpha], axis=2),
    }[encoding]
    return image(data, encoding, 10, 6)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_colour_keeps_every_value(encoding: str) -> None:
    assert np.array_equal(image_to_rgb(of_rgb(encoding)), RGB)


def test_grey_is_repeated_in_three_channels() -> None:
    assert np.array_equal(image_to_rgb(image(GREY, "mono8", 10, 6)), np.stack([GREY] * 3, axis=2))


@pytest.mark.parametrize("bigendian", [False, True])
def test_sixteen_bits_lose_their_lower_half(bigendian: bool) -> None:
    message = image((GREY.astype(np.uint16) << 8).astype(">u2" if bigendian else "<u2"), "mono16", 10, 6)
    message.is_bigendian = bigendian
    difference = image_to_rgb(message).astype(int) - np.stack([GREY] * 3, axis=2)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_of_one_colour_is_that_colour(pattern: str) -> None:
    value = {"r": 200, "g": 100, "b": 50}
    mosaic = np.tile(np.array([[value[char] for char in pattern]], np.uint8).reshape(2, 2), (4, 5))
    rgb = image_to_rgb(image(mosaic, f"bayer_{pattern}8", 10, 8))
    assert rgb.shape == (8, 10, 3) and (rgb == [200, 100, 50]).all()


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
@pytest.mark.parametrize("rgb", YUV)
def test_yuv_follows_bt601(encoding: str, rgb: tuple[int, int, int]) -> None:
    y, u, v = YUV[rgb]
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    converted = image_to_rgb(image(np.tile(np.array(pair, np.uint8), (4, 3)), encoding, 6, 4))
    assert converted.shape == (4, 6, 3)
    assert np.abs(converted.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("padding", [1, 2, 3, 5])
def test_row_padding_is_left_out(padding: int) -> None:
    padded = np.concatenate([RGB.reshape(6, 30), np.full((6, padding), 255, np.uint8)], axis=1)
    assert np.array_equal(image_to_rgb(image(padded, "rgb8", 10, 6, step=30 + padding)), RGB)


def compressed(format_name: str, data: bytes) -> CompressedImage:
    message = CompressedImage(format=format_name)
    message.data.frombytes(data)
    return message


def test_compressed_png_keeps_every_value() -> None:
    data = cv2.imencode(".png", RGB[:, :, ::-1])[1].tobytes()
    assert np.array_equal(image_to_rgb(compressed("bgr8; png compressed bgr8", data)), RGB)


def test_grey_jpeg_becomes_three_equal_channels() -> None:
    data = cv2.imencode(".jpg", np.full((16, 24), 90, np.uint8))[1].tobytes()
    rgb = image_to_rgb(compressed("mono8; jpeg compressed mono8", data))
    assert rgb.shape == (16, 24, 3) and (rgb == 90).all()


def test_jpeg_with_bytes_after_its_end_is_whole() -> None:
    assert np.array_equal(image_to_rgb(compressed("jpeg", JPEG + bytes(100))), image_to_rgb(compressed("jpeg", JPEG)))


JPEG = cv2.imencode(".jpg", np.tile(RGB, (8, 8, 1)))[1].tobytes()


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (image(np.zeros(120, np.uint8), "16UC1", 10, 6), "encoding", "16UC1"),
        (image(np.zeros(240, np.uint8), "32FC1", 10, 6), "encoding", "32FC1"),
        (image(np.zeros(60, np.uint8), "", 10, 6), "encoding", "''"),
        (image(np.zeros(60, np.uint8), "jpeg", 10, 6), "encoding", "jpeg"),
        (Image(encoding="rgb8"), "empty", "0x0"),
        (Image(encoding="rgb8", width=10), "empty", "10x0"),
        (image(RGB[:5], "rgb8", 10, 6, step=30), "truncated", "150 bytes"),
        (image(RGB, "rgb8", 10, 6, step=20), "truncated", "step is 20"),
        (compressed("jpeg", b""), "empty", "without data"),
        (compressed("jpeg", b"\x00" * 500), "undecodable", "500 bytes"),
        (compressed("jpeg", JPEG[:200]), "truncated", "200 bytes"),
        (compressed("jpeg", JPEG[: len(JPEG) // 2]), "truncated", "cut off"),
        (compressed("jpeg", JPEG[:-2]), "truncated", "cut off"),
        (compressed("16UC1; compressedDepth png", JPEG), "encoding", "depth"),
        (compressed("32FC1; tiff", JPEG), "encoding", "depth"),
    ],
)
def test_what_is_no_picture_is_refused(message: Image | CompressedImage, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        image_to_rgb(message)
    assert refused.value.kind == kind


def test_a_refused_encoding_names_those_accepted() -> None:
    with pytest.raises(InputError) as refused:
        image_to_rgb(image(np.zeros(120, np.uint8), "16UC1", 10, 6))
    assert all(encoding in str(refused.value) for encoding in ACCEPTED_ENCODINGS)


@pytest.mark.parametrize("encoding", [name for name in ACCEPTED_ENCODINGS if name not in ("mono16", "uyvy", "yuyv")])
def test_cv_bridge_and_rosbags_image_give_the_same_array(encoding: str) -> None:
    if not cv_bridge_works():
        pytest.skip("cv_bridge is absent, or was built for another NumPy")
    from cv_bridge import CvBridgeError

    bytes_per_pixel = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "yuv422": 2, "yuv422_yuy2": 2}.get(encoding, 1)
    data = np.random.default_rng(1).integers(0, 256, (48, 64 * bytes_per_pixel), np.uint8)
    message = image(data, encoding, 64, 48)
    try:
        by_cv_bridge = convert_by_cv_bridge(message)
    except CvBridgeError as error:
        pytest.skip(str(error))  # an older one lacks yuv422_yuy2; the node then takes the other way
    assert np.array_equal(by_cv_bridge, image_from_message(message))


@pytest.mark.parametrize(
    "source",
    [
        "raise AttributeError('_ARRAY_API not found')",
        "raise ImportError('numpy.core.multiarray')",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "",
    ],
)
def test_a_cv_bridge_that_does_not_work_is_passed_over(source: str, tmp_path: Path) -> None:
    """Built for NumPy 1 it fails under NumPy 2 in each of these ways."""
    (tmp_path / "cv_bridge").mkdir()
    (tmp_path / "cv_bridge" / "__init__.py").write_text(source)
    code = (
        "from sensor_msgs.msg import Image\n"
        "from vpr_distill_ros.images import cv_bridge_works, image_to_rgb\n"
        "image = Image(encoding='bgr8', width=1, height=1, step=3, data=[1, 2, 3])\n"
        "print(cv_bridge_works(), image_to_rgb(image).tolist())\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, cwd=root, capture_output=True, text=True
    )
    assert result.stdout.strip() == "False [[[3, 2, 1]]]", result.stderr
