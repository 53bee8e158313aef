"""Laws of the filter over places, on maps made by hand: similarities are arrays, as they are of any network."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.data.poses import compose, inverse
from vpr_core.errors import InputError, MapError, VprError
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.filter import Estimate, FilterReason, PlaceFilter
from vpr_core.retrieval.motion import Motion
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

SECOND_NS = 10**9
STAND = Pose((0.0, 0.0, 0.0))
MODEL = ObservationModel(offset=-9.0, per_similarity=15.0, per_standing=0.0, off_map_log_ratio=0.0, evidence_m=4.0)
"""A similarity of 0.6 says nothing, one of 0.9 speaks for a place by 4.5 nats, one of 0.2 against it by 6."""


def map_of(poses: Iterable[Pose], sessions: Iterable[str] | None = None) -> PlaceMap:
    poses = list(poses)
    named = list(sessions) if sessions else ["drive"] * len(poses)
    places = tuple(Place(name, 1 + index, pose) for index, (name, pose) in enumerate(zip(named, poses, strict=True)))
    return PlaceMap(np.eye(len(poses), dtype=np.float32), places, "model", "map", "camera", None)


def street(length_m: float = 200.0, y_m: float = 0.0, yaw_rad: float = 0.0) -> list[Pose]:
    """Places 2 m apart along x, passed in the direction of `yaw_rad` (0 or pi)."""
    order = 1 if yaw_rad == 0 else -1
    return [Pose.from_xy_yaw(x, y_m, yaw_rad) for x in np.arange(0.0, length_m, 2.0)[::order]]


def ring(places: int = 120, radius_m: float = 40.0) -> list[Pose]:
    turns = np.linspace(0, 2 * math.pi, places, endpoint=False)
    return [Pose.from_xy_yaw(radius_m * math.sin(t), -radius_m * math.cos(t), t) for t in turns]


def seen_at(places: PlaceMap, poses: Iterable[Pose], rng: np.random.Generator, noise: float = 0.1) -> list[np.ndarray]:
    """Similarities that are high for places near where the vehicle looks from, in its direction."""
    at = np.array([(*place.pose.position_m[:2], place.pose.yaw_rad) for place in places.places if place.pose])
    rows = []
    for pose in poses:
        away_m = np.hypot(*(at[:, :2] - pose.position_m[:2]).T)
        facing = np.maximum(np.cos(at[:, 2] - pose.yaw_rad), 0.0)
        rows.append(0.3 + 0.6 * facing * np.exp(-((away_m / 6.0) ** 2)) + rng.normal(0, noise, len(at)))
    return rows


def drive(places: PlaceFilter, rows: list[np.ndarray], poses: list[Pose], start_s: float = 1.0) -> list[Estimate]:
    """The estimates along the poses, with odometry that is 1 % too long and turns by itself."""
    estimates = []
    for index, row in enumerate(rows):
        step = compose(inverse(poses[index - 1]), poses[index]) if index else STAND
        x_m, y_m, _ = step.position_m
        drifted = Pose.from_xy_yaw(1.01 * x_m, 1.01 * y_m, step.yaw_rad + (0.001 if index else 0.0))
        estimates.append(places.update(row, drifted, round((start_s + 0.5 * index) * SECOND_NS)))
    return estimates


def away_m(estimate: Estimate, pose: Pose) -> float:
    return math.dist(estimate.pose.position_m, pose.position_m)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_belief_sums_to_one_whatever_comes(rng: np.random.Generator) -> None:
    places = PlaceFilter(map_of([*ring(), *street(y_m=300.0)]), MODEL)
    for index in range(60):
        motion = Pose.from_xy_yaw(rng.normal(0, 3), rng.normal(0, 1), rng.normal(0, 1)) if index % 7 else None
        estimate = places.update(rng.uniform(-1, 1, 220), motion, (index + 1) * SECOND_NS)
        assert estimate.belief.sum() + estimate.p_off_map == pytest.approx(1.0, abs=1e-9)
        assert (estimate.belief >= 0).all() and 0 <= estimate.p_off_map <= 1 + 1e-9
        assert 0 <= estimate.runner_up_probability <= 1 and 0 <= estimate.probability <= 1
        assert estimate.runner_up_probability + estimate.probability <= 1 + 1e-9


def test_standing_before_a_place_teaches_nothing(rng: np.random.Generator) -> None:
    mapped = map_of(street())
    places, here = PlaceFilter(mapped, MODEL), Pose.from_xy_yaw(100.0, 0.0, 0.0)
    first, *rest = drive(places, seen_at(mapped, [here] * 50, rng), [here] * 50)
    assert first.is_step and not first.accepted
    for estimate in rest:
        assert not estimate.is_step
        np.testing.assert_array_equal(estimate.belief, first.belief)
        assert (estimate.probability, estimate.p_off_map) == (first.probability, first.p_off_map)


def test_a_trembling_odometry_is_no_travel(rng: np.random.Generator) -> None:
    mapped = map_of(street())
    places = PlaceFilter(mapped, MODEL)
    row = seen_at(mapped, [Pose.from_xy_yaw(100.0, 0.0, 0.0)], rng)[0]
    first = places.update(row, STAND, SECOND_NS)
    for index in range(200):
        shake = Pose((0.05 * (-1) ** index, 0.0, 0.0))
        assert places.update(row, shake, (index + 2) * SECOND_NS // 10 + SECOND_NS).probability == first.probability


def test_a_drive_round_a_loop_is_followed_and_more_frames_say_no_more(rng: np.random.Generator) -> None:
    mapped = map_of(ring())
    way = ring(480)
    estimates = drive(PlaceFilter(mapped, MODEL), seen_at(mapped, way, rng), way)
    assert all(estimate.accepted for estimate in estimates[40:]) and not estimates[0].accepted
    assert max(away_m(estimate, pose) for estimate, pose in zip(estimates[40:], way[40:], strict=True)) < 6.0
    assert 100 <= sum(estimate.is_step for estimate in estimates) <= 130, "one a step of 2 m"


def test_the_other_direction_and_other_sessions_of_one_street(rng: np.random.Generator) -> None:
    """The street is in the map three times: twice as driven, in two sessions, and once the other way round."""
    poses = [*street(), *street(y_m=1.0), *street(y_m=4.0, yaw_rad=math.pi)]
    mapped = map_of(poses, ["first"] * 100 + ["second"] * 100 + ["back"] * 100)
    for yaw_rad, sessions, y_m in ((0.0, {"first", "second"}, 0.5), (math.pi, {"back"}, 4.0)):
        way = street(160.0, y_m, yaw_rad)
        estimates = drive(PlaceFilter(mapped, MODEL), seen_at(mapped, way, rng), way)
        believed = [estimate for estimate in estimates if estimate.accepted]
        assert len(believed) > 50 and {mapped.places[estimate.place_id].session for estimate in believed} == sessions
        shares = estimates[-1].belief.reshape(3, 100).sum(axis=1)
        assert (shares[:2].min() > 0.1) == (yaw_rad == 0.0), "both sessions share the belief"


def test_a_vehicle_that_drives_the_map_backwards_is_not_believed(rng: np.random.Generator) -> None:
    """Its sensor sees the same, and odometry contradicts the order of the places."""
    mapped, way = map_of(ring()), ring()[::-1]
    back = [Pose.from_xy_yaw(*pose.position_m[:2], pose.yaw_rad + math.pi) for pose in way]
    estimates = drive(PlaceFilter(mapped, MODEL), seen_at(mapped, way, rng), back)
    assert not any(estimate.accepted for estimate in estimates[20:])


def kidnapped(mapped: PlaceMap, before: list[Pose], after: list[Pose], rng: np.random.Generator) -> list[Estimate]:
    """Odometry feels nothing of being carried from the end of `before` to the beginning of `after`."""
    rows = seen_at(mapped, [*before, *after], rng)
    steps = [compose(inverse(a), b) for part in (before, after) for a, b in zip(part, part[1:], strict=False)]
    steps.insert(len(before) - 1, Pose((2.0, 0.0, 0.0)))
    places = PlaceFilter(mapped, MODEL)
    return [
        places.update(row, step, (index + 1) * SECOND_NS)
        for index, (row, step) in enumerate(zip(rows, [STAND, *steps], strict=True))
    ]


def test_a_kidnapped_robot_is_found_again_without_a_wrong_word(rng: np.random.Generator, figures: list[str]) -> None:
    mapped = map_of([*street(), *street(y_m=200.0), *street(y_m=400.0)])
    found = []
    for _ in range(10):
        before, after = street(100.0), street(200.0, y_m=400.0)[20:]
        estimates = kidnapped(mapped, before, after, rng)
        assert estimates[len(before) - 1].accepted
        since = list(zip(estimates[len(before) :], after, strict=True))
        assert all(away_m(estimate, pose) < 10.0 for estimate, pose in since if estimate.accepted)
        found.append(1 + next(index for index, (estimate, _) in enumerate(since) if estimate.accepted))
    figures.append(f"kidnapped on a made-up map: found again after {min(found)} to {max(found)} frames of 2 m")
    assert max(found) <= 25


def test_a_jump_needs_more_than_a_continuation(rng: np.random.Generator) -> None:
    mapped = map_of([*street(), *street(y_m=200.0)])
    places, way = PlaceFilter(mapped, MODEL), street(100.0)
    before = drive(places, seen_at(mapped, way, rng), way)[-1]
    elsewhere = seen_at(mapped, [Pose.from_xy_yaw(102.0, 200.0, 0.0)], rng)[0]
    after = places.update(elsewhere, Pose((2.0, 0.0, 0.0)), 27 * SECOND_NS)
    assert before.accepted and elsewhere.argmax() >= 100
    assert after.place_id < 100 and not after.accepted, "one look elsewhere moves it nowhere, but takes the certainty"


def test_off_the_map_nothing_is_accepted_and_the_reason_says_so(rng: np.random.Generator) -> None:
    mapped, way = map_of(ring()), street(400.0)
    rows = list(rng.normal(0.35, 0.12, (len(way), len(mapped))))
    estimates = drive(PlaceFilter(mapped, MODEL), rows, way)
    assert not any(estimate.accepted for estimate in estimates)
    assert {estimate.reason for estimate in estimates[5:]} == {FilterReason.OFF_MAP}


def test_a_vehicle_that_leaves_the_map_s_streets_is_off_the_map_and_comes_back(rng: np.random.Generator) -> None:
    """The street ends; odometry alone tells that, for what is seen beyond looks like its end."""
    mapped = map_of(street(100.0))
    way = [*street(160.0), *[Pose.from_xy_yaw(160.0, 0.0, 0.4 * turn) for turn in range(8)]]
    way += [Pose.from_xy_yaw(x, 0.0, math.pi) for x in np.arange(158.0, 120.0, -2.0)]
    rows = seen_at(mapped, [pose if pose.position_m[0] < 98 else street(100.0)[-1] for pose in way], rng)
    estimates = drive(PlaceFilter(mapped, MODEL), rows, way)
    assert estimates[45].accepted
    assert not any(estimate.accepted for estimate in estimates[58:])
    assert estimates[70].reason is FilterReason.OFF_MAP


def blind_after(way: list[Pose], rng: np.random.Generator) -> list[Estimate]:
    """The estimates along the part of a way behind the first 100 m, where what is seen says nothing."""
    mapped = map_of(street(400.0))
    rows = seen_at(mapped, way[:50], rng) + [np.full(200, 0.6)] * (len(way) - 50)
    return drive(PlaceFilter(mapped, MODEL), rows, way)[50:]


def test_odometry_alone_carries_the_belief_without_smearing_it(rng: np.random.Generator) -> None:
    for step_m in (2.0, 1.3, 5.0):
        way = street(100.0) + [Pose.from_xy_yaw(100.0 + x, 0.0, 0.0) for x in np.arange(0.0, 80.0, step_m)]
        estimates = blind_after(way, rng)
        assert max(away_m(estimate, pose) for estimate, pose in zip(estimates, way[50:], strict=True)) < 6.0
        assert estimates[-1].probability > 0.85 and estimates[-1].p_off_map < 0.1


def test_a_vehicle_that_turns_off_a_straight_street_little_by_little_has_left_it(rng: np.random.Generator) -> None:
    way = street(100.0)
    for _ in range(14):
        way.append(compose(way[-1], Pose.from_xy_yaw(2.0, 0.0, 0.12)))
    estimates = blind_after(way, rng)
    assert estimates[0].p_off_map < 0.1 and estimates[-1].reason is FilterReason.OFF_MAP


def facades(mapped: PlaceMap, way: list[Pose], landmark_m: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Houses that repeat every 10 m all along two streets, and one thing that stands once."""
    at = np.array([place.pose.position_m[:2] for place in mapped.places if place.pose])
    rows = []
    for pose in way:
        phase = np.cos(2 * math.pi * (at[:, 0] - pose.position_m[0]) / 10.0)
        row = 0.62 + 0.13 * phase + rng.normal(0, 0.03, len(at))
        own = np.exp(-(((at[:, 0] - landmark_m) / 8.0) ** 2)) * (at[:, 1] == 0)
        here = math.exp(-(((pose.position_m[0] - landmark_m) / 8.0) ** 2))
        rows.append(row + 0.4 * own * here - 0.5 * np.abs(own - here))
    return rows


def test_repeated_facades_stay_ambiguous_until_the_landmark(rng: np.random.Generator) -> None:
    mapped = map_of([*street(400.0), *street(400.0, y_m=100.0)])
    way = street(400.0)[40:]
    estimates = drive(PlaceFilter(mapped, MODEL), facades(mapped, way, 300.0, rng), way)
    before = [estimate for estimate, pose in zip(estimates, way, strict=True) if pose.position_m[0] < 280.0]
    assert not any(estimate.accepted for estimate in before)
    assert {estimate.reason for estimate in before[10:]} == {FilterReason.AMBIGUOUS}
    assert before[-1].runner_up != before[-1].place_id and before[-1].runner_up_probability > 0.05
    accepted = [(estimate, pose) for estimate, pose in zip(estimates, way, strict=True) if estimate.accepted]
    assert accepted and all(away_m(estimate, pose) < 10.0 for estimate, pose in accepted)


def test_what_speaks_against_a_believed_place_withholds_it_even_while_standing(rng: np.random.Generator) -> None:
    mapped, way = map_of(street()), street(100.0)
    places = PlaceFilter(mapped, MODEL)
    assert drive(places, seen_at(mapped, way, rng), way)[-1].accepted
    covered = places.update(np.full(100, 0.1), STAND, 60 * SECOND_NS // 2)
    assert covered.reason is FilterReason.UNSUPPORTED and covered.probability >= places.min_probability


@pytest.mark.parametrize(("elsewhere", "is_believed"), [(0.75, True), (0.95, False)])
def test_what_speaks_far_more_for_another_place_withholds_it(
    rng: np.random.Generator, elsewhere: float, is_believed: bool
) -> None:
    """2.3 nats for a place 80 m back, or 5.3, where the believed one has 0.3: the robot may have been carried there."""
    places, row, _ = localized(rng)
    row = np.full_like(row, 0.62)
    row[8] = elsewhere
    estimate = places.update(row, STAND, 26 * SECOND_NS)
    assert estimate.reason is (FilterReason.ACCEPTED if is_believed else FilterReason.UNSUPPORTED)
    assert estimate.probability >= places.min_probability


def localized(rng: np.random.Generator) -> tuple[PlaceFilter, np.ndarray, Estimate]:
    """A filter that believes itself at x = 98 m at second 25.5, and what is seen there."""
    mapped, way = map_of(street()), street(100.0)
    places = PlaceFilter(mapped, MODEL)
    estimate = drive(places, seen_at(mapped, way, rng), way)[-1]
    assert estimate.accepted
    return places, seen_at(mapped, way[-1:], rng)[0], estimate


@pytest.mark.parametrize(
    ("stamp_s", "motion"),
    [(20.0, STAND), (40.0, STAND), (26.0, Pose((300.0, 0.0, 0.0)))],
    ids=["time goes back", "a long gap", "odometry jumps"],
)
def test_what_cannot_be_continued_begins_anew(rng: np.random.Generator, stamp_s: float, motion: Pose) -> None:
    places, row, before = localized(rng)
    estimate = places.update(row, motion, round(stamp_s * SECOND_NS))
    fresh = PlaceFilter(map_of(street()), MODEL).update(row, STAND, SECOND_NS)
    assert estimate.is_step and estimate.probability < before.probability
    np.testing.assert_allclose(estimate.belief, fresh.belief)


def test_without_odometry_nothing_is_learned_or_accepted_and_the_next_increment_goes_on(
    rng: np.random.Generator,
) -> None:
    places, row, before = localized(rng)
    for second in (26.0, 28.0, 30.0):
        blind = places.update(row, None, round(second * SECOND_NS))
        assert blind.reason is FilterReason.NO_ODOMETRY
        np.testing.assert_array_equal(blind.belief, before.belief)
    after = seen_at(map_of(street()), [Pose.from_xy_yaw(110.0, 0.0, 0.0)], rng)[0]
    again = places.update(after, Pose((12.0, 0.0, 0.0)), 32 * SECOND_NS)
    assert again.accepted and again.pose.position_m[0] == pytest.approx(110.0, abs=5.0)
    assert places.update(row, None, 60 * SECOND_NS).p_off_map != again.p_off_map, "after the gap, all over again"


def test_the_first_look_is_the_first_with_odometry(rng: np.random.Generator) -> None:
    mapped = map_of(street())
    row = seen_at(mapped, [Pose.from_xy_yaw(50.0, 0.0, 0.0)], rng)[0]
    places = PlaceFilter(mapped, MODEL)
    blind, first = places.update(row, None, SECOND_NS), places.update(row, Pose((40.0, 0.0, 0.0)), 2 * SECOND_NS)
    assert blind.reason is FilterReason.NO_ODOMETRY and blind.p_off_map == 0.5 and not blind.is_step
    assert first.is_step and away_m(first, Pose.from_xy_yaw(50.0, 0.0, 0.0)) < 10.0


def test_evidence_is_counted_by_the_metre_not_by_the_frame(rng: np.random.Generator) -> None:
    mapped = map_of(street(400.0))
    ends = []
    for spacing_m in (0.25, 2.0, 4.0):
        way = [Pose.from_xy_yaw(x, 0.0, 0.0) for x in np.arange(100.0, 108.1, spacing_m)]
        ends.append(drive(PlaceFilter(mapped, MODEL), seen_at(mapped, way, rng, noise=0.0), way)[-1])
    odds = [end.probability / end.p_off_map for end in ends]
    assert np.log(odds) == pytest.approx(np.full(3, np.log(odds[1])), abs=1.0)


def seen_everywhere(mapped: PlaceMap) -> np.ndarray:
    """Similarities that say nothing."""
    return np.full(len(mapped), 0.6)


def test_a_check_speaks_for_the_places_that_it_leads_to_in_their_direction() -> None:
    mapped = map_of([*street(), *street(yaw_rad=math.pi)], ["there"] * 100 + ["back"] * 100)
    model = replace(MODEL, checked_log_ratio=6.0, unchecked_log_ratio=-1.0)
    for yaw_rad, session in ((0.0, "there"), (math.pi, "back")):
        places = PlaceFilter(mapped, model, ambiguous_from=0.001)
        led = Check(Pose.from_xy_yaw(101.0, 2.0, yaw_rad), 1.5)
        first = places.update(seen_everywhere(mapped), STAND, SECOND_NS, led)
        assert mapped.places[first.place_id].session == session and away_m(first, led.T_map_base or STAND) <= 10.0
        on_map = first.belief[first.belief > first.belief.max() / 2]
        assert len(on_map) == 10, "places within 10 m, 2 m apart, 2 m beside the street"
        assert np.log(on_map[0] / first.belief.min()) == pytest.approx(6.0)
        assert places.update(seen_everywhere(mapped), STAND, 2 * SECOND_NS, led).probability == first.probability
    nothing = PlaceFilter(mapped, model).update(seen_everywhere(mapped), STAND, SECOND_NS, Check(None))
    assert np.log(nothing.p_off_map / nothing.belief.sum()) == pytest.approx(1.0)


def test_checks_in_a_row_count_by_the_way_between_them() -> None:
    mapped = map_of(street(400.0))
    model = replace(MODEL, checked_log_ratio=3.0, evidence_m=20.0)
    ends = []
    for every in (1, 5):
        places, seen = PlaceFilter(mapped, model), seen_everywhere(mapped)
        for index in range(11):
            x_m = 100.0 + 2.0 * index
            check = Check(Pose.from_xy_yaw(x_m, 0.0, 0.0), 1.0) if index % every == 0 else None
            step = Pose((2.0 if index else 0.0, 0.0, 0.0))
            ends.append((every, places.update(seen, step, (index + 1) * SECOND_NS, check)))
    dense, sparse = (next(end for number, end in reversed(ends) if number == every) for every in (1, 5))
    odds = [math.log(end.probability / end.p_off_map) for end in (dense, sparse)]
    assert odds[0] == pytest.approx(odds[1], abs=0.7) and odds[0] > 0


def test_a_check_that_leads_elsewhere_refuses_what_was_believed(rng: np.random.Generator) -> None:
    places, row, before = localized(rng)
    assert before.accepted
    elsewhere = Check(Pose.from_xy_yaw(10.0, 0.0, 0.0), 1.0)
    stamp_ns = before.stamp_ns + SECOND_NS
    assert places.update(row, STAND, stamp_ns, elsewhere).reason is FilterReason.UNSUPPORTED
    assert places.update(row, STAND, stamp_ns + 1, Check(before.pose, 1.0)).accepted
    assert places.update(row, STAND, stamp_ns + 2, Check(None)).accepted


def test_what_cannot_be_used_is_refused_with_words(rng: np.random.Generator) -> None:
    places = PlaceFilter(map_of(street()), MODEL)
    for wrong in (np.zeros(99), np.full(100, np.nan), np.zeros((100, 1))):
        with pytest.raises(InputError, match="expected 100 finite numbers, one a place"):
            places.update(wrong, STAND, 1)
    with pytest.raises(InputError, match="expected finite numbers"):
        places.update(np.zeros(100), Pose((math.nan, 0.0, 0.0)), 1)
    for parameters in ({"min_probability": 0.0}, {"initial_off_map": 1.0}, {"step_m": 0.0}, {"max_gap_s": -1.0}):
        with pytest.raises(VprError, match="cannot work: expected probabilities and positive steps"):
            PlaceFilter(map_of(street()), MODEL, **parameters)
    unposed = map_of(street())
    with pytest.raises(MapError, match="the map has no poses"):
        PlaceFilter(replace(unposed, places=tuple(replace(place, pose=None) for place in unposed.places)), MODEL)


def test_one_place_is_a_map(rng: np.random.Generator) -> None:
    places = PlaceFilter(map_of([Pose.from_xy_yaw(0.0, 0.0, 0.0)]), MODEL)
    estimate = places.update(np.array([0.9]), STAND, 1)
    assert estimate.runner_up == estimate.place_id == 0 and estimate.runner_up_probability == 0.0


@pytest.mark.parametrize("motion", [Motion(3.0, 0.5, 0.4), Motion(-2.0, 0.0, 0.0), Motion(0.0, 0.0, 3.0), Motion()])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_parts_of_a_motion_make_it_again(motion: Motion, count: int) -> None:
    whole = Motion()
    for _ in range(count):
        whole = whole.then(motion.part(count))
    assert (whole.x_m, whole.y_m, whole.turn_rad) == pytest.approx((motion.x_m, motion.y_m, motion.turn_rad), abs=1e-9)
