"""Streets that a map cannot tell apart: found as rows, and never told apart by a look."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.retrieval.check import Check
from vpr_core.retrieval.filter import FilterReason, PlaceFilter
from vpr_core.retrieval.look_alikes import LookAlikes
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

STEP_M = 3.0
MODEL = ObservationModel(offset=-14.0, per_similarity=20.0, per_standing=0.0, off_map_log_ratio=0.0, evidence_m=3.0)


def smooth(count: int, seed: int) -> np.ndarray:
    """Unit descriptors [count, 96] of places along a road: neighbours are alike, and more so the nearer they are."""
    rng = np.random.default_rng(seed)
    kernel = np.hanning(9)
    rows = np.stack([np.convolve(rng.normal(size=count + 8), kernel, "valid") for _ in range(96)], axis=1)
    return unit(rows)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def town() -> PlaceMap:
    """A street, 300 m of it, and 500 m off another of like houses with a church where it ends."""
    descriptors = smooth(100, 1)
    rng = np.random.default_rng(2)
    like = unit(descriptors + 0.02 * rng.normal(size=descriptors.shape))
    like[80:] = smooth(20, 3)
    poses = [Pose.from_xy_yaw(STEP_M * index, y_m, 0.0) for y_m in (0.0, 500.0) for index in range(100)]
    places = tuple(Place("drive", 1 + index, pose) for index, pose in enumerate(poses))
    return PlaceMap(np.concatenate([descriptors, like]), places, "model", "map", "camera", None)


def test_like_streets_are_found_in_both_directions_and_the_church_looks_like_nothing() -> None:
    found = town().look_alikes
    pairs = set(zip(found.places.tolist(), found.others.tolist(), strict=True))
    assert all((row, 100 + row) in pairs and (100 + row, row) in pairs for row in range(5, 75))
    assert not any(found.are(row, 100 + row) for row in range(85, 100)), "there the other street looks otherwise"
    assert found.are(20, 120) and not found.are(20, 60) and not found.are(20, 21)


def test_single_places_that_happen_to_look_alike_are_none() -> None:
    descriptors = smooth(200, 4)
    descriptors[150] = descriptors[40]
    poses = np.stack([STEP_M * np.arange(200), np.zeros(200), np.zeros(200)], axis=1)
    assert not LookAlikes.of(descriptors, poses).are(40, 150)


@pytest.mark.parametrize("yaw_rad", [0.0, math.pi])
def test_a_place_facing_back_is_another_place(yaw_rad: float) -> None:
    """The same positions twice: of two sessions, or there and back between like houses."""
    descriptors = np.tile(smooth(100, 5), (2, 1))
    x_m = np.tile(STEP_M * np.arange(100), 2)
    poses = np.stack([x_m, np.zeros(200), np.repeat([0.0, yaw_rad], 100)], axis=1)
    assert LookAlikes.of(descriptors, poses).are(50, 150) is (yaw_rad != 0.0)


def test_what_speaks_for_one_speaks_for_all_that_look_like_it() -> None:
    found = LookAlikes(np.array([0, 1, 2, 3]), np.array([2, 3, 0, 1]))
    values = np.array([1.0, 5.0, 2.0, 4.0])
    np.testing.assert_array_equal(found.levelled(values), [1.5, 5.0, 2.0, 4.5])
    np.testing.assert_array_equal(values, [1.0, 5.0, 2.0, 4.0])


def test_the_filter_waits_for_the_church() -> None:
    """The look favours the wrong street all along, by what the weather happens to make of it."""
    mapped, told_apart = town(), town()
    told_apart.__dict__["look_alikes"] = LookAlikes(np.empty(0, np.int64), np.empty(0, np.int64))
    believed = {}
    for name, of in (("alike", mapped), ("told apart", told_apart)):
        places, believed[name] = PlaceFilter(of, replace(MODEL, evidence_m=30.0), step_m=2.0), []
        for index in range(30, 100):
            similarities = of.descriptors @ of.descriptors[100 + index]
            similarities[:100] += np.float32(0.1)
            step = Pose((STEP_M if index > 30 else 0.0, 0.0, 0.0))
            believed[name].append(places.update(similarities, step, index * 10**9))
    assert any(one.accepted and one.pose.position_m[1] == 0.0 for one in believed["told apart"])
    assert not any(one.accepted and one.pose.position_m[1] == 0.0 for one in believed["alike"])
    assert believed["alike"][20].reason is FilterReason.AMBIGUOUS
    assert believed["alike"][-1].accepted and believed["alike"][-1].pose.position_m[1] == 500.0


def test_two_candidates_that_fit_speak_against_no_place() -> None:
    mapped = town()
    model = ObservationModel(-14.0, 20.0, 0.0, 0.0, 3.0, checked_log_ratio=4.0, unchecked_log_ratio=-4.0)
    similarities = mapped.descriptors @ mapped.descriptors[140]
    p_off_map = []
    for check in (None, Check(None, rivals=frozenset({3})), Check(None)):
        p_off_map.append(PlaceFilter(mapped, model).update(similarities, Pose((0.0, 0.0, 0.0)), 1, check).p_off_map)
    assert p_off_map[0] == p_off_map[1] < p_off_map[2]


def test_a_check_that_leads_to_one_of_like_houses_speaks_for_the_others_too() -> None:
    """It fits the other house as well, which need not have been among the candidates."""
    mapped = town()
    model = ObservationModel(-14.0, 20.0, 0.0, 0.0, 3.0, checked_log_ratio=4.0)
    found = {}
    for row in (140, 190):  # among like houses, and at the church
        nothing = np.zeros(len(mapped), np.float32)
        led = PlaceFilter(mapped, model).update(nothing, Pose((0.0, 0.0, 0.0)), 1, Check(mapped.places[row].pose, 1.0))
        found[row] = np.log(led.belief[row] / led.belief[row - 100])
    assert found[140] == pytest.approx(0.5) and found[190] == pytest.approx(4.0)
