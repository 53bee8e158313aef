"""Batches for batch-hard triplets: pairs of frames of one place, sampled as MinkLoc++ does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np


def pair_batches(
    positives: list[np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
    smallest: int = 4,
    confused: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> Iterator[np.ndarray]:
    """One epoch of batches, each a flat array of indices in which 2i and 2i + 1 show one place.

    A random frame that was not used yet is drawn with a random positive, one not used yet where there is one. Frames
    without positives are passed over; a last batch under `smallest` frames is left out.

    confused: for some frames those of other places that they were taken for. Where such a frame is drawn, one of these
    with a positive of its own comes into the same batch, so that the hardest negative of the batch can be that one.
    """
    unused = np.ones(len(positives), dtype=bool)

    def pair(frame: int) -> list[int]:
        fresh = positives[frame][unused[positives[frame]]]
        partner = int(rng.choice(fresh if len(fresh) else positives[frame]))
        unused[[frame, partner]] = False
        return [frame, partner]

    batch: list[int] = []
    for anchor in rng.permutation(len(positives)):
        if not unused[anchor] or not len(positives[anchor]):
            continue
        drawn = pair(int(anchor))
        taken_for = [other for frame in drawn for other in confused.get(frame, ()) if len(positives[other])]
        if taken_for:
            drawn += pair(int(rng.choice(taken_for)))
        if batch and len(batch) + len(drawn) > batch_size + 1:
            yield np.array(batch)
            batch = []
        batch += drawn
        if len(batch) >= batch_size:
            yield np.array(batch)
            batch = []
    if len(batch) >= smallest:
        yield np.array(batch)


class PairSampler:
    """Batches of `pair_batches`, epoch after epoch, from a position that can be stored and taken up again."""

    batch_size: int
    """From the next epoch on."""

    def __init__(
        self,
        positives: list[np.ndarray],
        batch_size: int,
        seed: int,
        smallest: int = 4,
        confused: Mapping[int, np.ndarray] = MappingProxyType({}),
    ) -> None:
        """smallest, confused: as in `pair_batches`, smallest 4 or more.

        Raises ValueError where fewer frames than that have a positive: no epoch would hold a batch.
        """
        if sum(len(found) > 0 for found in positives) < smallest:
            raise ValueError(f"fewer than {smallest} frames have a positive")
        self._positives, self._smallest, self.batch_size = positives, smallest, batch_size
        self._confused = confused
        self._chosen = False
        self._rng = np.random.default_rng(seed)
        self._begin_epoch(0)

    def __iter__(self) -> PairSampler:
        return self

    def __next__(self) -> np.ndarray:
        if self.at_end:
            self._begin_epoch(0)
        self._position += 1
        return self._epoch[self._position - 1]

    @property
    def at_end(self) -> bool:
        """Whether all batches of this epoch have been given."""
        return self._position >= len(self._epoch)

    @property
    def begins(self) -> bool:
        """Whether the next batch is the first of an epoch."""
        return self._position == 0 or self.at_end

    @property
    def epoch_length(self) -> int:
        """Batches in this epoch; another has a few more or less."""
        return len(self._epoch)

    @property
    def left(self) -> int:
        """Batches of this epoch that have not been given."""
        return max(len(self._epoch) - self._position, 0)

    def choose(self, positives: list[np.ndarray]) -> None:
        """Draw from these positives from now on: this epoch anew where none of its batches was given, or else the next.

        They are part of the stored state.
        """
        self._positives, self._chosen = positives, True
        if not self._position:
            self._rng.bit_generator.state = self._epoch_began
            self._begin_epoch(0)

    def state_dict(self) -> dict[str, Any]:
        """The random state from which this epoch was drawn, how many of its batches have been given, and their size."""
        state = {"random": json.dumps(self._epoch_began), "position": self._position, "batch_size": self.batch_size}
        chosen = {"positives": json.dumps([found.tolist() for found in self._positives])} if self._chosen else {}
        return state | chosen

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # What is drawn does not depend on the size. One that has grown at an epoch's end leaves that epoch with fewer
        # batches than were given, so that it is at its end again.
        self.batch_size = state["batch_size"]
        if "positives" in state:
            self._positives, self._chosen = (
                [np.array(found, np.int64) for found in json.loads(state["positives"])],
                True,
            )
        self._rng.bit_generator.state = json.loads(state["random"])
        self._begin_epoch(state["position"])

    def _begin_epoch(self, position: int) -> None:
        self._epoch_began = self._rng.bit_generator.state
        batches = pair_batches(self._positives, self.batch_size, self._rng, self._smallest, self._confused)
        self._epoch = list(batches)
        self._position = position
