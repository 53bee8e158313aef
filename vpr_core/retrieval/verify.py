"""Geometric verification: how much of a query's picture a candidate's picture shows from another point of view.

StructVPR section 4.3 re-ranks the first 100 places by the inliers of a RANSAC homography. Its threshold of 24 px at
640 x 480, and 0 for fewer than four matches, are those of the same laboratory's TransVPR (spec D.1), where matches are
mutually nearest descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vpr_core.retrieval.local_features import LocalFeatures, Match

THRESHOLD_PX = 24.0
"""Largest distance of an inlier from where the homography puts it, in an image of THRESHOLD_WIDTH_PX."""
THRESHOLD_WIDTH_PX = 640
"""Longer side of the image that THRESHOLD_PX is of; in another one it is larger or smaller in proportion."""
FEWEST = 4
"""Matches that a homography needs."""


def verify(
    query: LocalFeatures, candidate: LocalFeatures, match: Match | None = None, threshold_px: float = THRESHOLD_PX
) -> int:
    """The number of points that a homography takes from the query's image to the candidate's.

    match: how the points that both show are found; None takes mutually nearest descriptors.
    threshold_px: as THRESHOLD_PX, of an image of THRESHOLD_WIDTH_PX.
    The same features give the same number every time.
    """
    pairs = (match or mutual_nearest)(query, candidate)
    if len(pairs) < FEWEST:
        return 0
    scaled_px = threshold_px * max(candidate.size) / THRESHOLD_WIDTH_PX
    # USAC has its own seed, and takes 1 ms where RANSAC takes 200 for two pictures of different places.
    homography, inliers = cv2.findHomography(
        query.points[pairs[:, 0]], candidate.points[pairs[:, 1]], cv2.USAC_DEFAULT, scaled_px
    )
    return 0 if homography is None or inliers is None else int(np.count_nonzero(inliers))


def rerank(
    query: LocalFeatures,
    candidates: Sequence[LocalFeatures],
    match: Match | None = None,
    threshold_px: float = THRESHOLD_PX,
) -> tuple[np.ndarray, np.ndarray]:
    """The order of candidates by their inliers, int64 [N], and the inliers of each as they were given, int64 [N].

    candidates: in the order of the retrieval, which those with equally many inliers keep.
    """
    inliers = np.array([verify(query, one, match, threshold_px) for one in candidates], np.int64)
    return np.argsort(-inliers, kind="stable"), inliers


def mutual_nearest(query: LocalFeatures, candidate: LocalFeatures, ratio: float | None = None) -> np.ndarray:
    """int64 [M, 2]: rows of query and candidate whose descriptors are nearest to one another, of equal ones the first.

    ratio: leave out those whose distance is not below this share of that to the second nearest (Lowe's test); None
    keeps all, as TransVPR does. Bits are compared by Hamming distance, numbers by Euclidean distance.
    """
    if not len(query) or not len(candidate):
        return np.empty((0, 2), np.int64)
    distance = _squared(query, candidate)
    forth, back = distance.argmin(axis=1), distance.argmin(axis=0)
    rows = np.flatnonzero(back[forth] == np.arange(len(forth)))
    if ratio is not None and len(candidate) > 1:
        power = 1 if query.are_bits else 2
        first, second = np.partition(distance[rows], 1, axis=1)[:, :2].T
        rows = rows[first < ratio**power * second]
    return np.stack([rows, forth[rows]], axis=1)


def _squared(query: LocalFeatures, candidate: LocalFeatures) -> np.ndarray:
    """Of numbers squared Euclidean, of bits four times Hamming distances: float32 [K, L], exact for whole numbers."""
    known, asked = _numbers(candidate), _numbers(query)
    squares = np.square(asked).sum(axis=1)[:, None] + np.square(known).sum(axis=1)
    return squares - 2.0 * asked @ known.T


def _numbers(features: LocalFeatures) -> np.ndarray:
    """float32 [K, D]; a bit is -1 or 1."""
    if not features.are_bits:
        return features.descriptors.astype(np.float32)
    return np.unpackbits(features.descriptors, axis=1).astype(np.float32) * 2.0 - 1.0
