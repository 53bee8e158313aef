"""Boreas: drives through Toronto over a year, with camera, LiDAR and exact poses.

ROOT/boreas-YYYY-MM-DD-HH-MM/lidar/STAMP.bin              float32 x, y, z [m], intensity, ring, time
                            /camera/STAMP.png             2448x2048, rectified
                            /applanix/lidar_poses.csv     GPSTime (a STAMP), easting, northing, altitude [m],
                                      camera_poses.csv    velocities, roll, pitch, heading [rad], angular velocities
                            /calib/T_applanix_lidar.txt   4x4, and T_camera_lidar.txt, P_camera.txt

Stamps are microseconds. Which drives and how many of their scans DistilVPR used stands in config/datasets/boreas.yaml.
A frame's pose is that of the vehicle at the scan: x forward, y left, z up from the Applanix's origin, in metres east,
north and up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.data.dataset_parts import Boxes, check_drive_options, nearest, scaled_pictures, stamped_files
from vpr_core.data.frames import raw_cloud
from vpr_core.data.plan import Conversion, Item, Missing, Plan, Run, Sensor
from vpr_core.errors import FramesError, InputError
from vpr_core.types import Pose

NAME = "boreas"
WHERE = (
    "Drives are folders of the public bucket s3://boreas, which the AWS command line copies without an account "
    "(aws s3 sync --no-sign-request); of each applanix and calib are needed, and camera and lidar as `sensors` says."
)
_CLOUD_LAYOUT = {"dtype": "<f4", "columns": 6}
_US = 1000


@dataclass(frozen=True)
class Options:
    """What is taken of Boreas.

    Args:
        train_runs: drives to train on, such as boreas-2020-11-26-13-58.
        test_runs: drives to test on.
        sensors: what every frame has to have; without cloud, frames are images instead of scans.
        interval: of so many scans one is taken.
        keyframe_m: and of those only one in so many metres of the way [m].
        tolerance_s: longest time between a scan and the nearest image [s].
        image_height: images of another height are made this high [px]; null leaves them as they are.
        voxel_m: points are averaged in cubes of this edge [m]; 0 leaves them as they are.
        points: so many are drawn of those of a scan, the same every time; 0 takes all.
        boxes: easting and northing of the centres of squares that are asked for and not trained on [m], to divide by
            place instead of, or beside, by drive; none asks for every frame of the test.
        box_half_m: from a centre to an edge [m].
        positive_m: training frames this near show one place [m].
        negative_m: training frames farther apart than this show different places [m].
        radius_m: a match within this distance is right in the test [m].
    """

    train_runs: tuple[str, ...] = ()
    test_runs: tuple[str, ...] = ()
    sensors: tuple[Sensor, ...] = ("image", "cloud")
    interval: int = 1
    keyframe_m: float = 5.0
    tolerance_s: float = 0.1
    image_height: int | None = 256
    voxel_m: float = 1.0
    points: int = 4096
    boxes: tuple[tuple[float, float], ...] = ()
    box_half_m: float = 150.0
    positive_m: float = 10.0
    negative_m: float = 50.0
    radius_m: float = 25.0

    def __post_init__(self) -> None:
        check_drive_options(self, interval=1, keyframe_m=0, voxel_m=0, points=0)


def plan(root: Path, options: Options) -> Plan:
    """The drives that the options name; raises FramesError where they name none, or `root` has none."""
    found = sorted(path.name for path in root.glob("boreas-*") if path.is_dir())
    if not found:
        raise FramesError(f"{root} has no folder of a drive such as boreas-2020-11-26-13-58. {WHERE}")
    if not options.train_runs and not options.test_runs:
        raise FramesError(
            f"which of the {len(found)} drives of {root} are for training and which for the test? Say "
            "--config config/datasets/boreas.yaml for those of DistilVPR, or --train_runs and --test_runs"
        )
    missing = Missing()
    wanted = [("train", name) for name in options.train_runs] + [("test", name) for name in options.test_runs]
    runs = [run for split, name in wanted if (run := _run(root / name, split, options, missing))]
    return Plan(tuple(runs), missing.found, WHERE)


def _run(folder: Path, split: str, options: Options, missing: Missing) -> Run | None:
    from vpr_core.data.boreas_poses import calibration, read_poses  # brings SciPy, which --help does without

    of = f"{folder.name} ({split})"
    anchor = "lidar" if "cloud" in options.sensors else "camera"
    needed = [f"applanix/{anchor}_poses.csv", "calib/T_applanix_lidar.txt"]
    needed += ["calib/T_camera_lidar.txt"] if anchor == "camera" else []
    if not folder.is_dir():
        missing.note("no folder", of)
        return None
    files = {"cloud": stamped_files(folder / "lidar", ".bin"), "image": stamped_files(folder / "camera", ".png")}
    absent = [name for name in needed if not (folder / name).is_file()]
    absent += [{"cloud": "lidar/*.bin", "image": "camera/*.png"}[sensor] for sensor in options.sensors
               if not files[sensor]]  # fmt: skip
    for name in absent:
        missing.note(f"no {name}", of)
    if absent:
        return None
    poses = read_poses(folder, anchor, options.interval)
    drops: Counter[str] = Counter()
    items = _items(poses, files, options, split, drops)
    missing.note_drops("frames", drops, of, len(items) + drops.total())
    if not items:
        return None
    conversions = _conversions(items[0], options)
    layout = {} if "cloud" in conversions else {"cloud_layout": _CLOUD_LAYOUT}
    card = {"area": NAME, "map_frame": "enu", "keyframes": {"m": options.keyframe_m, "scans": options.interval},
            "poses": {"source": needed[0]}, "calibration": calibration(folder), **layout}  # fmt: skip
    return Run(folder.name, "train" if split == "train" else "test", tuple(items), dict(drops), card, conversions)


def _items(
    poses: Mapping[int, Pose],
    files: Mapping[str, Mapping[int, Path]],
    options: Options,
    split: str,
    drops: Counter[str],
) -> list[Item]:
    """Frames of the scans, or images, that are taken, each with what belongs to it; what is lacking is counted."""
    boxes = Boxes(options.boxes, options.box_half_m)
    stamps, items = np.array(list(files["image"]), np.int64), []
    for stamp, pose in _keyframes(poses, options.keyframe_m):
        inside = bool(boxes.inside(np.array([pose.position_m]))[0]) if options.boxes else split == "test"
        if split == "train" and inside:
            continue
        image = nearest(stamps, stamp, round(options.tolerance_s * 1e6)) if "image" in options.sensors else None
        if "cloud" in options.sensors and stamp not in files["cloud"]:
            drops["no cloud"] += 1
        elif "image" in options.sensors and image is None:
            drops[f"no image within {options.tolerance_s:g} s"] += 1
        else:
            cloud = files["cloud"].get(stamp) if "cloud" in options.sensors else None
            picture = files["image"][image] if image is not None else None
            lag_ns = (image - stamp) * _US if image is not None else 0
            items.append(Item(stamp * _US, pose, cloud, picture, lag_ns, split == "train" or inside))
    return items


def _keyframes(poses: Mapping[int, Pose], apart_m: float) -> list[tuple[int, Pose]]:
    """The poses, in their order, that are far enough from the one taken before."""
    taken: list[tuple[int, Pose]] = []
    for stamp, pose in poses.items():
        if not taken or np.hypot(*np.subtract(pose.position_m, taken[-1][1].position_m)[:2]) >= apart_m:
            taken.append((stamp, pose))
    return taken


def _conversions(item: Item, options: Options) -> dict[Sensor, Conversion]:
    found = scaled_pictures(item.image, options.image_height) if item.image else {}
    if item.cloud and (options.voxel_m or options.points):
        name = f"voxel {options.voxel_m:g}, points {options.points}"
        found["cloud"] = Conversion(lambda path: thinned(path, options.voxel_m, options.points), name)
    return found


def thinned(path: Path, voxel_m: float, points: int) -> np.ndarray:
    """float32 [N, 4] of a scan with at most so many points, averaged in voxels before; raises InputError."""
    cloud = raw_cloud(path, _CLOUD_LAYOUT)
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    if not len(cloud):
        raise InputError(f"{path} has no finite point")
    if voxel_m:
        cells = np.floor(cloud[:, :3] / voxel_m).astype(np.int64)
        cells -= cells.min(axis=0)
        numbers = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))  # far faster to tell apart
        _, cell, count = np.unique(numbers, return_inverse=True, return_counts=True)
        sums = [np.bincount(cell, weights=column) for column in cloud.T]
        cloud = (np.stack(sums, axis=1) / count[:, None]).astype(np.float32)
    if points and len(cloud) > points:
        rng = np.random.default_rng(int(path.stem))
        cloud = cloud[np.sort(rng.choice(len(cloud), points, replace=False))]
    return cloud
