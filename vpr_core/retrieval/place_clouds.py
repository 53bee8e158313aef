"""The clouds of all places of a map, as one file in the map's folder.

place_map/clouds.bin
  one line of JSON, filled up with blanks   schema, map hash, how the clouds were made, sha256 of it and of the rest
  counts   uint32 [N]      points of each place, 0 where it has no cloud
  points   int16 [T, 3]    x, y, z in steps of `step_m`, in the frame of the vehicle at the place's stamp

It is mapped into memory, so that only the places that are looked at are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frames
from vpr_core.data.pointcloud import usable_points
from vpr_core.data.poses import compose, inverse
from vpr_core.data.turned import turned_cloud
from vpr_core.errors import FramesError, InputError, MapError
from vpr_core.retrieval.map_arrays import read_map_arrays, write_map_arrays
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose

SCHEMA = 1
FILE = "clouds.bin"
MADE_BY = "vpr-distill map --clouds true"
_FINEST_STEP_M = 0.002
_LARGEST = np.iinfo(np.int16).max
_NEIGHBOURS_NS = 3_000_000_000
"""Frames farther apart in time say nothing about how fast the vehicle was."""
AT_BASE = Pose((0.0, 0.0, 0.0))

Progress = Callable[[int], object]
"""Called with the number of frames just done."""


@dataclass(frozen=True)
class CloudOptions:
    """How the clouds of places are made."""

    voxel_m: float = 0.4
    """One point is kept for each cube of this edge [m], the mean of those in it."""
    min_range_m: float = 1.5
    """Points nearer to the LiDAR are left out [m]: the vehicle itself, drops of rain."""
    max_range_m: float = 60.0
    """Points farther from the LiDAR are left out [m]."""
    T_base_lidar: Pose = AT_BASE
    """Where the LiDAR is mounted. Clouds of a frames folder are in its frame, the poses are the vehicle's."""
    sweep_middle_s: float = 0.0
    """How long after its stamp a cloud's middle was taken [s]: half a turn where the driver stamps the beginning."""

    def check(self) -> None:
        """Raises InputError where a value cannot work."""
        if not 0.05 <= self.voxel_m <= 5:
            raise InputError(f"voxel_m is {self.voxel_m}, expected 0.05 to 5 m; 0.3 to 0.5 for a vehicle in streets")
        if not 0 <= self.min_range_m < self.max_range_m <= 500:
            raise InputError(
                f"ranges are {self.min_range_m} to {self.max_range_m} m, expected the first below the second, "
                "and that 500 m or less"
            )
        if not self.T_base_lidar.is_finite or abs(np.linalg.norm(self.T_base_lidar.quaternion_xyzw) - 1) > 1e-3:
            raise InputError(f"the LiDAR's mounting is {self.T_base_lidar}, expected metres and a unit quaternion")


@dataclass(frozen=True)
class PlaceClouds:
    """The clouds of a map's places, read as they are asked for; the number of a place is its row."""

    map_hash: str
    options: CloudOptions
    step_m: float
    starts: np.ndarray
    """int64 [N + 1]: where the points of each place begin, and the end of the last."""
    points: np.ndarray
    """int16 [T, 3], mapped into memory."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, place_id: int) -> np.ndarray:
        """float32 [M, 3]: x, y, z [m] in the vehicle's frame at the place's stamp; M is 0 where it has no cloud."""
        rows = slice(int(self.starts[place_id]), int(self.starts[place_id + 1]))
        return self.points[rows].astype(np.float32) * np.float32(self.step_m)

    @property
    def bytes_per_place(self) -> float:
        """On the disk, and in memory once it was looked at."""
        return self.points.nbytes / max(len(self), 1)

    @classmethod
    def load(cls, folder: str | Path, map_hash: str) -> PlaceClouds:
        """Read those of the map in a folder; raises MapError where they are absent, damaged or of another map."""
        path = Path(folder) / FILE
        header, at = read_map_arrays(path, SCHEMA, map_hash, "no clouds to verify with", MADE_BY)
        counts = np.fromfile(path, np.uint32, header["places"], offset=at)
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        shape = (header["points"], 3)
        points = np.memmap(path, np.int16, "r", at + counts.nbytes, shape) if shape[0] else np.empty(shape, np.int16)
        mounting = Pose(*map(tuple, header["T_base_lidar"]))
        ranges = (header["min_range_m"], header["max_range_m"])
        options = CloudOptions(header["voxel_m"], *ranges, mounting, header["sweep_middle_s"])
        return cls(map_hash, options, header["step_m"], starts, points)


def store_clouds(
    folder: str | Path, frames: str | Path, options: CloudOptions | None = None, progress: Progress | None = None
) -> PlaceClouds:
    """Thin the clouds of the drive that the map in `folder` was just made of, and store them there.

    Raises InputError (options, a cloud that is none), FramesError (no clouds), MapError where the map is none of
    these frames.
    """
    options = options or CloudOptions()
    options.check()
    place_map, drive = PlaceMap.load(folder), Frames.load(frames)
    stamps, times = [frame.stamp_ns for frame in drive.frames], len(place_map) // max(len(drive), 1)
    if [place.stamp_ns for place in place_map.places] != stamps * times:
        raise MapError(f"{folder} was not made of {drive.folder} alone: their stamps differ")
    if not any(frame.cloud for frame in drive.frames):
        raise FramesError(f"{drive.folder} has no clouds; ingest the bag with --cloud_topic")
    found = []
    for index in range(len(drive)):
        found.append(cloud_of(drive, index, options))
        if progress:
            progress(1)
    if times > 1:  # those of the other way are behind the others
        found += [turned_cloud(cloud, AT_BASE) for cloud in found]
    write_clouds(folder, place_map.hash, found, options)
    return PlaceClouds.load(folder, place_map.hash)


def cloud_of(drive: Frames, index: int, options: CloudOptions) -> np.ndarray:
    """As `cloud_at_frame`, thinned."""
    from vpr_core.retrieval.surface import thinned  # small_gicp is loaded where clouds are made

    return thinned(cloud_at_frame(drive, index, options), options.voxel_m)


def cloud_at_frame(drive: Frames, index: int, options: CloudOptions) -> np.ndarray:
    """The cloud of a frame float64 [M, 3], in the vehicle's frame at the frame's stamp; none without one."""
    frame = drive.frames[index]
    if frame.cloud is None:
        return np.empty((0, 3))
    points = usable_points(drive.cloud(index), options.min_range_m, options.max_range_m)
    late_ns = (frame.cloud_stamp_ns or frame.stamp_ns) - frame.stamp_ns + round(options.sweep_middle_s * 1e9)
    T_base_lidar = compose(moved_on(drive, index, late_ns), options.T_base_lidar)
    rotation = Rotation.from_quat(T_base_lidar.quaternion_xyzw)
    return np.asarray(rotation.apply(points).reshape(-1, 3) + T_base_lidar.position_m)


def moved_on(drive: Frames, index: int, late_ns: int) -> Pose:
    """The vehicle's frame `late_ns` after a frame in that at the frame, at the speed to the next or from the last."""
    frame = drive.frames[index]
    others = [drive.frames[other] for other in (index + 1, index - 1) if 0 <= other < len(drive)]
    near = [other for other in others if 0 < abs(other.stamp_ns - frame.stamp_ns) <= _NEIGHBOURS_NS]
    if not near or frame.pose is None or near[0].pose is None:
        return AT_BASE
    step, share = compose(inverse(frame.pose), near[0].pose), late_ns / (near[0].stamp_ns - frame.stamp_ns)
    turn = Rotation.from_rotvec(share * Rotation.from_quat(step.quaternion_xyzw).as_rotvec()).as_quat(canonical=True)
    x, y, z = (share * value for value in step.position_m)
    qx, qy, qz, qw = map(float, turn)
    return Pose((x, y, z), (qx, qy, qz, qw))


def write_clouds(folder: str | Path, map_hash: str, found: list[np.ndarray], options: CloudOptions) -> Path:
    """Write the clouds [M, 3] of a map's places, in their order; an older file stays whole until all is on the disk."""
    farthest_m = max((float(np.abs(cloud).max()) for cloud in found if len(cloud)), default=0.0)
    step_m = max(_FINEST_STEP_M, farthest_m / _LARGEST)
    counts = np.array([len(cloud) for cloud in found], np.uint32)
    packed = [np.round(cloud / step_m).astype(np.int16).tobytes() for cloud in found]
    header = {
        "schema": SCHEMA,
        "map_hash": map_hash,
        "voxel_m": options.voxel_m,
        "min_range_m": options.min_range_m,
        "max_range_m": options.max_range_m,
        "step_m": step_m,
        "sweep_middle_s": options.sweep_middle_s,
        "T_base_lidar": [list(options.T_base_lidar.position_m), list(options.T_base_lidar.quaternion_xyzw)],
        "places": len(found),
        "points": int(counts.sum()),
    }
    body = b"".join([counts.tobytes(), *packed])
    return write_map_arrays(Path(folder) / FILE, header, body)
