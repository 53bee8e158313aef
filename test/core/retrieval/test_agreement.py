"""N of M answers that agree, with odometry taken out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.data.poses import compose
from vpr_core.errors import VprError
from vpr_core.retrieval.agreement import AgreementGate
from vpr_core.types import Pose

T_MAP_ODOM = Pose.from_xy_yaw(50.0, -20.0, 2.0)


def curve(frames: int, step_m: float = 3.0) -> list[Pose]:
    """T_odom_base along a bend."""
    poses = [Pose((0.0, 0.0, 0.0))]
    for _ in range(frames - 1):
        poses.append(compose(poses[-1], Pose.from_xy_yaw(step_m, 0.0, 0.1)))
    return poses


def test_answers_along_a_bend_agree_from_the_nth_on() -> None:
    gate, rng = AgreementGate(3, 5), np.random.default_rng(0)
    opened = []
    for odometry in curve(8):
        noise = Pose.from_xy_yaw(*rng.normal(0, 0.5, 2), 0.0)
        opened.append(gate.add(compose(compose(T_MAP_ODOM, odometry), noise), odometry))
    assert opened == [False, False, *[True] * 6]


def test_answers_that_stay_while_the_vehicle_drives_do_not_agree() -> None:
    gate = AgreementGate(3, 5)
    assert not any(gate.add(T_MAP_ODOM, odometry) for odometry in curve(9))


def test_standing_still_counts_once() -> None:
    gate, odometry = AgreementGate(2, 5), Pose((0.0, 0.0, 0.0))
    assert not any(gate.add(T_MAP_ODOM, odometry) for _ in range(50))
    moved = Pose((3.0, 0.0, 0.0))
    assert gate.add(compose(T_MAP_ODOM, moved), moved)


def test_an_outlier_is_outvoted_and_refusals_count_among_the_last() -> None:
    gate, far = AgreementGate(3, 4), Pose.from_xy_yaw(500.0, 0.0, 0.0)
    answers = ["right", "far", "right", "right", "none", "none", "right", "right", "right"]
    opened = []
    for odometry, answer in zip(curve(len(answers)), answers, strict=True):
        told = {"right": compose(T_MAP_ODOM, odometry), "far": far, "none": None}[answer]
        opened.append(gate.add(told, odometry))
    assert opened == [False, False, False, True, False, False, False, False, True]


def test_a_turned_answer_agrees_only_where_headings_are_free_and_all_are_turned() -> None:
    turned = Pose.from_xy_yaw(0.0, 0.0, math.pi)
    for any_heading, expected in ((False, False), (True, True)):
        gate = AgreementGate(3, 5, any_heading=any_heading)
        told = [gate.add(compose(compose(T_MAP_ODOM, odometry), turned), odometry) for odometry in curve(5)]
        assert told[-1] is expected
    gate = AgreementGate(3, 3, any_heading=True)
    for index, odometry in enumerate(curve(6)):
        answer = compose(T_MAP_ODOM, odometry)
        assert not gate.add(compose(answer, turned) if index % 2 else answer, odometry)


def test_it_begins_again_when_cleared() -> None:
    gate = AgreementGate(2, 3)
    first, second, third = curve(3)
    assert not gate.add(first, first) and gate.add(second, second)
    gate.clear()
    assert not gate.add(third, third)


@pytest.mark.parametrize(("needed", "of"), [(0, 3), (4, 3)])
def test_a_gate_that_cannot_work_is_refused(needed: int, of: int) -> None:
    with pytest.raises(VprError, match=f"agreement of {needed} of the last {of} answers"):
        AgreementGate(needed, of)
