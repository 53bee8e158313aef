"""Batches for batch-hard triplets: pairs of frames of one place, sampled as MinkLoc++ does."""

from __future__ import annotations

from collections.abc import Iterator

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
