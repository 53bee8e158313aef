"""Recall by hand-made ranks, and the acceptance threshold."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.evaluation.recall import recall, recall_of_ranks, recall_of_truth, threshold_for_precision


def unit(*angles_deg: float) -> np.ndarray:
    radians = np.radians(angles_deg)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_hand_made_ranks() -> None:
    database = unit(0, 10, 20, 30, 40, 50)
    queries = unit(1, 1, 1, 1)  # every query ranks the database 0, 1, 2, 3, 4, 5
    truth = [np.array([0]), np.array([2, 5]), np.array([5]), np.array([], int)]
    result = recall_of_truth(database, queries, truth, ks=(1, 3, 5))
    assert result.first_hit.tolist() == [1, 3, 6, -1]
    assert result.at == {1: pytest.approx(1 / 3), 3: pytest.approx(2 / 3), 5: pytest.approx(2 / 3)}
    assert (result.evaluated, result.skipped) == (3, 1)
    assert result.best.tolist() == [0, 0, 0, 0]


def test_only_25_neighbours_are_looked_at_and_one_percent_rounds_half_to_even() -> None:
    rng = np.random.default_rng(0)
    database = rng.normal(size=(250, 8)).astype(np.float32)
    database /= np.linalg.norm(database, axis=1, keepdims=True)
    query = database[:1]
    order = np.argsort(-(database @ query[0]))
    beyond = recall_of_truth(database, query, [order[25:26]])
    assert beyond.first_hit.tolist() == [0]
    third = recall_of_truth(database, query, [order[2:3]])  # round(2.5) is 2, so rank 3 is not within 1 %
    assert third.at_one_percent == 0.0
    assert recall_of_truth(database, query, [order[1:2]]).at_one_percent == 1.0


def test_positions_decide_what_is_true() -> None:
    positions = np.array([[0, 0, 0], [9, 0, 0], [40, 0, 0]], dtype=float)
    result = recall(unit(0, 45, 90), positions, unit(46, 89), positions[[0, 2]], radius_m=10.0)
    assert result.first_hit.tolist() == [1, 1]  # 9 m away is right too
    assert recall(unit(0, 45, 90), positions, unit(46), positions[[0]], radius_m=5.0).first_hit.tolist() == [3]


def test_no_query_with_a_place_gives_nan_not_a_crash() -> None:
    result = recall_of_truth(unit(0), unit(1), [np.array([], int)])
    assert np.isnan(result.at[1]) and result.skipped == 1


def test_threshold_for_precision() -> None:
    similarity = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    correct = np.array([True, True, False, True, False])
    assert threshold_for_precision(similarity, correct, 1.0) == 0.8
    assert threshold_for_precision(similarity, correct, 0.75) == 0.6
    assert threshold_for_precision(similarity, ~correct, 1.0) == 0.9  # not to be had: only the best is let through


def test_recall_at_more_than_was_ranked_is_not_known() -> None:
    """Three of 40 places were ranked: Recall@5 could be anything; of three places there are no more."""
    rows, truth = np.array([[7, 3, 5]]), [np.array([5])]
    short = recall_of_ranks(np.zeros((1, 3)), rows, 40, truth, ks=(1, 3, 5))
    assert (short.at[1], short.at[3]) == (0.0, 1.0) and np.isnan(short.at[5]) and short.at_one_percent == 0.0
    assert np.isnan(recall_of_ranks(np.zeros((1, 3)), rows, 1000, truth).at_one_percent)
    assert recall_of_ranks(np.zeros((1, 3)), rows - 3, 5, [np.array([2])], ks=(1, 3)).at[3] == 1.0
    all_of_them = recall_of_ranks(np.zeros((1, 3)), np.array([[2, 0, 1]]), 3, [np.array([1])], ks=(10,))
    assert all_of_them.at[10] == 1.0
