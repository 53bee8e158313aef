"""The points in space of a map's local features, as one file in the map's folder.

place_map/points.bin
  one line of JSON, filled up with blanks   schema, map hash, features, camera, where it is mounted, sha256 of the rest
  points   int16 [T, 3]    x, y, z in steps of `step_m`, in the frame of the vehicle at the place's stamp; the rows are
                           those of features.bin, and the lowest number stands for a feature without a point

It is mapped into memory, so that only the places that are looked at are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError, InputError, MapError
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.keypoint_depth import DepthOptions, points_at
from vpr_core.retrieval.map_arrays import read_map_arrays, write_map_arrays
from vpr_core.retrieval.place_clouds import CloudOptions, cloud_at_frame
from vpr_core.retrieval.place_features import PlaceFeatures
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.rigid import matrix_of
from vpr_core.types import Pose

SCHEMA = 1
FILE = "points.bin"
MADE_BY = "vpr-distill map --features sift"
_FINEST_STEP_M = 0.002
_LARGEST = np.iinfo(np.int16).max
_NOTHING = np.iinfo(np.int16).min

Progress = Callable[[int], object]
"""Called with the number of frames just done."""


@dataclass(frozen=True)
class PointSource:
    """What the points of a drive's features are made with."""

    camera: CameraModel
    """Of the drive's images."""
    T_base_camera: Pose
    """Where it is mounted; the optical frame."""
    clouds: CloudOptions
    """Ranges, where the LiDAR is mounted and when a sweep's middle is; clouds are not thinned."""

    def check(self, drive: Frames) -> None:
        """Raises InputError where the camera is not that of the images or a mounting is none."""
        self.clouds.check()
        if abs(np.linalg.norm(self.T_base_camera.quaternion_xyzw) - 1) > 1e-3 or not self.T_base_camera.is_finite:
            raise InputError(f"the camera's mounting is {self.T_base_camera}, expected metres and a unit quaternion")
        self.camera.check_size(drive.image_size, "the camera's calibration")


@dataclass(frozen=True)
class PlacePoints:
    """Points of a map's features, read as they are asked for; the number of a place is its row."""

    map_hash: str
    camera: CameraModel
    """That the map's images were taken with."""
    T_base_camera: Pose
    """Where it was mounted; the optical frame."""
    step_m: float
    starts: np.ndarray
    """int64 [N + 1]: where the features of each place begin, and the end of the last."""
    points: np.ndarray
    """int16 [T, 3], mapped into memory."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, place_id: int) -> np.ndarray:
        """float64 [K, 3]: x, y, z [m] in the vehicle's frame at the place's stamp, NaN where a feature has no point."""
        stored = self.points[int(self.starts[place_id]) : int(self.starts[place_id + 1])]
        return np.where(stored == _NOTHING, np.nan, stored * self.step_m)

    @property
    def share(self) -> float:
        """Of the features that have a point, in [0, 1]."""
        return float(np.mean(self.points[:, 0] != _NOTHING)) if len(self.points) else 0.0

    @property
    def bytes_per_place(self) -> float:
        """On the disk, and in memory once it was looked at."""
        return self.points.nbytes / max(len(self), 1)

    @classmethod
    def load(cls, folder: str | Path, map_hash: str, features: PlaceFeatures) -> PlacePoints:
        """Read those of the map in a folder.

        Raises MapError where they are absent, damaged, of another map or of other features than those beside them.
        """
        path = Path(folder) / FILE
        absent = "no points in space of its local features to verify with"
        otherwise = ", of frames that have clouds, the camera's intrinsics and where both sensors are mounted"
        header, at = read_map_arrays(path, SCHEMA, map_hash, absent, MADE_BY, otherwise)
        if header["features"] != _identity(features):
            raise MapError(f"{path} belongs to other local features than those beside it: make both with `{MADE_BY}`")
        shape = (len(features.points), 3)
        points = np.memmap(path, np.int16, "r", at, shape) if shape[0] else np.empty(shape, np.int16)
        camera = CameraModel.of(header["camera"], str(path))
        mounted = Pose(*map(tuple, header["T_base_camera"]))
        return cls(map_hash, camera, mounted, header["step_m"], features.starts, points)


def store_points(
    folder: str | Path,
    frames: str | Path,
    source: PointSource,
    options: DepthOptions | None = None,
    progress: Progress | None = None,
) -> PlacePoints:
    """Find the points of the local features that were just stored with the map in `folder`, and store them there.

    Raises InputError as `PointSource.check`, FramesError where there are no clouds, MapError where the map has no
    features or is none of these frames.
    """
    place_map, drive = PlaceMap.load(folder), Frames.load(frames)
    source.check(drive)
    features = PlaceFeatures.load(folder, place_map.hash)
    if [place.stamp_ns for place in place_map.places] != [frame.stamp_ns for frame in drive.frames]:
        raise MapError(f"{folder} was not made of {drive.folder} alone: their stamps differ")
    if not any(frame.cloud for frame in drive.frames):
        raise FramesError(f"{drive.folder} has no clouds; ingest the bag with --cloud_topic")
    T_base_camera, found = matrix_of(source.T_base_camera), []
    for index in range(len(drive)):
        rays = source.camera.rays(features[index].points, features.size)
        cloud = cloud_at_frame(drive, index, source.clouds)
        found.append(points_at(rays, cloud, T_base_camera, options or DepthOptions()))
        if progress:
            progress(1)
    write_points(folder, place_map.hash, features, source.camera, source.T_base_camera, found)
    return PlacePoints.load(folder, place_map.hash, features)


def write_points(
    folder: str | Path,
    map_hash: str,
    features: PlaceFeatures,
    camera: CameraModel,
    T_base_camera: Pose,
    found: list[np.ndarray],
) -> Path:
    """Write the points [K, 3] of a map's features, place by place; NaN where one has none.

    An older file stays whole until all is on the disk.
    """
    points = np.concatenate(found) if found else np.empty((0, 3))
    known = np.isfinite(points).all(axis=1)
    step_m = max(_FINEST_STEP_M, float(np.abs(points[known]).max(initial=0.0)) / _LARGEST)
    stored = np.full(points.shape, _NOTHING, np.int16)
    stored[known] = np.round(points[known] / step_m)
    header = {
        "schema": SCHEMA,
        "map_hash": map_hash,
        "features": _identity(features),
        "camera": camera.card,
        "T_base_camera": [list(T_base_camera.position_m), list(T_base_camera.quaternion_xyzw)],
        "step_m": step_m,
        "places": len(features),
    }
    return write_map_arrays(Path(folder) / FILE, header, stored.tobytes())


def _identity(features: PlaceFeatures) -> str:
    """Which features, and where in the pictures."""
    digest = hashlib.sha256(features.kind.encode())
    for array in (features.starts, features.points):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
