"""Edits of a map: drives added, sessions removed, maps merged, near-duplicates left out.

Every edit chooses places of one or more stored maps, and writes them as one map with what lies beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import MapError, VprError
from vpr_core.preprocess import ASPECT_TOLERANCE
from vpr_core.retrieval import place_clouds, place_features
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.map_sessions import Stored
from vpr_core.retrieval.mapping import Progress, build_map
from vpr_core.retrieval.place_clouds import store_clouds
from vpr_core.retrieval.place_features import load_kind, store_features
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

WITHOUT_POSES = "none (without poses)"


@dataclass(frozen=True)
class Chosen:
    """Places of one stored map that go into the edited one."""

    stored: Stored
    rows: np.ndarray
    """int64 [K], in their order there."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Sessions that get another name, since theirs is taken."""

    @property
    def places(self) -> tuple[Place, ...]:
        """The places as the edited map has them."""
        known = self.stored.place_map.places
        return tuple(replace(known[row], session=self.renamed.get(known[row].session, known[row].session))
                     for row in self.rows.tolist())  # fmt: skip


def whole(stored: Stored) -> Chosen:
    """All places of a map."""
    return Chosen(stored, np.arange(len(stored.place_map)))


def without(stored: Stored, sessions: Sequence[str]) -> Chosen:
    """All places but those of some sessions; raises MapError where one is not there, or no place is left."""
    names = [place.session for place in stored.place_map.places]
    if unknown := sorted(set(sessions) - set(names)):
        known = ", ".join(dict.fromkeys(names))
        raise MapError(f"{stored.folder} has no session {', '.join(unknown)}: expected some of {known}")
    rows = np.array([row for row, name in enumerate(names) if name not in sessions], np.int64)
    if not len(rows):
        raise MapError(f"{stored.folder} would have no place left: delete the folder if nothing of it is wanted")
    return Chosen(stored, rows)


def merged(base: Stored, others: Sequence[Stored]) -> list[Chosen]:
    """The base and what the others have beyond it, one after the other.

    A place that is in both, of one session and stamp with the same descriptor, is taken once; another session of a
    name that is taken gets a number. Raises MapError where another model, sensor, map frame or shape of images made
    one of them, or it has nothing beyond the others.
    """
    chosen = [whole(base)]
    for other in others:
        check_alike(base, other)
        known = {(place.session, place.stamp_ns): part.stored.place_map.descriptors[row]
                 for part in chosen for row, place in zip(part.rows.tolist(), part.places, strict=True)}  # fmt: skip
        chosen.append(_beyond(other, known))
    return chosen


def _beyond(other: Stored, known: dict[tuple[str, int], np.ndarray]) -> Chosen:
    descriptors, shared = other.place_map.descriptors, set()
    rows = []
    for row, place in enumerate(other.place_map.places):
        twin = known.get((place.session, place.stamp_ns))
        if twin is not None and np.array_equal(twin, descriptors[row]):
            shared.add(place.session)
        else:
            rows.append(row)
    if not rows:
        raise MapError(f"{other.folder}: all of its {len(descriptors)} places are in the map already")
    taken = {session for session, _ in known}
    renamed: dict[str, str] = {}
    for name in dict.fromkeys(other.place_map.places[row].session for row in rows):
        if name in taken and name not in shared:
            renamed[name] = _unused(name, taken | set(renamed.values()))
    return Chosen(other, np.array(rows, np.int64), renamed)


def _unused(name: str, taken: set[str]) -> str:
    return next(other for number in range(2, len(taken) + 3) if (other := f"{name}-{number}") not in taken)


def check_alike(base: Stored, other: Stored) -> None:
    """Raise MapError unless both can be one map."""
    one, two = base.place_map, other.place_map
    for what, mine, came in (
        ("model", one.model_hash, two.model_hash),
        ("sensor", one.modality, two.modality),
        ("map frame", _frame(one), _frame(two)),
    ):
        if mine != came:
            raise MapError(
                f"{other.folder} has {what} {came}, {base.folder} has {mine}: one map takes drives of one model, "
                "sensor and map frame"
            )
    if one.image_size and two.image_size:
        (width, height), (its_width, its_height) = one.image_size, two.image_size
        if abs(its_width * height / (its_height * width) - 1) > ASPECT_TOLERANCE:
            raise MapError(
                f"{other.folder} is of images of {its_width}x{its_height}, {base.folder} of {width}x{height}: "
                "another camera or crop, whose places a query cannot be compared with"
            )


def _frame(place_map: PlaceMap) -> str:
    return place_map.map_frame if place_map.has_poses else WITHOUT_POSES


def described_as(
    base: Stored,
    frames: str | Path,
    bundle: str | Path,
    folder: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    other_way_from: Pose | None = None,
) -> tuple[Stored, list[str]]:
    """A map of a drive in `folder` with what lies beside the base, and what could not be made for it, in words.

    progress: called with the number of frames just described, and again for clouds and for features.
    other_way_from: as `build_map` takes it.
    Raises as `build_map` does; MapError where the bundle did not make the base, or the drive is in another frame.
    """
    drive, loaded = Frames.load(frames), Bundle.load(bundle, device)
    frame = drive.map_frame if drive.has_poses else WITHOUT_POSES
    if frame != _frame(base.place_map):
        raise MapError(
            f"{drive.folder} has map frame {frame}, {base.folder} has {_frame(base.place_map)}: a drive can be added "
            "where its poses are in the map's frame"
        )
    PlaceMap.load(base.folder, loaded.hash, loaded.modality)
    build_map(bundle, frames, folder, device, progress, other_way_from)
    told = []
    try:
        if base.clouds is not None:
            store_clouds(folder, frames, base.clouds.options, progress)
    except VprError as error:
        told.append(f"{place_clouds.FILE}: none could be made of the added drive ({error})")
    try:
        if base.features is not None:
            kind = load_kind(base.folder, base.features, device)
            spec = f"{kind.name}={kind.weights}" if kind.weights else kind.name
            store_features(folder, frames, spec, device, progress)
    except VprError as error:
        told.append(f"{place_features.FILE}: none could be made of the added drive ({error})")
    return Stored.load(folder), told
