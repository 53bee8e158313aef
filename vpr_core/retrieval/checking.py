"""The candidates of a validation drive's frames checked as the localizer checks them."""

from __future__ import annotations

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.validation import Progress, candidates
from vpr_core.retrieval.verification import Verifier
from vpr_core.types import Match, Reason, Recognition


def check_drive(
    verifier: Verifier,
    place_map: PlaceMap,
    drive: Frames,
    similarities: np.ndarray,
    every: int = 1,
    progress: Progress | None = None,
) -> tuple[Check | None, ...]:
    """A `Check` for every `every`-th frame of a drive, None for the others.

    similarities: [M, N] of its frames to the map's places, which say whom to check.
    """
    return tuple(
        _check(verifier, place_map, drive, index, similarities[index], progress) if index % every == 0 else None
        for index in range(len(drive))
    )


def _check(
    verifier: Verifier,
    place_map: PlaceMap,
    drive: Frames,
    index: int,
    similarity: np.ndarray,
    progress: Progress | None,
) -> Check:
    matches = tuple(_match(place_map, int(row), float(similarity[row])) for row in candidates(similarity))
    recognition = Recognition(drive.frames[index].stamp_ns, matches, np.empty(0, np.float32))
    observation = drive.image if place_map.modality == "camera" else drive.cloud
    found = verifier.verify(observation(index), recognition)
    if progress:
        progress(1)
    return Check.of(found, place_map)


def _match(place_map: PlaceMap, row: int, similarity: float) -> Match:
    place = place_map.places[row]
    return Match(row, place.session, place.stamp_ns, place.pose, similarity, Reason.NOT_BEST)
