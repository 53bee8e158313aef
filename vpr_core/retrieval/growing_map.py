"""A place map that grows while its drive is under way, from nothing or from an existing map."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpr_core.errors import MapError
from vpr_core.preprocess import check_aspect, check_image
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.place_map import MANIFEST, Place, PlaceMap, stored_hash
from vpr_core.types import Pose


class GrowingMap:
    """Places added one by one and saved to `folder` as a whole; may be saved by one thread while another adds.

    folder: where an existing map of the same model is continued as a further session, unless `continue_map` is false.
    session: name of the drive; where the map has one of that name, a number is appended.
    keyframe_m: distance from a place to the next [m].
    Raises MapError where the folder cannot be continued.
    """

    def __init__(
        self, bundle: Bundle, folder: str | Path, session: str, keyframe_m: float = 2.0, continue_map: bool = True
    ) -> None:
        self._bundle, self._folder, self._keyframe_m = bundle, Path(folder), keyframe_m
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._map = _begin(self._folder, bundle, continue_map)
        self._on_disk = self._map.hash
        self._saved_places = len(self._map)
        self._added: list[tuple[Place, np.ndarray]] = []
        self._last: Pose | None = None
        self.session = self._unused(session)

    def __len__(self) -> int:
        with self._lock:
            return len(self._map) + len(self._added)

    @property
    def map_frame(self) -> str:
        """Coordinate frame of the poses; empty before the first place of a map that was not continued."""
        return self._map.map_frame

    @property
    def saved(self) -> int:
        """Number of places that are on the disk."""
        return self._saved_places

    @property
    def unsaved(self) -> int:
        """Number of places that are not on the disk yet."""
        return len(self) - self._saved_places

    @property
    def places(self) -> tuple[Place, ...]:
        with self._lock:
            return self._map.places + tuple(place for place, _ in self._added)

    def set_frame(self, map_frame: str) -> None:
        """The coordinate frame of all poses; raises MapError where the map, or its beginning, has another."""
        with self._lock:
            if map_frame and self._map.map_frame == map_frame:
                return
            if not map_frame:
                raise MapError("the odometry names no frame: expected header.frame_id, such as odom or map")
            if self._map.map_frame:
                raise MapError(
                    f"{self._folder} has its poses in {self._map.map_frame}, the odometry is in {map_frame}: take an "
                    f"odometry in {self._map.map_frame}, or another folder for a map in {map_frame}"
                )
            self._map = replace(self._map, map_frame=map_frame)

    def begin_session(self, session: str) -> str:
        """From here on places belong to another session, whose name is returned; the first may lie anywhere."""
        name = self._unused(session)
        with self._lock:
            self.session, self._last = name, None
        return name

    def wants(self, pose: Pose) -> bool:
        """Whether a place at `pose` is far enough from the one before it."""
        last = self._last
        return last is None or math.dist(last.position_m, pose.position_m) >= self._keyframe_m

    def add(self, observation: np.ndarray, stamp_ns: int, pose: Pose) -> bool:
        """Describe an image or a cloud and add it as a place.

        observation: as `PlaceRecognizer.recognize` takes it; raises InputError as that does. False where it is too near
        to the place before it, or where another session began meanwhile, whose poses need not fit to this one.
        """
        session = self.session
        if not self.wants(pose):
            return False
        if self._bundle.modality == "camera":
            check_image(observation)
            if self._map.image_size:
                check_aspect(observation, *self._map.image_size)
        descriptor = self._bundle.encode([observation])[0]
        with self._lock:
            if session != self.session:
                return False
            if self._bundle.modality == "camera" and not self._map.image_size:
                self._map = replace(self._map, image_size=(observation.shape[1], observation.shape[0]))
            self._added.append((Place(session, stamp_ns, pose), descriptor))
            self._last = pose
        return True

    def save(self) -> Path | None:
        """Write all places and return the folder; None where nothing was added since the last time.

        The folder is the map's own, or one beside it named after the session where something else has changed the
        map since it was read: neither is lost. Raises OSError and MapError; the earlier map is whole then.
        """
        with self._saving:
            if not self.unsaved:
                return None
            with self._lock:
                self._merge()
                whole = self._map
            if stored_hash(self._folder) not in ("", self._on_disk):
                self._folder = _unused_folder(self._folder, self.session)
            whole.save(self._folder)
            self._on_disk = stored_hash(self._folder)
            self._saved_places = len(whole)
            return self._folder

    def _merge(self) -> None:
        if self._added:
            places, descriptors = zip(*self._added, strict=True)
            stacked = np.concatenate([self._map.descriptors, np.stack(descriptors).astype(np.float32)])
            self._map = replace(self._map, places=self._map.places + places, descriptors=stacked)
            self._added.clear()

    def _unused(self, session: str) -> str:
        taken = {place.session for place in self.places}
        names = [session, *(f"{session}-{number}" for number in range(2, len(taken) + 3))]
        return next(name for name in names if name not in taken)


def _begin(folder: Path, bundle: Bundle, continue_map: bool) -> PlaceMap:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        empty = np.empty((0, bundle.dim), np.float32)
        return PlaceMap(empty, (), bundle.hash, "", bundle.modality, None)
    if not continue_map and (folder / MANIFEST).is_file():
        raise MapError(f"{folder} holds a map already: choose another folder, or set continue_map")
    known = PlaceMap.load(folder, bundle.hash, bundle.modality)
    if not known.has_poses or not known.map_frame:
        raise MapError(f"{folder} has no poses in a named frame, and places that have cannot be added: choose another")
    return known


def _unused_folder(folder: Path, session: str) -> Path:
    names = (f"{folder.name}-{session}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(beside for name in names if not (beside := folder.with_name(name)).exists())
