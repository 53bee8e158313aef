"""The past of a drive: what is old enough, what can be reached, what a full memory lets go."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.errors import InputError
from vpr_core.retrieval.own_past import FEWEST, MIB, OwnPast
from vpr_core.types import Pose

DIM = 8
ROOM = 70
STEP_NS = 1_000_000_000


def described(place_id: int) -> np.ndarray:
    row = np.random.default_rng(place_id).normal(size=DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def drive(places: int, room: int = ROOM, turn_back_at: int = 10**9, sessions: int = 1) -> OwnPast:
    """A place every metre and second along x, in so many sessions of equal length."""
    past = OwnPast(DIM, room * OwnPast(DIM, MIB).bytes_per_place)
    for number in range(places):
        x_m = float(number if number <= turn_back_at else 2 * turn_back_at - number)
        past.keep(
            described(number), number * STEP_NS, 1 + number * sessions // places, float(number), Pose((x_m, 0, 0))
        )
    return past


def test_a_full_memory_thins_its_older_half_and_keeps_numbers_and_descriptors() -> None:
    past = drive(ROOM + 1)
    kept = [*range(0, ROOM // 2, 2), *range(ROOM // 2, ROOM + 1)]
    assert list(past.place_ids) == kept
    assert past.thinned == ROOM + 1 - len(kept) and past.kept == ROOM + 1
    for row, place_id in enumerate(kept):
        place = past[row]
        assert (place.place_id, place.stamp_ns, place.metres) == (place_id, place_id * STEP_NS, float(place_id))
        similarity, rows = past.search(described(place_id), np.ones(len(past), bool), 1)
        assert rows[0] == row and similarity[0] == pytest.approx(1.0, abs=1e-6)


def test_memory_stays_within_its_budget_and_no_stretch_is_forgotten() -> None:
    past = drive(20 * ROOM)
    assert len(past) <= ROOM and past.bytes <= ROOM * past.bytes_per_place
    gaps = np.diff(past.place_ids)
    assert past.place_ids[0] == 0 and past.place_ids[-1] == 20 * ROOM - 1
    assert gaps[-1] == 1 and gaps[0] > 1
    assert past.thinned + len(past) == past.kept == 20 * ROOM


def test_search_is_exact_among_those_that_are_asked() -> None:
    past, query = drive(60), described(999)
    asked = np.random.default_rng(0).random(50) < 0.4
    of_all = np.array([described(number) @ query for number in range(50)])
    expected = np.flatnonzero(asked)[np.argsort(-of_all[asked])][:4]
    similarity, rows = past.search(query, asked, 4)
    assert list(rows) == list(expected)
    np.testing.assert_allclose(similarity, of_all[expected], atol=1e-6)
    assert len(past.search(query, np.zeros(50, bool), 4)[1]) == len(past.search(query, np.ones(0, bool), 4)[1]) == 0


@pytest.mark.parametrize(
    ("metres", "seconds", "expected"), [(30.0, 99, 31), (99.0, 20, 21), (30.0, 20, 21), (-1, 99, 0)]
)
def test_old_enough_is_by_way_and_by_time(metres: float, seconds: int, expected: int) -> None:
    assert drive(60).older(1, metres, seconds * STEP_NS) == expected


def test_stamps_of_an_earlier_session_say_nothing() -> None:
    past = drive(60, sessions=2)
    assert past.older(2, 99.0, 40 * STEP_NS) == 41
    assert past.older(2, 99.0, -5 * STEP_NS) == 30
    assert past.older(3, 99.0, -5 * STEP_NS) == 60


def test_reachable_is_what_drift_allows() -> None:
    past = drive(60)
    # Back at x 10 after 100 m of way: the place at x lies |x - 10| away, and 100 - x m of way ago.
    reached = past.reachable(60, 1, Pose((10.0, 0.0, 0.0)), 100.0, 5.0, 0.1)
    assert list(reached) == [abs(x - 10.0) <= 5.0 + 0.1 * (100.0 - x) for x in range(60)]
    assert past.reachable(60, 2, Pose((10.0, 0.0, 0.0)), 100.0, 5.0, 0.1).all()


def test_without_pose_a_place_has_none() -> None:
    past = OwnPast(DIM, MIB)
    assert past.keep(described(0), 5, 1, 0.0, None).pose is None
    pose = Pose((1.0, 2.0, 3.0), (0.0, 0.0, 0.6, 0.8))
    assert past.keep(described(1), 6, 1, 0.0, pose).pose == pose == past[-1].pose
    with pytest.raises(IndexError):
        past[2]


def test_a_memory_without_room_is_refused() -> None:
    with pytest.raises(InputError, match=f"expected {FEWEST} or more: give 1 MiB"):
        OwnPast(DIM, 1000)
