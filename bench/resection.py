"""Candidates of the shipped camera network checked by PnP against points in space of their places' local features.

Town 6, on which nothing was trained or tuned, mapped at noon and driven again; and another town's street, where nothing
is right. A candidate is right where its pose is within 1 m and 5 degrees. Milliseconds are of the processor.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.mounting import extrinsics
from vpr_core.data.poses import compose, inverse
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_clouds import CloudOptions
from vpr_core.retrieval.place_features import store_features
from vpr_core.retrieval.place_points import PointSource, store_points
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verify_camera import CameraVerifier
from vpr_core.synthetic.drive import Drive, record_drives
from vpr_core.types import Pose

BUNDLE = Path(__file__).parents[1] / "bundles" / "town_camera"
TOWN, ELSEWHERE = 6, 4
CONDITIONS = ("noon", "dusk", "rain")
RIGHT_M, RIGHT_DEG = 1.0, 5.0


def run(quick: bool) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as name:
        drives = _drives(Path(name), 60.0 if quick else 300.0)
        place_map, database = Path(name) / "map", drives.pop("map")
        build_map(BUNDLE, database.folder, place_map)
        features = store_features(place_map, database.folder, "sift")
        points = store_points(place_map, database.folder, _source(database))
        kib = (features.bytes_per_place + points.bytes_per_place) / 1024
        recognizer = PlaceRecognizer.load(BUNDLE, place_map, threads=1)
        verifier = CameraVerifier.load(place_map)
        figures = {"features with a point": f"{points.share:.2f}", "KiB a place": f"{kib:.1f}"}
        return [{"drive": name, **_row(recognizer, verifier, drive), **figures} for name, drive in drives.items()]


def _row(recognizer: PlaceRecognizer, verifier: CameraVerifier, drive: Frames) -> dict[str, object]:
    errors, milliseconds, wrong_accepted, wrong = [], [], 0, 0
    is_on_map = drive.area[0] == f"town {TOWN}"
    for index, frame in enumerate(drive.frames):
        image, true = drive.image(index), frame.pose
        assert true is not None
        recognition = recognizer.recognize(image, frame.stamp_ns)
        started = time.process_time()
        found = verifier.verify(image, recognition)
        milliseconds.append((time.process_time() - started) * 1e3)
        for place_id, one in found.tried:
            T_map_place = recognizer.place_map.places[place_id].pose or Pose((0.0, 0.0, 0.0))
            is_right = is_on_map and _is_right(_error(compose(T_map_place, one.T_place_query), true))
            wrong += not is_right
            wrong_accepted += one.accepted and not is_right
        if found.verified:
            errors.append(_error(found.verified.T_map_base, true))
    of_them_wrong = sum(not (is_on_map and _is_right(error)) for error in errors)
    distance_m, angle_deg = np.array(errors or [(math.nan, math.nan)]).T
    return {
        "queries": len(drive),
        "verified": len(errors),
        "of them wrong": of_them_wrong,
        "wrong candidates accepted": f"{wrong_accepted}/{wrong}",
        "median": f"{np.median(distance_m):.2f} m {np.median(angle_deg):.2f} deg",
        "95 %": f"{np.percentile(distance_m, 95):.2f} m {np.percentile(angle_deg, 95):.2f} deg",
        "ms a query": round(statistics.median(milliseconds), 1),
    }


def _is_right(error: tuple[float, float]) -> bool:
    return error[0] <= RIGHT_M and error[1] <= RIGHT_DEG


def _error(found: Pose, true: Pose) -> tuple[float, float]:
    """[m] and [degrees]."""
    off = compose(inverse(true), found)
    return math.hypot(*off.position_m), math.degrees(Rotation.from_quat(off.quaternion_xyzw).magnitude())


def _source(drive: Frames) -> PointSource:
    """As the card has it; the town's LiDAR turns ten times a second and stamps the beginning."""
    camera, lidar = extrinsics(drive.card, "camera"), extrinsics(drive.card, "lidar")
    assert camera is not None and lidar is not None
    model = CameraModel.of(drive.card["calibration"]["camera"], "the card")
    return PointSource(model, camera, CloudOptions(T_base_lidar=lidar, sweep_middle_s=0.05))


def _drives(folder: Path, length_m: float) -> dict[str, Frames]:
    """The map, each query drive, and a drive elsewhere."""
    planned = {"map": (TOWN, "noon"), **{name: (TOWN, name) for name in CONDITIONS}, "elsewhere": (ELSEWHERE, "noon")}
    drives = [Drive(folder / name, town, condition, "loop", seed, length_m, labels=False)
              for seed, (name, (town, condition)) in enumerate(planned.items(), 50)]  # fmt: skip
    record_drives(drives, bar=True)
    return {
        name: Frames.load(
            ingest(folder / name, folder / "frames" / name, pose_topic="/ground_truth/odom", area=f"town {town}")
        )
        for name, (town, _) in planned.items()
    }
