"""Image messages in the encodings that cameras send."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vpr_core.data.images import image_from_message
from vpr_core.errors import InputError

RGB = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
JPEG = cv2.imencode(".jpg", RGB)[1].tobytes()


def message(data: np.ndarray, encoding: str, padding: int = 0) -> SimpleNamespace:
    rows = data.reshape(data.shape[0], -1)
    step = rows.nbytes // len(rows) + padding
    raw = b"".join(row.tobytes() + b"\x07" * padding for row in rows)
    return SimpleNamespace(height=data.shape[0], width=data.shape[1], encoding=encoding, is_bigendian=0, step=step,
                           data=raw)  # fmt: skip


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [("rgb8", RGB), ("bgr8", RGB[..., ::-1]), ("rgba8", np.dstack([RGB, RGB[..., 0]])), ("8UC3", RGB[..., ::-1])],
)
def test_colour_comes_out_as_rgb(encoding: str, data: np.ndarray, padding: int) -> None:
    np.testing.assert_array_equal(image_from_message(message(np.ascontiguousarray(data), encoding, padding)), RGB)


def test_grey_fills_three_channels() -> None:
    np.testing.assert_array_equal(image_from_message(message(RGB[..., 0], "mono8")), np.repeat(RGB[..., :1], 3, axis=2))


def test_a_jpeg_is_decoded() -> None:
    jpeg = cv2.imencode(".jpg", RGB[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    image = image_from_message(SimpleNamespace(format="jpeg", data=np.frombuffer(jpeg, np.uint8)))
    expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message(RGB[..., 0].astype(np.uint16), "16UC1"), "encoding .16UC1. is not one of"),
        (message(RGB[..., 0].astype(np.float32), "32FC1"), "encoding .32FC1. is not one of"),
        (message(RGB, "klingon8"), "klingon8"),
        (SimpleNamespace(height=24, width=32, encoding="rgb8", is_bigendian=0, step=96, data=b"short"), "5 bytes came"),
        (SimpleNamespace(height=0, width=0, encoding="rgb8", is_bigendian=0, step=0, data=b""), "0x0 pixels"),
        (SimpleNamespace(format="jpeg", data=JPEG[:400]), "cut off after 400 bytes"),
        (SimpleNamespace(format="jpeg", data=b"no picture"), "10 bytes do not decode"),
        (SimpleNamespace(format="16UC1; png compressedDepth", data=b"x"), "is depth"),
        (SimpleNamespace(format="jpeg", data=b""), "without data"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(bad: SimpleNamespace, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        image_from_message(bad)
