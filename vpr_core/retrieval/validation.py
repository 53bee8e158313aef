"""Validation drives in a map's terms: evidence for the candidates of every frame, and which of them are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.places import within
from vpr_core.errors import FramesError
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.evidence import Layout, evidence_of
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import features_of
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose

CANDIDATES = 5
FOLDS = 5
FACING_RAD = math.pi / 4
"""A camera has a place on its map where one is near that faces its way by so much; a LiDAR sees all around."""

Progress = Callable[[int], object]


@dataclass(frozen=True)
class ValidationDrive:
    """One drive in a map's terms."""

    descriptors: np.ndarray
    """float32 [M, D], unit rows."""
    positions_m: np.ndarray | None
    """[M, 2 or more] in the map frame; None for a drive through places that the map does not have."""
    checks: Sequence[Check | None] | None = None
    """What checking the CANDIDATES most similar places gave, a frame each, None for those that were not checked; None
    where no frame was."""
    yaws_rad: np.ndarray | None = None
    """[M] headings in the map frame; None where they are not known, and any place near a frame counts as its own."""
    light: np.ndarray | None = None
    """float64 [M, L] of the images, see `light`; None where nothing is known of it, as of clouds. Of drives together it
    counts where all have it."""

    @classmethod
    def of(
        cls,
        drive: Frames,
        descriptors: np.ndarray,
        on_map: bool,
        checks: Sequence[Check | None] | None = None,
        light: np.ndarray | None = None,
    ) -> ValidationDrive:
        """Of a frames folder with poses, in the map's frame where it is `on_map`."""
        if not on_map:
            return cls(descriptors, None, checks, light=light)
        yaws_rad = yaws_of([frame.pose for frame in drive.frames if frame.pose])
        return cls(descriptors, drive.positions_m, checks, yaws_rad, light)


@dataclass(frozen=True)
class Samples:
    """Evidence and truth of M validation frames with K candidates each."""

    features: np.ndarray
    """float64 [M, K, 5], as PLAIN says, or 9 as FEATURES does, see `by_light`."""
    light: np.ndarray
    """float64 [M, L], see `light`; L is 0 where nothing is known of it."""
    right: np.ndarray
    """bool [M, K]."""
    on_map: np.ndarray
    """bool [M]: the map has a place within the radius, for a camera one that faces its way (FACING_RAD)."""
    is_elsewhere: np.ndarray
    """bool [M]: the map has no place within the radius, whichever way it may face."""
    support: np.ndarray
    """float64 [M, K, 2], what the check says of each candidate, see `check.Support`; 0 without one."""
    chosen: np.ndarray
    """int [M], the candidate that the check leads to, or the first; -1 for frames that were not checked."""
    drive: np.ndarray
    """int [M], the number of its drive."""
    fold: np.ndarray
    """int [M], which block of its drive."""

    def weights(self, off_map_share: float) -> np.ndarray:
        """[M] so that frames off the map have that share of the whole, where there are frames of both kinds."""
        count = int((~self.on_map).sum())
        if not count or count == len(self.on_map):
            return np.ones(len(self.on_map))
        each = off_map_share / (1.0 - off_map_share) * (len(self.on_map) - count) / count
        return np.where(self.on_map, 1.0, each)

    def by_light(self, light_shift: LightShift) -> Samples:
        """The same with all FEATURES; of samples that have not got them yet."""
        return replace(self, features=light_shift(self.features, self.light))

    @property
    def without_light(self) -> Samples:
        """The same as if nothing were known of the light."""
        return replace(self, light=self.light[:, :0])

    @property
    def checked(self) -> Samples:
        """The frames whose candidates were checked."""
        use = self.chosen >= 0
        return Samples(*(getattr(self, field.name)[use] for field in fields(self)))

    @property
    def checked_features(self) -> np.ndarray:
        """float64 [M, K, 11], as CHECKED_FEATURES says, of samples `by_light`."""
        return np.concatenate([self.features, self.support], axis=-1)

    @property
    def right_chosen(self) -> np.ndarray:
        """bool [M], of frames that were checked."""
        return self.of_chosen(self.right)

    def of_chosen(self, values: np.ndarray) -> np.ndarray:
        """[M, ...] of the chosen candidates from [M, K, ...], of frames that were checked."""
        return np.asarray(values[np.arange(len(self.chosen)), self.chosen])


def collect(
    place_map: PlaceMap,
    drives: Sequence[ValidationDrive],
    radius_m: float,
    exclusion_m: float,
    progress: Progress | None = None,
) -> Samples:
    """Evidence and truth of every frame of the drives; raises FramesError in a map without poses."""
    layout = Layout.of(place_map.places)
    if layout.positions_m is None:
        raise FramesError("the map has no poses, so nothing tells which match is right: make it of a drive with poses")
    if not all(drive.light is not None for drive in drives):
        drives = [replace(drive, light=None) for drive in drives]
    parts = [_of_drive(place_map, layout, drive, (radius_m, exclusion_m), progress) for drive in drives]
    sizes = [len(part[0]) for part in parts]
    drive = np.repeat(np.arange(len(sizes)), sizes)
    fold = np.concatenate([np.arange(size) * FOLDS // max(size, 1) for size in sizes])
    features, light, right, on_map, elsewhere, support, chosen = (np.concatenate(c) for c in zip(*parts, strict=True))
    return Samples(features, light, right, on_map, elsewhere, support, chosen, drive, fold)


def _of_drive(
    place_map: PlaceMap,
    layout: Layout,
    drive: ValidationDrive,
    radii_m: tuple[float, float],
    progress: Progress | None,
) -> tuple[np.ndarray, ...]:
    radius_m, exclusion_m = radii_m
    assert layout.positions_m is not None
    count = len(drive.descriptors)
    truth, on_map = [np.empty(0, np.int64)] * count, np.zeros(count, bool)
    if drive.positions_m is not None:
        truth = within(layout.positions_m, drive.positions_m, radius_m)
        on_map = is_on_map(place_map, drive.positions_m, drive.yaws_rad, radius_m)
    checks = [None] * count if drive.checks is None else drive.checks
    lights = np.empty((count, 0)) if drive.light is None else drive.light
    told = []
    for descriptor, true, known, check, light in zip(drive.descriptors, truth, on_map, checks, lights, strict=True):
        similarity = place_map.descriptors @ descriptor
        rows = candidates(similarity)
        evidence = evidence_of(similarity, rows, layout, exclusion_m)
        support = (check or Check(None)).support(layout.positions_m[rows])
        told.append((
            features_of(evidence), light, np.isin(rows, true), known, not len(true),
            support.columns, -1 if check is None else support.chosen,
        ))  # fmt: skip
        if progress:
            progress(1)
    return tuple(np.array(column) for column in zip(*told, strict=True))


def is_on_map(place_map: PlaceMap, positions_m: np.ndarray, yaws_rad: np.ndarray | None, radius_m: float) -> np.ndarray:
    """bool [M]: which frames at [M, 2 or more] have a place within the radius, for a camera one that faces their way.

    yaws_rad: [M]; None where they are not known.
    """
    places_m = np.array([place.pose.position_m for place in place_map.places if place.pose])
    found = within(places_m, positions_m, radius_m)
    if yaws_rad is None or place_map.modality != "camera":
        return np.array([len(rows) > 0 for rows in found], bool)
    places_rad = _yaws_of_places(place_map)
    # A heading that is not known, NaN, is not turned away.
    return np.array([not (np.cos(places_rad[rows] - yaw_rad) < math.cos(FACING_RAD)).all()
                     for rows, yaw_rad in zip(found, yaws_rad, strict=True)], bool)  # fmt: skip


def _yaws_of_places(place_map: PlaceMap) -> np.ndarray:
    """[N] headings, NaN of sessions whose headings are not known."""
    sessions = np.array([place.session for place in place_map.places])
    yaws_rad = np.full(len(sessions), np.nan)
    for session in np.unique(sessions):
        known = yaws_of([place.pose for place in place_map.places if place.pose and place.session == session])
        if known is not None:
            yaws_rad[sessions == session] = known
    return yaws_rad


def yaws_of(poses: Sequence[Pose]) -> np.ndarray | None:
    """[M] headings of a drive; None where all its poses have one orientation, as where their source gave none."""
    turns = np.array([pose.quaternion_xyzw for pose in poses]).reshape(-1, 4)
    if (np.abs(turns @ turns[:1].T) > 1.0 - 1e-12).all():
        return None
    return np.array([pose.yaw_rad for pose in poses])


def candidates(similarity: np.ndarray) -> np.ndarray:
    """Rows int [K] of the CANDIDATES most similar places, the most similar first; similarity: of all [N]."""
    return np.argsort(-similarity, kind="stable")[:CANDIDATES]
