"""The order of batches can be stored at any moment and taken up again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vpr_core.data.batching import PairSampler

PAIRS = [np.array([index ^ 1]) for index in range(20)]


def test_a_stored_position_gives_the_same_batches() -> None:
    sampler = PairSampler(PAIRS, 8, seed=3)
    for taken in range(8):  # over the end of an epoch, which holds three batches
        stored = json.loads(json.dumps(sampler.state_dict()))
        expected = [next(sampler) for _ in range(7)]
        other = PairSampler(PAIRS, 8, seed=100 + taken)
        other.load_state_dict(stored)
        for batch in expected:
            np.testing.assert_array_equal(next(other), batch)
        sampler = other
        sampler.load_state_dict(stored)
        next(sampler)


def test_epochs_differ_and_each_covers_every_frame() -> None:
    sampler = PairSampler(PAIRS, 8, seed=3)
    epochs = [np.concatenate([next(sampler) for _ in range(3)]) for _ in range(2)]
    assert set(epochs[0]) == set(epochs[1]) == set(range(20))
    assert not np.array_equal(*epochs)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 4"):
        PairSampler([np.array([1]), np.array([0]), np.array([], int)], 8, seed=0)


def test_a_small_last_batch_is_left_out() -> None:
    sampler = PairSampler(PAIRS, 8, seed=3, smallest=5)
    assert [len(next(sampler)) for _ in range(4)] == [8, 8, 8, 8]
    assert sampler.at_end and sampler.epoch_length == 2 and sampler.left == 0


def test_another_size_counts_from_the_next_epoch_on() -> None:
    sampler = PairSampler(PAIRS, 8, seed=3)
    next(sampler)
    sampler.batch_size = 12
    assert sampler.left == 2 and [len(next(sampler)) for _ in range(4)] == [8, 4, 12, 8]


def test_chosen_positives_hold_at_once_at_the_beginning_and_else_from_the_next_epoch_on() -> None:
    all_of_ten = [np.array([other for other in range(index // 10 * 10, index // 10 * 10 + 10) if other != index])
                  for index in range(20)]  # fmt: skip
    sampler = PairSampler(all_of_ten, 8, seed=3)
    assert sampler.begins
    sampler.choose(PAIRS)
    first = next(sampler)
    np.testing.assert_array_equal(first[1::2], first[::2] ^ 1)
    assert not sampler.begins
    stored = json.loads(json.dumps(sampler.state_dict()))
    sampler.choose(all_of_ten)
    rest = np.concatenate([next(sampler) for _ in range(2)])
    np.testing.assert_array_equal(rest[1::2], rest[::2] ^ 1)
    assert sampler.begins
    following = np.concatenate([next(sampler) for _ in range(2)])
    assert (following[1::2] != following[::2] ^ 1).any()
    other = PairSampler(all_of_ten, 8, seed=7)
    other.load_state_dict(stored)
    np.testing.assert_array_equal(np.concatenate([next(other) for _ in range(2)]), rest)
    assert "positives" not in PairSampler(PAIRS, 8, seed=3).state_dict(), "states of other recipes stay as they are"


def test_frames_that_were_confused_come_into_one_batch() -> None:
    confused = {0: np.array([10]), 10: np.array([0]), 4: np.array([], int)}
    sampler = PairSampler(PAIRS, 8, seed=3, confused=confused)
    for _ in range(12):
        batch = next(sampler)
        np.testing.assert_array_equal(batch[1::2], batch[::2] ^ 1)
        assert 4 <= len(batch) <= 8
        assert (0 in batch) == (10 in batch)
    alone = [np.array([index ^ 1]) if index != 10 else np.array([], int) for index in range(20)]
    sampler = PairSampler(alone, 8, seed=3, confused=confused)
    assert all(10 not in next(sampler)[::2] for _ in range(6)), "it has no positive to come with"


def test_what_is_drawn_without_confusion_stays_as_it_was() -> None:
    plain, empty = PairSampler(PAIRS, 8, seed=5), PairSampler(PAIRS, 8, seed=5, confused={3: np.array([], int)})
    for _ in range(9):
        np.testing.assert_array_equal(next(plain), next(empty))
