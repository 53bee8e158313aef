"""Positives, negatives and pair batches by hand."""

from __future__ import annotations

import numpy as np

from vpr_core.data.batching import pair_batches
from vpr_core.data.places import masks, positives, within

LINE_M = np.array([[0, 0, 0], [8, 0, 5], [30, 0, 0], [100, 0, 0], [0, 0, 0]], dtype=float)


def test_within_ignores_height() -> None:
    assert [found.tolist() for found in within(LINE_M, LINE_M[:2], 10.0)] == [[0, 1, 4], [0, 1, 4]]
    assert within(LINE_M[:0], LINE_M[:1], 10.0)[0].tolist() == []


def test_positives_leave_out_the_frame_itself() -> None:
    assert [found.tolist() for found in positives(LINE_M, 10.0)] == [[1, 4], [0, 4], [], [], [0, 1]]


def test_masks() -> None:
    positive, negative = masks(LINE_M, 10.0, 50.0)
    assert positive[0].tolist() == [False, True, False, False, False]  # 4 is a copy of 0: neither
    assert negative[0].tolist() == [False, False, False, True, False]
    assert (positive == positive.T).all() and (negative == negative.T).all()
    assert not (positive & negative).any()


def test_batches_are_pairs_of_one_place_and_cover_every_frame() -> None:
    positions = np.repeat(np.arange(20.0) * 100, 3)[:, None] * [[1.0, 0.0, 0.0]] + np.tile([[0], [1], [2]], (20, 3))
    near = positives(positions, 10.0)
    batches = list(pair_batches(near, 16, np.random.default_rng(0)))
    for batch in batches:
        assert len(batch) % 2 == 0 and len(batch) <= 16
        assert all(second in near[first] for first, second in batch.reshape(-1, 2))
    assert set(np.concatenate(batches)) == set(range(60))


def test_frames_without_positives_are_passed_over_and_a_tiny_batch_left_out() -> None:
    assert list(pair_batches([np.array([1]), np.array([0]), np.array([], int)], 8, np.random.default_rng(0))) == []
