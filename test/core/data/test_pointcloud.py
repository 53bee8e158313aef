"""PointCloud2 in every layout that drivers send."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.errors import InputError

POINTS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def message(
    points: np.ndarray = POINTS, kind: str = "f4", order: str = "<", padding: int = 0, height: int = 1,
    row_padding: int = 0, names: tuple[str, ...] = ("x", "y", "z", "intensity"),
) -> SimpleNamespace:  # fmt: skip
    """A PointCloud2 with `padding` bytes after each point and `row_padding` after each row."""
    size = np.dtype(kind).itemsize
    step = size * len(names) + padding
    width = len(points) // height
    records = np.zeros((height, width), np.dtype({"names": names, "formats": [order + kind] * len(names),
                       "offsets": [i * size for i in range(len(names))], "itemsize": step}))  # fmt: skip
    for column, name in enumerate(names):
        records[name] = points[:, column].reshape(height, width)
    rows = [records[row].tobytes() + b"\xff" * row_padding for row in range(height)]
    fields = [SimpleNamespace(name=name, offset=i * size, datatype=DATATYPES[kind], count=1)
              for i, name in enumerate(names)]  # fmt: skip
    return SimpleNamespace(height=height, width=width, fields=fields, is_bigendian=order == ">", point_step=step,
                           row_step=step * width + row_padding, data=b"".join(rows))  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"padding": 16}, {"height": 3}, {"height": 3, "padding": 4, "row_padding": 8}])
def test_every_layout_gives_the_same_points(order: str, layout: dict[str, int]) -> None:
    np.testing.assert_array_equal(cloud_from_message(message(order=order, **layout)), POINTS)


def test_doubles_and_integers_are_read() -> None:
    np.testing.assert_array_equal(cloud_from_message(message(kind="f8")), POINTS)
    whole = np.arange(48, dtype=np.float32).reshape(12, 4)
    np.testing.assert_array_equal(cloud_from_message(message(whole, kind="i2")), whole)


def test_points_that_are_not_finite_are_left_out() -> None:
    points = POINTS.copy()
    points[3, 1], points[7, 0] = np.nan, np.inf
    np.testing.assert_array_equal(cloud_from_message(message(points)), np.delete(POINTS, [3, 7], axis=0))


def test_intensity_may_be_absent() -> None:
    result = cloud_from_message(message(POINTS[:, :3], names=("x", "y", "z")))
    np.testing.assert_array_equal(result, np.hstack([POINTS[:, :3], np.zeros((12, 1))]))


def test_an_empty_cloud_is_empty() -> None:
    assert cloud_from_message(message(POINTS[:0])).shape == (0, 4)


def test_a_cloud_without_any_finite_point_is_refused() -> None:
    with pytest.raises(InputError, match="no finite point: all 12 have") as caught:
        cloud_from_message(message(np.full_like(POINTS, np.nan)))
    assert caught.value.kind == "empty"


@pytest.mark.parametrize("step", [{"point_step": 8}, {"point_step": 0}, {"row_step": 0}, {"row_step": 40}])
def test_steps_that_do_not_fit_the_fields_are_refused(step: dict[str, int]) -> None:
    wrong = message(height=3)
    vars(wrong).update(step)
    with pytest.raises(InputError, match="its fields need 16 bytes a point and .* a row") as caught:
        cloud_from_message(wrong)
    assert caught.value.kind == "layout"


def test_what_cannot_be_read_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="no field z, it has"):
        cloud_from_message(message(POINTS[:, :2], names=("x", "y")))
    cut = message()
    cut.data = cut.data[:100]
    with pytest.raises(InputError, match="holds 100 bytes, its header promises 192"):
        cloud_from_message(cut)
    odd = message()
    odd.fields[0].datatype = 99
    with pytest.raises(InputError, match="field x has datatype 99"):
        cloud_from_message(odd)
