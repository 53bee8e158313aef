"""Candidates of the shipped LiDAR network checked against the clouds of their places: what is accepted, and its time.

Town 6, on which nothing was trained or tuned, mapped at noon and driven again; and KITTI where `VPR_SHARED` has it. A
candidate is right where its registration gives the pose to 1 m and 5 degrees: what is asked is whether the accepted
ones are, and how many of those within 15 m of the query are accepted. Milliseconds are of the processor.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.data.ingest import ingest
from vpr_core.data.poses import compose
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_clouds import CloudOptions, PlaceClouds, moved_on, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.registration import Registration, matrix_of, pose_of
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.synthetic.drive import Drive, record_drives
from vpr_core.types import Pose

BUNDLE = Path(__file__).parents[1] / "bundles" / "town_lidar"
TOWN = 6
TOWN_LIDAR = CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05)
CONDITIONS = ("noon", "night", "rain")
RIGHT_M, RIGHT_DEG, NEAR_M = 1.0, 5.0, 15.0


def run(quick: bool) -> list[dict[str, object]]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database, queries = _town(folder, 60.0 if quick else 500.0)
        rows = measure(folder / "town_map", database, queries, TOWN_LIDAR, 4 if quick else 2)
        if (kitti := _kitti(folder)) is not None:
            rows += measure(folder / "kitti_map", kitti[0], {"KITTI": kitti[1]}, CloudOptions(min_range_m=2.5), 1)
    return rows


def measure(
    place_map: Path, database: Path, queries: dict[str, Path], options: CloudOptions, step: int
) -> list[dict[str, object]]:
    """A row for each query drive, of which every `step`-th frame is asked for."""
    build_map(BUNDLE, database, place_map)
    store_clouds(place_map, database, options)
    recognizer, verifier = PlaceRecognizer.load(BUNDLE, place_map, threads=1), LidarVerifier.load(place_map)
    kib = PlaceClouds.load(place_map, PlaceMap.load(place_map).hash).bytes_per_place / 1024
    return [
        {"drive": name, **_row(recognizer, verifier, Frames.load(folder), options, step), "KiB a place": round(kib, 1)}
        for name, folder in queries.items()
    ]


def _row(
    recognizer: PlaceRecognizer, verifier: LidarVerifier, drive: Frames, options: CloudOptions, step: int
) -> dict[str, object]:
    candidates: list[tuple[Registration, bool, float]] = []
    errors, milliseconds, queries, wrong = [], [], 0, 0
    for index in range(0, len(drive), step):
        cloud, true = drive.cloud(index), _true(drive, index, options)
        recognition = recognizer.recognize(cloud, drive.frames[index].stamp_ns)
        started = time.process_time()
        found = verifier.verify(cloud, recognition)
        milliseconds.append((time.process_time() - started) * 1e3 / len(found.tried))
        queries += 1
        for place_id, registration in found.tried:
            T_map_place = recognizer.place_map.places[place_id].pose or Pose((0.0, 0.0, 0.0))
            error = _error(compose(T_map_place, registration.T_place_query), true)
            far_m = math.dist(T_map_place.position_m, true.position_m)
            candidates.append((registration, error[0] <= RIGHT_M and error[1] <= RIGHT_DEG, far_m))
        if found.verified:
            error = _error(found.verified.T_map_base, true)
            errors.append(error)
            wrong += error[0] > RIGHT_M or error[1] > RIGHT_DEG
    near = [registration.accepted and right for registration, right, far_m in candidates if far_m <= NEAR_M]
    false = [registration.accepted for registration, right, _ in candidates if not right]
    distance_m, angle_deg = np.array(errors or [(math.nan, math.nan)]).T
    return {
        "queries": queries,
        "near accepted": f"{sum(near)}/{len(near)}",
        "wrong accepted": f"{sum(false)}/{len(false)}",
        "verified": len(errors),
        "of them wrong": int(wrong),
        "median": f"{np.median(distance_m):.2f} m {np.median(angle_deg):.2f} deg",
        "95 %": f"{np.percentile(distance_m, 95):.2f} m {np.percentile(angle_deg, 95):.2f} deg",
        "ms a candidate": round(statistics.median(milliseconds), 1),
    }


def _true(drive: Frames, index: int, options: CloudOptions) -> Pose:
    """T_map_base at the middle of a frame's sweep."""
    frame = drive.frames[index]
    assert frame.pose is not None
    late_ns = (frame.cloud_stamp_ns or frame.stamp_ns) - frame.stamp_ns + round(options.sweep_middle_s * 1e9)
    return compose(frame.pose, moved_on(drive, index, late_ns))


def _error(found: Pose, true: Pose) -> tuple[float, float]:
    """[m] and [degrees]."""
    difference = np.linalg.inv(matrix_of(true)) @ matrix_of(found)
    angle_rad = Rotation.from_matrix(difference[:3, :3]).magnitude()
    return float(np.linalg.norm(difference[:3, 3])), math.degrees(angle_rad)


def _town(folder: Path, length_m: float) -> tuple[Path, dict[str, Path]]:
    """Frames of the map and of each query drive."""
    names = ("map", *CONDITIONS)
    drives = [
        Drive(folder / name, TOWN, "noon" if name == "map" else name, "loop", seed, length_m,
              image_size=(32, 24), labels=False, lidar_columns=512)
        for seed, name in enumerate(names, 50)
    ]  # fmt: skip
    record_drives(drives, bar=True)
    frames = {name: ingest(folder / name, folder / "frames" / name, pose_topic="/ground_truth/odom") for name in names}
    return frames.pop("map"), frames


def _kitti(folder: Path) -> tuple[Path, Path] | None:
    """Every fourth scan as a map, others as queries; None where there is no such data."""
    source = Path(os.environ.get("VPR_SHARED", "")) / "data" / "kitti_raw_2011_09_26_drive_0001"
    if not source.is_dir():
        return None
    poses = np.loadtxt(source / "poses_kiss_icp.txt").reshape(-1, 3, 4)
    return (_scans(source, folder / "kitti", poses, list(range(0, 108, 4))),
            _scans(source, folder / "kitti_queries", poses, list(range(2, 108, 8))))  # fmt: skip


def _scans(source: Path, folder: Path, poses: np.ndarray, numbers: list[int]) -> Path:
    (folder / "clouds").mkdir(parents=True)
    frames = []
    for index, number in enumerate(numbers):
        stored = np.load(source / "velodyne" / f"{number:010d}.npz")
        xyz = np.cumsum(stored["dxyz_cm"], axis=1, dtype=np.int16).T / 100.0
        np.save(folder / f"clouds/{index}.npy", np.column_stack([xyz, stored["intensity"]]).astype(np.float32))
        pose = pose_of(np.vstack([poses[number], [0.0, 0.0, 0.0, 1.0]]))
        frames.append(Frame(index, (10 + number) * 100_000_000, None, f"clouds/{index}.npy", None, pose))
    card = {"session": folder.name, "bag": "kitti", "map_frame": "map", "image_size": None, "drops": {}}
    write_index(folder, frames, {**card, "counts": {"frames": len(frames)}})
    return folder
