"""What `vpr-distill map --features NAME` adds to a map: local features, and their points in space where it can."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.commands.clouds import mounting
from vpr_core.errors import InputError

if TYPE_CHECKING:
    from vpr_core.data.frames import Frames
    from vpr_core.retrieval.place_points import PointSource


def add_features(command: ArgumentParser) -> None:
    command.add_argument(
        "--features", type=str, default=None, metavar="NAME",
        help="also store local features of every place, which `query --rerank` and the localizer's `rerank` need: "
        "sift, akaze, orb, kornia_sift, disk=FILE, or superpoint, superglue or lightglue=FOLDER; docs/reranking.md. "
        "Where the frames have clouds and it is known how the camera projects and where both sensors are, features get "
        "points in space, with which the localizer and `query` check candidates; docs/verification.md",
    )  # fmt: skip
    command.add_argument(
        "--camera_info", type=Path, default=None, metavar="FILE",
        help="how the camera projects: the YAML of ROS's camera_calibration; by default what the frames' card has from "
        "camera_info",
    )  # fmt: skip
    command.add_argument(
        "--camera_pose",
        type=str,
        default=None,
        help="where the camera's optical frame (z forward) is on the vehicle: x,y,z,qx,qy,qz,qw; by default what the "
        "frames' card has from /tf_static",
    )


def point_source(options: dict[str, Any], drive: Frames) -> PointSource | str:
    """Takes its options out of a command's: what points in space are made with, or why there will be none.

    Raises InputError on a bad value, and where what was given alone is not enough; FramesError on a bad card.
    """
    file, text = options.pop("camera_info"), options.pop("camera_pose")
    found = _point_source(file, text, options, drive)
    if isinstance(found, str) and (file or text):
        raise InputError(f"--camera_info and --camera_pose are for points in space of local features, but {found}")
    return found


def _point_source(file: Path | None, text: str | None, options: dict[str, Any], drive: Frames) -> PointSource | str:
    from vpr_core.data.mounting import extrinsics
    from vpr_core.retrieval.camera_model import CameraModel
    from vpr_core.retrieval.place_clouds import CloudOptions
    from vpr_core.retrieval.place_points import PointSource

    about = drive.card.get("calibration", {}).get("camera")
    T_base_camera = mounting(text, "--camera_pose") if text else extrinsics(drive.card, "camera")
    given = options["lidar_pose"]
    T_base_lidar = mounting(given) if given else extrinsics(drive.card, "lidar")
    for lacks, why in (
        (not options["features"], "--features is not given"),
        (not any(frame.cloud for frame in drive.frames), "the frames have no clouds"),
        (not file and about is None, "the frames' card does not say how the camera projects: give --camera_info"),
        (T_base_camera is None, "the frames' card does not say where the camera is: give --camera_pose"),
        (T_base_lidar is None, "the frames' card does not say where the LiDAR is: give --lidar_pose"),
    ):
        if lacks:
            return why
    assert T_base_camera is not None and T_base_lidar is not None
    camera = CameraModel.from_file(file) if file else CameraModel.of(about, f"{drive.folder}/card.json")
    made = PointSource(
        camera, T_base_camera, CloudOptions(T_base_lidar=T_base_lidar, sweep_middle_s=options["sweep_middle_s"])
    )
    made.check(drive)
    return made


def add_to_map(out: Path, frames: Path, total: int, name: str, device: str, source: PointSource | str) -> None:
    """Store features and their points, and tell their size."""
    from vpr_core.retrieval.place_features import FILE, store_features
    from vpr_core.retrieval.place_points import FILE as POINTS_FILE
    from vpr_core.retrieval.place_points import store_points

    with tqdm(total=total, desc="features", unit="frame") as bar:
        stored = store_features(out, frames, name, device, bar.update)
    kib = stored.bytes_per_place / 1024
    print(f"{out / FILE}: {stored.kind}, {kib:.1f} KiB a place, {kib * len(stored) / 1024:.1f} MiB")
    if isinstance(source, str):
        print(f"{out / POINTS_FILE}: none, since {source}")
        return
    with tqdm(total=total, desc="points", unit="frame") as bar:
        points = store_points(out, frames, source, progress=bar.update)
    kib = points.bytes_per_place / 1024
    print(f"{out / POINTS_FILE}: {points.share:.0%} of the features have a point in space, {kib:.1f} KiB a place")
