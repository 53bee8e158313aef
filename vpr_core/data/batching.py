"""Batches for batch-hard triplets: pairs of frames of one place, sampled as MinkLoc++ does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np


def pair_batches(
    positives: list[np.ndarray], batch_size: int, rng: np.random.Generator, smallest: int = 4
) -> Iterator[np.ndarray]:
    """One epoch of batches, each a flat array of indices in which 2i and 2i + 1 show one place.

    A random frame that was not used yet is drawn with a random positive, one not used yet where there is one. Frames
    without positives are passed over; a last batch under `smallest` frames is left out.
    """
    unused = np.ones(len(positives), dtype=bool)
    batch: list[int] = []
    for anchor in rng.permutation(len(positives)):
        if not unused[anchor] or not len(positives[anchor]):
            continue
        fresh = positives[anchor][unused[positives[anchor]]]
        partner = int(rng.choice(fresh if len(fresh) else positives[anchor]))
        unused[[anchor, partner]] = False
        batch += [int(anchor), partner]
        if len(batch) >= batch_size:
            yield np.array(batch)
            batch = []
    if len(batch) >= smallest:
        yield np.array(batch)


class PairSampler:
    """Batches of `pair_batches`, epoch after epoch, from a position that can be stored and taken up again."""

    def __init__(self, positives: list[np.ndarray], batch_size: int, seed: int) -> None:
        """Raises ValueError where fewer than 4 frames have a positive: no epoch would hold a batch."""
        if sum(len(found) > 0 for found in positives) < 4:
            raise ValueError("fewer than 4 frames have a positive")
        self._positives, self._batch_size = positives, batch_size
        self._rng = np.random.default_rng(seed)
        self._begin_epoch(0)

    def __iter__(self) -> PairSampler:
        return self

    def __next__(self) -> np.ndarray:
        if self._position == len(self._epoch):
            self._begin_epoch(0)
        self._position += 1
        return self._epoch[self._position - 1]

    def state_dict(self) -> dict[str, Any]:
        """The random state from which this epoch was drawn, and how many of its batches have been given."""
        return {"random": json.dumps(self._epoch_began), "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = json.loads(state["random"])
        self._begin_epoch(state["position"])

    def _begin_epoch(self, position: int) -> None:
        self._epoch_began = self._rng.bit_generator.state
        self._epoch = list(pair_batches(self._positives, self._batch_size, self._rng))
        self._position = position
