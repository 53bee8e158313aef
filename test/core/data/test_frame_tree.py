"""Transforms put together: chains, moments, and what is wrong with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.data.frame_tree import FrameTree
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import InputError
from vpr_core.types import Pose

START_NS = 1_700_000_000_000_000_000
TENTH_NS = 100_000_000
T_base_mast, T_mast_lidar = Pose.from_xy_yaw(0.5, 0.1, 1.0), Pose.from_xy_yaw(0.2, -0.3, 0.4)
T_base_camera = Pose.from_xy_yaw(1.5, 0.0, -0.2)


def assert_same(found: Pose, expected: Pose) -> None:
    np.testing.assert_allclose(found.position_m, expected.position_m, atol=1e-9)
    np.testing.assert_allclose(found.quaternion_xyzw, expected.quaternion_xyzw, atol=1e-9)


def test_a_chain_is_put_together_in_both_directions() -> None:
    tree = FrameTree()
    tree.add_static("mast", "/lidar", T_mast_lidar)
    tree.add_static("/base", "mast", T_base_mast)
    tree.add_static("base", "camera", T_base_camera)
    T_base_lidar = compose(T_base_mast, T_mast_lidar)
    assert_same(tree.lookup("base", "lidar"), T_base_lidar)
    assert_same(tree.lookup("/lidar", "base"), inverse(T_base_lidar))
    assert_same(tree.lookup("camera", "lidar", START_NS), compose(inverse(T_base_camera), T_base_lidar))
    assert_same(tree.lookup("lidar", "lidar"), Pose((0.0, 0.0, 0.0)))
    assert tree.newest_ns("base", "lidar") is None
    tree.add_static("base", "mast", T_base_camera)  # somebody mends it
    assert_same(tree.lookup("base", "mast"), T_base_camera)


def test_what_moves_is_looked_up_at_the_moment() -> None:
    tree = FrameTree()
    tree.add_static("mast", "lidar", T_mast_lidar)
    for i in (3, 0, 1, 2):  # one came late
        tree.add("base", "mast", START_NS + i * TENTH_NS, Pose.from_xy_yaw(0.0, 0.0, 0.1 * i))
    half = tree.lookup("base", "lidar", START_NS + 3 * TENTH_NS // 2)
    assert_same(half, compose(Pose.from_xy_yaw(0.0, 0.0, 0.15), T_mast_lidar))
    assert tree.newest_ns("base", "lidar") == START_NS + 3 * TENTH_NS
    for stamp_ns in (START_NS - 1, START_NS + 3 * TENTH_NS + 1, 0):
        with pytest.raises(InputError, match="from base to lidar is not known at .* no two poses around it") as raised:
            tree.lookup("base", "lidar", stamp_ns)
        assert raised.value.kind == "tf"


def test_a_clock_that_went_back_begins_anew() -> None:
    tree = FrameTree()
    for i in range(20):
        tree.add("base", "mast", START_NS + i * TENTH_NS, Pose((1.0, 0.0, 0.0)))
    tree.add("base", "mast", START_NS - 20 * TENTH_NS, Pose((2.0, 0.0, 0.0)))
    assert tree.newest_ns("base", "mast") == START_NS - 20 * TENTH_NS
    with pytest.raises(InputError):
        tree.lookup("base", "mast", START_NS)
    assert tree.lookup("base", "mast", START_NS - 20 * TENTH_NS).position_m[0] == 2.0


def test_two_parents_and_circles_are_told_and_nothing_is_guessed() -> None:
    tree = FrameTree()
    tree.add_static("base", "lidar", T_base_mast)
    tree.add_static("mast", "lidar", T_mast_lidar)
    with pytest.raises(InputError, match="lidar has two parents, base and mast: let one node alone send it"):
        tree.lookup("base", "lidar")
    tree.add_static("base", "camera", T_base_camera)
    assert_same(tree.lookup("base", "camera"), T_base_camera)  # which is none of it
    tree.add_static("camera", "base", T_base_camera)
    with pytest.raises(InputError, match="in a circle, base > camera > base"):
        tree.lookup("base", "camera")


def test_a_parent_that_is_not_heard_of_any_more_is_none() -> None:
    tree = FrameTree()
    tree.add("mast", "lidar", START_NS, T_mast_lidar)
    tree.add("base", "lidar", START_NS + TENTH_NS, T_base_mast)
    with pytest.raises(InputError, match="two parents"):
        tree.lookup("base", "lidar", START_NS + TENTH_NS)
    later_ns = START_NS + 150 * TENTH_NS
    tree.add("base", "lidar", later_ns, T_base_mast)
    assert_same(tree.lookup("base", "lidar", later_ns), T_base_mast)


@pytest.mark.parametrize(
    ("links", "why"),
    [
        ([], "no transform names base or lidar"),
        ([("base", "mast")], "no transform names lidar"),
        ([("mast", "lidar")], "no transform names base"),
        ([("mast", "lidar"), ("cart", "base")], "lidar < mast and base < cart do not meet"),
    ],
)
def test_frames_that_nothing_joins(links: list[tuple[str, str]], why: str) -> None:
    tree = FrameTree()
    for parent, child in links:
        tree.add_static(parent, child, T_base_mast)
    for ask in (tree.lookup, tree.newest_ns):
        with pytest.raises(InputError, match=f"no transform from base to lidar: {why}"):
            ask("base", "lidar")


@pytest.mark.parametrize(
    ("parent", "child", "pose", "reason"),
    [
        ("base", "lidar", Pose((math.nan, 0.0, 0.0)), "not finite"),
        ("base", "lidar", Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)), "rotation is zero"),
        ("", "lidar", T_base_mast, "names of two frames"),
        ("base", "/", T_base_mast, "names of two frames"),
        ("/base", "base", T_base_mast, "names of two frames"),
    ],
)
def test_what_is_no_transform_is_refused(parent: str, child: str, pose: Pose, reason: str) -> None:
    tree = FrameTree()
    for add in (tree.add_static, lambda *link: tree.add(*link[:2], START_NS, link[2])):
        with pytest.raises(InputError, match=reason):
            add(parent, child, pose)


def test_hours_of_transforms_take_no_more_memory_than_seconds() -> None:
    tree = FrameTree()
    for i in range(3000):
        tree.add("base", "mast", START_NS + i * TENTH_NS, Pose((float(i), 0.0, 0.0)))
    with pytest.raises(InputError, match="is not known"):
        tree.lookup("base", "mast", START_NS + 2000 * TENTH_NS)
    assert len(tree._links["mast"]["base"].stamps_ns) <= 101  # type: ignore[union-attr]
