"""Clouds as a LiDAR gives them that stands the other way round, on a vehicle that drives the other way or by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frames, write_index
from vpr_core.data.mounting import extrinsics
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import FramesError
from vpr_core.files import folder_in_the_making
from vpr_core.types import Pose

HALF_TURN = Pose((0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
"""About the vehicle's own z, which points up."""
SESSION_ENDING = "-turned"


def turned_cloud(cloud: np.ndarray, T_base_lidar: Pose) -> np.ndarray:
    """What the LiDAR of a vehicle that stands the other way round would see: cloud [N, 3+] of x, y, z [m] in its frame.

    T_base_lidar: where it is mounted. One that stands ahead of the vehicle's middle would then see the street from some
    metres behind it; the same points are kept, as a registration finds them.
    """
    T = compose(inverse(T_base_lidar), compose(HALF_TURN, T_base_lidar))
    turned = cloud.copy()
    turned[:, :3] = Rotation.from_quat(T.quaternion_xyzw).apply(cloud[:, :3]) + T.position_m
    return turned


def turn_drive(frames: str | Path, out: str | Path, progress: Callable[[int], object] | None = None) -> Frames:
    """Write a drive with its clouds turned half round; images, labels and poses stay as they are.

    progress: called with the number of clouds just written. Raises FramesError where it has no clouds, and where `out`
    is not empty.
    """
    drive = Frames.load(frames)
    if not any(frame.cloud for frame in drive.frames):
        raise FramesError(f"{drive.folder} has no clouds; ingest the bag with --cloud_topic")
    mounted = extrinsics(drive.card, "lidar") or Pose((0.0, 0.0, 0.0))
    with folder_in_the_making(Path(out), FramesError, "card.json") as partial:
        shutil.copytree(drive.folder, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns("clouds"))
        (partial / "clouds").mkdir()
        for index, frame in enumerate(drive.frames):
            if frame.cloud:
                np.save(partial / frame.cloud, turned_cloud(drive.cloud(index), mounted))
                if progress:
                    progress(1)
        write_index(partial, drive.frames, {**drive.card, "session": drive.session + SESSION_ENDING})
    return Frames.load(out)
