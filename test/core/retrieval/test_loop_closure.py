"""Loop closures of a drive with itself: found, believed, left out, and refused options. Pictures are made up."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.errors import InputError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.loop_closure import LoopAnswer, LoopCloser, LoopOptions
from vpr_core.types import Pose, Reason

SHIPPED = Path(__file__).parents[3] / "bundles" / "town_camera"
LAP = 24
STEP_M = 5.0
STEP_NS = 1_000_000_000
OPTIONS = LoopOptions(min_similarity=0.9999, exclude_s=0.0)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(SHIPPED, threads=1)


def picture(place: int) -> np.ndarray:
    coarse = np.random.default_rng(place).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST)


def on_circle(step: float) -> Pose:
    angle = 2 * math.pi * step / LAP
    radius_m = LAP * STEP_M / (2 * math.pi)
    return Pose.from_xy_yaw(radius_m * math.cos(angle), radius_m * math.sin(angle), angle + math.pi / 2)


def go(closer: LoopCloser, steps: range, pose_of=on_circle, picture_of=lambda step: picture(step % LAP)):  # type: ignore[no-untyped-def]
    answers = [closer.add(picture_of(step), (1 + step) * STEP_NS, pose_of(step)) for step in steps]
    assert all(answers)
    return answers


def best(answer: LoopAnswer) -> int:
    return answer.recognition.matches[0].place_id


def test_the_second_lap_closes_the_loop_and_the_first_does_not(bundle: Bundle) -> None:
    closer = LoopCloser(bundle, OPTIONS)
    first, second = go(closer, range(LAP)), go(closer, range(LAP, 2 * LAP))
    assert not any(answer.recognition.accepted for answer in first)
    assert all(not answer.recognition.matches and not answer.searched for answer in first[:10])
    assert [best(answer) for answer in second] == list(range(LAP))
    # One look alone, and two, are not believed: 3 of the last 5 have to agree.
    assert [answer.recognition.matches[0].reason for answer in second[:2]] == [Reason.NOT_VERIFIED] * 2
    assert all(answer.recognition.accepted for answer in second[2:])
    assert closer.closures == LAP - 2 and len(closer.past) == 2 * LAP
    match = second[5].recognition.accepted
    assert match and match.pose == on_circle(5) and match.place_stamp_ns == 6 * STEP_NS and match.session == "1"
    assert match.probability is None and second[5].recognition.off_map_probability is None


def test_of_every_query_the_places_are_searched_recent_or_out_of_reach(bundle: Bundle) -> None:
    closer = LoopCloser(bundle, OPTIONS)
    for number, answer in enumerate(go(closer, range(LAP + 8))):
        assert answer.searched + answer.recent + answer.unreachable == number == answer.place_id
    assert answer.unreachable > 0 and answer.recent == 10


def test_a_robot_that_stands_adds_no_place_and_closes_no_loop(bundle: Bundle) -> None:
    closer = LoopCloser(bundle, OPTIONS)
    go(closer, range(LAP + 5))
    places, closures = len(closer.past), closer.closures
    for later in range(1, 6):
        trembling = Pose.from_xy_yaw(
            on_circle(LAP + 4).position_m[0] + 0.1 * later, on_circle(LAP + 4).position_m[1], 0
        )
        assert not closer.wants(trembling)
        assert closer.add(picture(4), (LAP + 5 + later) * STEP_NS, trembling) is None
    assert (len(closer.past), closer.closures) == (places, closures)


def test_what_looks_alike_along_a_corridor_is_no_loop(bundle: Bundle) -> None:
    def straight(step: float) -> Pose:
        return Pose.from_xy_yaw(STEP_M * step, 0.0, 0.0)

    near = go(LoopCloser(bundle, OPTIONS), range(30), straight, lambda step: picture(0))
    assert not any(answer.recognition.matches for answer in near)
    everywhere = replace(OPTIONS, max_drift=1.0, agreement_needed=1)
    far = go(LoopCloser(bundle, everywhere), range(30), straight, lambda step: picture(0))
    assert far[-1].recognition.accepted


@pytest.mark.parametrize(("exclude_m", "exclude_s", "recent"), [(0.0, 7.0, 6), (23.0, 0.0, 4), (23.0, 7.0, 6)])
def test_metres_and_seconds_must_both_have_passed(
    bundle: Bundle, exclude_m: float, exclude_s: float, recent: int
) -> None:
    options = replace(OPTIONS, exclude_m=exclude_m, exclude_s=exclude_s, max_drift=1.0)
    answers = go(LoopCloser(bundle, options), range(12))
    assert answers[-1].recent == recent and answers[-1].searched == 11 - recent


def test_without_odometry_time_alone_counts_and_single_looks_are_believed(bundle: Bundle) -> None:
    closer = LoopCloser(bundle, replace(OPTIONS, exclude_s=10.0))
    answers = go(closer, range(LAP + 6), lambda step: None)
    assert answers[-1].recent == 9 and answers[-1].recognition.accepted and best(answers[-1]) == 5
    assert answers[-1].pose is None and answers[-1].recognition.matches[0].pose is None
    with pytest.raises(InputError, match="exclude_s is 0"):
        LoopCloser(bundle, OPTIONS).add(picture(0), STEP_NS, None)


def test_after_odometry_broke_the_past_is_found_without_poses(bundle: Bundle) -> None:
    closer = LoopCloser(bundle, OPTIONS)
    go(closer, range(LAP))
    closer.begin_session()

    def elsewhere(step: float) -> Pose:
        x_m, y_m, _ = on_circle(step).position_m
        return Pose((x_m + 1000.0, y_m, 0.0), on_circle(step).quaternion_xyzw)

    # Stamps may start again, and the way goes on: what lay just behind is still recent.
    begun = closer.add(picture(0), 1, elsewhere(0))
    assert begun and begun.recent == 11
    answers = [closer.add(picture(step), 1 + step * STEP_NS, elsewhere(step)) for step in range(1, 14)]
    match = answers[-1].recognition.accepted if answers[-1] else None
    assert match and match.place_id == 13 and match.pose is None and match.session == "1"
    assert closer.add(picture(3), 99 * STEP_NS, elsewhere(16), session=1) is None


def test_what_a_frame_is_refused_for(bundle: Bundle) -> None:
    closer = LoopCloser(bundle, OPTIONS)
    go(closer, range(2))
    with pytest.raises(InputError, match="is not after that of the last place") as raised:
        closer.add(picture(3), 2 * STEP_NS, on_circle(3))
    assert raised.value.kind == "stamp"
    with pytest.raises(InputError, match="another camera or crop"):
        closer.add(picture(3)[:, :200], 9 * STEP_NS, on_circle(3))
    assert len(closer.past) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("keyframe_m", 0.0), ("keyframe_m", math.nan), ("exclude_m", -1.0), ("exclude_s", math.inf), ("max_drift", -0.1),
     ("top_k", 0), ("memory_mib", 0.0)],
)  # fmt: skip
def test_an_option_that_cannot_work_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        replace(OPTIONS, **{name: value}).check()


def test_nothing_is_believed_without_a_threshold(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="both 0"):
        LoopOptions(exclude_m=0.0, exclude_s=0.0).check()
    with pytest.raises(InputError, match="set min_similarity"):
        LoopCloser(replace(bundle, accept_similarity=None))
    assert LoopCloser(bundle).threshold == bundle.accept_similarity
