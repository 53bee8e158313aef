"""A place map: the descriptors of a drive's keyframes, where they were taken, and which bundle made them.

place_map/
  map.json                 schema, model hash, modality, map frame, image size, places of each session
  descriptors-<hash>.npy   float32 [N, D], unit rows
  places-<hash>.csv        session, stamp and pose of each row

Descriptors are mapped into memory: a search reads them from the file, and the system drops what it needs room for.
Each time a map is loaded both files are read to their end and compared with the hashes in their names. What is mapped
stays what was checked, since files are replaced and never written to.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import MapError
from vpr_core.files import commit, read_checked, read_manifest, sha256_json
from vpr_core.retrieval.look_alikes import LookAlikes
from vpr_core.types import POSE_COLUMNS, Pose

SCHEMA = 1
MANIFEST = "map.json"
MADE_BY = "vpr-distill map"
KEYS = ("model_hash", "map_frame", "image_size", "descriptors", "places")
COLUMNS = ("place_id", "session", "stamp_ns", *POSE_COLUMNS)


@dataclass(frozen=True, slots=True)
class Place:
    """One keyframe of the map."""

    session: str
    stamp_ns: int
    pose: Pose | None


@dataclass(frozen=True)
class PlaceMap:
    """A place map; the number of a place is its row."""

    descriptors: np.ndarray
    """float32 [N, D], unit rows; of a map that was loaded read-only and mapped to its file."""
    places: tuple[Place, ...]
    model_hash: str
    map_frame: str
    """Coordinate frame of the poses; empty where there are none."""
    modality: str
    """What it was made of: "camera" for images, "lidar" for clouds."""
    image_size: tuple[int, int] | None
    """Width and height of the images it was made with [px]; None in a map of clouds."""
    hash: str = ""

    def __len__(self) -> int:
        return len(self.places)

    @property
    def has_poses(self) -> bool:
        return bool(self.places) and all(place.pose is not None for place in self.places)

    @cached_property
    def look_alikes(self) -> LookAlikes:
        """Which of the places of a map with poses look like others, found when it is first asked."""
        poses = [(*place.pose.position_m[:2], place.pose.yaw_rad) for place in self.places if place.pose]
        return LookAlikes.of(self.descriptors, np.array(poses))

    @classmethod
    def load(cls, folder: str | Path, model_hash: str | None = None, modality: str | None = None) -> PlaceMap:
        """Read a map folder.

        Raises MapError where it is absent or damaged, or where it was made with another bundle than `model_hash` or
        of another sensor than `modality`.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, MANIFEST, SCHEMA, MapError, MADE_BY, KEYS)
        made_of = manifest.get("modality", "camera")  # the first maps were all of images and did not say so
        if modality is not None and made_of != modality:
            raise MapError(
                f"{folder} is a {made_of} map, the bundle is a {modality} bundle: make a map with this bundle "
                f"(`{MADE_BY}`), or load the bundle that the map was made with"
            )
        if model_hash is not None and manifest["model_hash"] != model_hash:
            raise MapError(
                f"{folder} was made with model {manifest['model_hash']}, the bundle is {model_hash}: their descriptors "
                f"cannot be compared; make the map again with `{MADE_BY}`, or load the bundle it was made with"
            )
        descriptors = _mapped(folder, manifest["descriptors"])
        places = _read_places(read_checked(folder, manifest["places"], MapError, MADE_BY).decode())
        if len(places) != len(descriptors):
            raise MapError(f"{folder} has {len(descriptors)} descriptors for {len(places)} places; make it again")
        width, height = manifest["image_size"] or (0, 0)
        image_size = (width, height) if manifest["image_size"] else None
        model_hash, map_frame = manifest["model_hash"], manifest["map_frame"]
        return cls(descriptors, places, model_hash, map_frame, made_of, image_size, _hash(manifest))

    def save(self, folder: str | Path) -> Path:
        """Write the map; an older one in `folder` stays whole until everything is on the disk."""
        buffer = io.BytesIO()
        np.save(buffer, self.descriptors)

        def manifest(stored: dict[str, str]) -> dict[str, Any]:
            return {
                "schema": SCHEMA,
                "model_hash": self.model_hash,
                "map_frame": self.map_frame,
                "modality": self.modality,
                "image_size": list(self.image_size) if self.image_size else None,
                "places_count": len(self),
                "sessions": Counter(place.session for place in self.places),
                "descriptors": stored["descriptors.npy"],
                "places": stored["places.csv"],
            }

        files = {"descriptors.npy": buffer.getvalue(), "places.csv": places_csv(self.places).encode()}
        commit(Path(folder), MANIFEST, files, manifest)
        return Path(folder)


def stored_hash(folder: str | Path) -> str:
    """Identity of the map that lies in a folder; empty where there is none. Raises MapError on a damaged one."""
    if not (Path(folder) / MANIFEST).is_file():
        return ""
    return _hash(read_manifest(Path(folder), MANIFEST, SCHEMA, MapError, MADE_BY, KEYS))


def _mapped(folder: Path, stored_name: str) -> np.ndarray:
    """The array of a file that was checked as `read_checked` does, without holding it; raises MapError."""
    path, digest = folder / stored_name, hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest()[:12] != path.stem.rpartition("-")[2]:
            raise MapError(
                f"{path} is damaged: its content does not match the hash in its name; make it again with `{MADE_BY}`"
            )
        return np.asarray(np.load(path, mmap_mode="r"))
    except OSError as cause:
        raise MapError(f"{path} cannot be read ({cause.strerror}); make the folder again with `{MADE_BY}`") from cause


def _hash(manifest: dict[str, Any]) -> str:
    return sha256_json([manifest[key] for key in ("model_hash", "map_frame", "descriptors", "places")])[:16]


def places_csv(places: tuple[Place, ...]) -> str:
    """Places as they are stored, a line each under a line of COLUMNS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place_id, place in enumerate(places):
        pose = place.pose.cells() if place.pose else [""] * len(POSE_COLUMNS)
        writer.writerow([place_id, place.session, place.stamp_ns, *pose])
    return text.getvalue()


def _read_places(text: str) -> tuple[Place, ...]:
    return tuple(
        Place(sys.intern(row["session"]), int(row["stamp_ns"]), Pose.from_cells([row[name] for name in POSE_COLUMNS]))
        for row in csv.DictReader(io.StringIO(text))
    )
