"""Precision and recall of best matches, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.evaluation.precision_recall import precision_recall


def test_a_curve_by_hand() -> None:
    """Right, right, one without a place, wrong, right: of four queries with a place three are found."""
    similarity = np.array([0.5, 0.9, 0.7, 0.6, 0.8], np.float32)
    first_hit = np.array([1, 1, -1, 3, 1])
    curve = precision_recall(similarity, first_hit)
    assert curve.threshold.tolist() == sorted(similarity.tolist(), reverse=True)
    np.testing.assert_allclose(curve.precision, [1, 1, 2 / 3, 2 / 4, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 4, 2 / 4, 2 / 4, 2 / 4, 3 / 4])
    assert curve.average_precision == pytest.approx(1 / 4 + 1 / 4 + 1 / 4 * 3 / 5)
    assert curve.recall_at_100_precision == 0.5


def test_an_accepted_query_without_a_place_is_a_false_positive() -> None:
    similarity, first_hit = np.array([0.9, 0.8, 0.95]), np.array([1, 1, -1])
    with_negative, without = precision_recall(similarity, first_hit), precision_recall(similarity[:2], first_hit[:2])
    assert (without.average_precision, without.recall_at_100_precision) == (1.0, 1.0)
    assert with_negative.average_precision == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 3)
    assert with_negative.recall_at_100_precision == 0.0
    assert with_negative.recall[-1] == 1.0


def test_equal_similarities_are_one_threshold_in_any_order() -> None:
    for first_hit in ([1, 0], [0, 1]):
        curve = precision_recall(np.array([0.5, 0.5]), np.array(first_hit))
        assert (curve.threshold.tolist(), curve.precision.tolist(), curve.recall.tolist()) == ([0.5], [0.5], [0.5])
        assert (curve.average_precision, curve.recall_at_100_precision) == (0.25, 0.0)


def test_against_a_naive_loop_over_thresholds() -> None:
    rng = np.random.default_rng(0)
    similarity, first_hit = rng.integers(0, 20, 80) / 20, rng.choice([-1, 0, 1, 2], 80)
    area, before, perfect = 0.0, 0.0, 0.0
    for threshold in sorted(set(similarity), reverse=True):
        accepted = similarity >= threshold
        precision = (first_hit[accepted] == 1).mean()
        recall = (first_hit[accepted] == 1).sum() / (first_hit >= 0).sum()
        area, before = area + (recall - before) * precision, recall
        perfect = recall if precision == 1 else perfect
    curve = precision_recall(similarity, first_hit)
    assert curve.average_precision == pytest.approx(area) and curve.recall_at_100_precision == pytest.approx(perfect)


def test_recall_ends_at_recall_at_1_and_an_order_that_knows_is_worth_it() -> None:
    first_hit = np.array([1] * 6 + [0] * 2 + [-1] * 4)
    sorted_by_truth = precision_recall(np.linspace(1, 0, 12), first_hit)
    assert sorted_by_truth.recall[-1] == 6 / 8
    assert sorted_by_truth.average_precision == sorted_by_truth.recall_at_100_precision == 6 / 8
    assert precision_recall(np.linspace(0, 1, 12), first_hit).average_precision < 0.5


@pytest.mark.parametrize("queries", [0, 3])
def test_no_query_with_a_place_gives_nan_not_a_crash(queries: int) -> None:
    curve = precision_recall(np.linspace(1, 0, queries), np.full(queries, -1))
    assert np.isnan([curve.average_precision, curve.recall_at_100_precision]).all()
    assert curve.precision.tolist() == [0.0] * queries and np.isnan(curve.recall).all()


def test_areas_by_hand() -> None:
    """Right, wrong, right: straight lines from (0, 1) over (1/3, 1), (1/3, 1/2) to (2/3, 2/3)."""
    curve = precision_recall(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]))
    assert curve.average_precision == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert curve.pr_auc == pytest.approx(1 / 3 + 1 / 3 * (1 / 2 + 2 / 3) / 2)
    assert curve.auroc == 0.5
    assert precision_recall(np.array([0.9, 0.8]), np.array([1, 1])).pr_auc == 1.0


def test_areas_against_numpy_and_naive_pairs() -> None:
    rng = np.random.default_rng(1)
    similarity, first_hit = rng.integers(0, 20, 80) / 20, rng.choice([-1, 0, 1, 2], 80)
    curve = precision_recall(similarity, first_hit)
    trapezoid = getattr(np, "trapezoid", None) or np.trapz
    recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[0], curve.precision)
    assert curve.pr_auc == pytest.approx(float(trapezoid(precision, recall)))
    right, wrong = similarity[first_hit == 1], similarity[first_hit != 1]
    won = [(a > b) + (a == b) / 2 for a in right for b in wrong]
    assert curve.auroc == pytest.approx(np.mean(won))
    assert precision_recall(-similarity, first_hit).auroc == pytest.approx(1 - curve.auroc)


def test_without_scores_there_are_no_figures_and_it_is_said_why() -> None:
    curve = precision_recall(np.array([np.nan, np.nan]), np.array([1, 0]))
    assert np.isnan(list(curve.shares().values())).all() and curve.absent == "no scores, so no curve"
    off_map = precision_recall(np.array([0.5]), np.array([-1]))
    assert off_map.absent == "no query has a place in the map"
    assert precision_recall(np.array([0.5]), np.array([1])).absent == ""
