"""Intrinsics and distortion as ROS has them: rays and back, other sizes, and what is no calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.errors import InputError
from vpr_core.retrieval.camera_model import CameraModel

ABOUT: dict[str, Any] = {"K": [400.0, 0, 319.5, 0, 410.0, 239.5, 0, 0, 1], "D": [], "width": 640, "height": 480,
                         "distortion_model": "plumb_bob"}  # fmt: skip
DISTORTED = {
    "plumb_bob": [-0.3, 0.1, 0.001, -0.002, -0.01],
    "rational_polynomial": [-0.25, 0.05, 0.001, 0.001, 0.0, 0.05, 0.01, 0.0],
    "equidistant": [0.05, -0.01, 0.002, 0.0],
}


def camera(**changes: Any) -> CameraModel:
    return CameraModel.of({**ABOUT, **changes}, "the test's camera")


def grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.4, 0.4, 5)), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("model", DISTORTED)
def test_rays_lead_back_to_their_pixels(model: str) -> None:
    bent = camera(D=DISTORTED[model], distortion_model=model)
    pixels = bent.pixels(grid())
    assert np.abs(pixels - camera().pixels(grid())).max() > 2.0
    np.testing.assert_allclose(bent.rays(pixels, (640, 480)), grid(), atol=2e-4)


def test_without_distortion_a_ray_is_arithmetic() -> None:
    np.testing.assert_allclose(camera().rays(np.array([[319.5, 239.5], [719.5, 34.5]]), (640, 480)),
                               [[0.0, 0.0], [1.0, -0.5]], atol=1e-9)  # fmt: skip
    for model in ("", "none", "equidistant"):
        assert camera(distortion_model=model).rays(np.empty((0, 2)), (640, 480)).shape == (0, 2)


def test_a_picture_of_another_size_looks_the_same_way() -> None:
    """Corners of pixels, not their centres, are what scales."""
    large = camera(D=DISTORTED["plumb_bob"])
    points = np.array([[10.0, 20.0], [319.5, 239.5], [600.0, 400.0]])
    half = (points + 0.5) / 2 - 0.5
    np.testing.assert_allclose(large.rays(half, (320, 240)), large.rays(points, (640, 480)), atol=1e-9)
    assert large.focal_px((320, 240)) == pytest.approx(202.5)


def test_where_the_distortion_leads_nowhere_there_is_no_ray() -> None:
    """Barrel distortion folds back: no ray has such a pixel."""
    folded = camera(D=[-0.6, 0.0, 0.0, 0.0])
    rays = folded.rays(np.array([[319.5, 239.5], [639.0, 479.0]]), (640, 480))
    assert np.isfinite(rays[0]).all() and np.isnan(rays[1]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"K": [0.0] * 9}, "the camera is not calibrated"),
        ({"K": [400.0, 0, 320, 0, float("nan"), 240, 0, 0, 1]}, "the camera is not calibrated"),
        ({"K": [400.0]}, "expected 9 numbers"),
        ({"D": [0.1] * 3}, "has 3 coefficients, plumb_bob has 0 or 4 or 5"),
        ({"D": [0.1] * 5, "distortion_model": "equidistant"}, "equidistant has 0 or 4"),
        ({"distortion_model": "kannala"}, "distortion model 'kannala', expected one of plumb_bob, rational"),
        ({"width": 0}, "images of 0x480"),
        ({"K": "none"}, "is no camera's calibration"),
    ],
)
def test_what_is_no_calibration_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        camera(**changes)
    assert refused.value.kind == "camera_info" and "the test's camera" in str(refused.value)


def test_images_of_another_size_are_refused() -> None:
    camera().check_size((640, 480), "it")
    with pytest.raises(InputError, match="it is of images of 640x480, they are 320x240"):
        camera().check_size((320, 240), "it")


def test_the_card_comes_back() -> None:
    bent = camera(D=DISTORTED["equidistant"], distortion_model="fisheye")
    assert CameraModel.of(bent.card, "card") == bent and bent.card["distortion_model"] == "equidistant"


def test_ros_s_calibration_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: front\n"
        "camera_matrix: {rows: 3, cols: 3, data: [400, 0, 319.5, 0, 410, 239.5, 0, 0, 1]}\n"
        "distortion_model: plumb_bob\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0.001, -0.002, -0.01]}\n"
    )
    assert CameraModel.from_file(path) == camera(D=DISTORTED["plumb_bob"])
    path.write_text("camera_matrix: 3\n")
    with pytest.raises(InputError, match="is no camera's calibration file"):
        CameraModel.from_file(path)
    with pytest.raises(InputError, match="is no camera's calibration file"):
        CameraModel.from_file(tmp_path / "absent.yaml")
