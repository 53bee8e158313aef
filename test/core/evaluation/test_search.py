"""Ranking by cosine and by Euclidean distance, against naive loops."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.evaluation.recall import RETRIEVED
from vpr_core.evaluation.search import by_cosine, by_euclidean, has_unit_length, unit


@pytest.fixture
def raw() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.1, 30.0, (60, 1))
    return (rng.normal(size=(60, 5)) * lengths).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)


def test_against_naive_loops(raw: tuple[np.ndarray, np.ndarray]) -> None:
    database, queries = raw
    for search, alike in (
        (by_euclidean, lambda d, q: -np.linalg.norm(d.astype(float) - q.astype(float))),
        (by_cosine, lambda d, q: d @ q / np.linalg.norm(d) / np.linalg.norm(q)),
    ):
        similarity, rows = search(database, queries)
        naive = np.array([[alike(place, query) for place in database] for query in queries])
        order = np.argsort(-naive, axis=1)[:, :RETRIEVED]
        np.testing.assert_array_equal(rows, order)
        np.testing.assert_allclose(similarity, np.take_along_axis(naive, order, axis=1), rtol=1e-5, atol=1e-6)


def test_raw_descriptors_are_ranked_otherwise_and_unit_ones_alike(raw: tuple[np.ndarray, np.ndarray]) -> None:
    database, queries = raw
    assert (by_cosine(database, queries)[1] != by_euclidean(database, queries)[1]).any()
    assert not has_unit_length(database) and has_unit_length(unit(database))
    both = [search(unit(database), unit(queries)) for search in (by_cosine, by_euclidean)]
    np.testing.assert_array_equal(both[0][1], both[1][1])
    np.testing.assert_allclose(2 - 2 * both[0][0], both[1][0] ** 2, atol=1e-5)


def test_a_distance_of_large_vectors_close_together_is_exact() -> None:
    """In float32 the squares of these would swallow the differences."""
    database = np.array([[3000.0, 0.25], [3000.0, 0.0], [3000.0, -0.125]], np.float32)
    similarity, rows = by_euclidean(database, np.array([[3000.0, -0.0625]], np.float32))
    assert rows.tolist() == [[1, 2, 0]]  # of the two at the same distance the first
    np.testing.assert_allclose(-similarity, [[0.0625, 0.0625, 0.3125]], rtol=1e-6)


def test_unit_descriptors_stay_as_they_are_and_zeros_are_no_crash(raw: tuple[np.ndarray, np.ndarray]) -> None:
    once = unit(raw[0])
    assert unit(once) is once
    similarity, _ = by_cosine(raw[0], np.zeros((1, 5), np.float32))
    assert similarity.max() == 0.0


def test_without_queries_there_is_nothing_to_rank(raw: tuple[np.ndarray, np.ndarray]) -> None:
    assert [part.shape for part in by_euclidean(raw[0], raw[1][:0])] == [(0, RETRIEVED)] * 2
