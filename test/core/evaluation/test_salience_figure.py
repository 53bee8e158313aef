"""The picture of looks: its columns, its rows, and how two looks compare."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from vpr_core.evaluation.salience import Salience
from vpr_core.evaluation.salience_figure import Look, change_of, overlap, salience_figure

IMAGE = np.full((8, 12, 3), 128, np.uint8)
CLOUD = np.array([[0.5, 0.5, 0.5, 0], [3.5, 0.5, 0.5, 0], [-9.0, 0, 0, 0]], np.float32)


def look_left(title: str, share: float) -> Look:
    """So much of the look on the left half of the image, and on the nearer of two sites."""
    image = np.array([[share, 1 - share]], np.float32)
    return Look(title, Salience(image, {(0, 0, 0): share, (2, 0, 0): 1 - share}, 2), voxel_size_m=1.0)


def titles(figure: Figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def test_a_column_for_each_network_and_sensor_and_a_row_for_each_frame() -> None:
    row = [look_left("alone", 0.5), look_left("distilled", 0.9), Look("camera", Salience(np.ones((1, 1))), None)]
    frames = [("frame 0", IMAGE, CLOUD), ("frame 9", IMAGE, CLOUD)]
    columns = ["image", "alone", "alone", "distilled", "distilled", "camera"]
    figure = salience_figure(frames, [row, row])
    assert titles(figure) == columns and len(figure.axes) == 2 * len(columns) + 1  # and the bar
    assert {text.get_text() for ax in figure.axes for text in ax.texts} == {"frame 0", "frame 9"}
    with_change = salience_figure(frames, [row, row], change=True)
    assert titles(with_change) == [*columns, "distilled minus alone", "distilled minus alone"]


def test_without_a_camera_the_first_column_is_a_cloud_s() -> None:
    figure = salience_figure([("frame 0", None, CLOUD)], [[look_left("alone", 0.5)]])
    assert titles(figure) == ["alone"] and figure.axes[0].texts[0].get_text() == "frame 0"


def test_what_is_looked_at_is_coloured_and_the_rest_stays_grey() -> None:
    figure = salience_figure([("frame 0", IMAGE, None)], [[look_left("left", 1.0)]])
    colours = np.asarray(figure.axes[1].images[1].get_array())
    assert colours[4, 0, 3] > 0.5 and colours[4, 11, 3] == 0.0


def test_change_and_overlap() -> None:
    before, after = look_left("before", 0.5), look_left("after", 0.9)
    change = change_of(before.of_cloud(CLOUD), after.of_cloud(CLOUD))
    np.testing.assert_allclose(change, [0.8, -0.8, 0.0], atol=1e-6)
    assert change_of(before.of_image(None), after.of_image(IMAGE)) is None
    assert Look("camera", Salience(np.ones((1, 1))), None).of_cloud(CLOUD) is None
    half, left = (look.of_cloud(CLOUD) for look in (before, after))
    assert half is not None and left is not None
    assert overlap(half, half) == pytest.approx(1.0) and overlap(half, left) == pytest.approx(0.6)
    assert overlap(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 0.0
