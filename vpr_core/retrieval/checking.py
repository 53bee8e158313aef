"""The candidates of a validation drive's frames checked as the localizer checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.validation import Progress, candidates
from vpr_core.types import Match, Reason, Recognition

if TYPE_CHECKING:  # small_gicp is loaded where clouds are compared
    from vpr_core.retrieval.verify_lidar import LidarVerifier


def check_drive(
    verifier: LidarVerifier,
    place_map: PlaceMap,
    drive: Frames,
    descriptors: np.ndarray,
    every: int = 1,
    progress: Progress | None = None,
) -> tuple[Check | None, ...]:
    """A `Check` for every `every`-th frame of a drive, None for the others.

    descriptors: float32 [M, D], unit rows, of its frames.
    """
    return tuple(
        _check(verifier, place_map, drive, index, descriptors[index], progress) if index % every == 0 else None
        for index in range(len(drive))
    )


def _check(
    verifier: LidarVerifier,
    place_map: PlaceMap,
    drive: Frames,
    index: int,
    descriptor: np.ndarray,
    progress: Progress | None,
) -> Check:
    similarity = place_map.descriptors @ descriptor
    matches = tuple(_match(place_map, int(row), float(similarity[row])) for row in candidates(similarity))
    recognition = Recognition(drive.frames[index].stamp_ns, matches, descriptor)
    found = verifier.verify(drive.cloud(index), recognition)
    if progress:
        progress(1)
    return Check.of(found, place_map)


def _match(place_map: PlaceMap, row: int, similarity: float) -> Match:
    place = place_map.places[row]
    return Match(row, place.session, place.stamp_ns, place.pose, similarity, Reason.NOT_BEST)
