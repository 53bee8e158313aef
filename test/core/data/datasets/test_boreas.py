"""Boreas in its own folders: poses, keyframes, thinned scans, and what is missing."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from vpr_core.data.boreas_poses import read_poses
from vpr_core.data.datasets import boreas
from vpr_core.data.frames import Frames
from vpr_core.data.prepare import write_plan
from vpr_core.errors import FramesError

Tiny = dict[str, tuple[Path, Any]]
CONFIG = Path(__file__).parents[4] / "config" / "datasets" / "boreas.yaml"


@pytest.fixture
def options(tiny: Tiny) -> boreas.Options:
    return tiny["boreas"][1]


def test_keyframes_lie_apart_and_standing_gives_one(boreas_root: Path, options: boreas.Options) -> None:
    run = boreas.plan(boreas_root, options).runs[0]
    steps_m = np.linalg.norm(np.diff(run.positions_m, axis=0), axis=1)
    assert len(run.items) == 7 and (steps_m >= 5.0).all() and (steps_m < 7.0).all(), "34 m at 5 m"
    every_tenth = boreas.plan(boreas_root, replace(options, interval=10, keyframe_m=0.0)).runs[0]
    stamps = [item.stamp_ns // 1000 % 10_000_000 for item in every_tenth.items]
    assert stamps == [0, 1_000_000, 2_000_000, 3_000_000]


def test_poses_are_the_vehicle_s(boreas_root: Path, options: boreas.Options) -> None:
    for sensor in ("lidar", "camera"):
        poses = [*read_poses(boreas_root / options.train_runs[0], sensor).values()]
        assert len(poses) == 40
        for index, pose in enumerate(poses):
            assert math.degrees(pose.yaw_rad) == pytest.approx(30.0, abs=1e-6), sensor
            along_m = max(index - 5, 0)
            expected = (along_m * math.cos(math.pi / 6), along_m * math.sin(math.pi / 6), 149.7)
            assert pose.position_m == pytest.approx(expected, abs=1e-9), "0.3 m under the LiDAR"


def test_the_heading_of_a_recorded_pose_is_that_of_its_velocity(tmp_path: Path) -> None:
    """A line of boreas-2021-09-02-11-42 at 9 m/s straight on, with that drive's calibration."""
    (tmp_path / "applanix").mkdir()
    (tmp_path / "calib").mkdir()
    (tmp_path / "applanix" / "lidar_poses.csv").write_text(
        "GPSTime,easting,northing,altitude,vel_east,vel_north,vel_up,roll,pitch,heading,angvel_z,angvel_y,angvel_x\n"
        "1630597454154785,623216.44228,4848971.00577,154.2216,-3.16407,8.63358,0.1175,-0.0206185,-0.0139821,-1.0992012,"
        "-0.0012,-0.0129,-0.0629\n"
    )
    (tmp_path / "calib" / "T_applanix_lidar.txt").write_text(
        "0.73536402 -0.67767203 0.0 0.0249154\n0.67767203 0.73536402 0.001 -0.0134398\n"
        "-0.00067767 -0.00073536 1.0 0.3160138\n0 0 0 1\n"
    )
    (pose,) = read_poses(tmp_path, "lidar").values()
    assert math.degrees(pose.yaw_rad) == pytest.approx(math.degrees(math.atan2(8.63358, -3.16407)), abs=0.5)
    assert pose.position_m[2] == pytest.approx(154.2216 - 0.316, abs=0.02)
    assert abs(pose.quaternion_xyzw[0]) < 0.03 and abs(pose.quaternion_xyzw[1]) < 0.03, "the car stands upright"


def test_scans_are_thinned_the_same_every_time(boreas_root: Path, tmp_path: Path) -> None:
    path = sorted((boreas_root / "boreas-2020-11-26-13-58" / "lidar").iterdir())[3]
    records = np.fromfile(path, "<f4").reshape(-1, 6)
    assert np.isnan(records[0, 0]) and len(records) == 3000
    whole = boreas.thinned(path, 0.0, 0)
    np.testing.assert_array_equal(whole, records[1:, :4])
    voxels = boreas.thinned(path, 1.0, 0)
    cells = {tuple(cell) for cell in np.floor(whole[:, :3]).astype(int).tolist()}
    assert len(voxels) == len(cells), "one point for each cube"
    cell = np.floor(whole[:, :3]) == np.floor(whole[7, :3])
    mean = whole[cell.all(axis=1)].mean(axis=0)
    assert np.abs(voxels - mean).max(axis=1).min() < 1e-4, "their mean, of the intensity too"
    drawn = boreas.thinned(path, 1.0, 300)
    assert drawn.shape == (300, 4) and drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, boreas.thinned(path, 1.0, 300))
    assert {tuple(point) for point in drawn.tolist()} <= {tuple(point) for point in voxels.tolist()}
    assert len(boreas.thinned(path, 1.0, 10**6)) == len(voxels), "no point is made up"


def test_images_are_scaled_and_calibration_is_kept(boreas_root: Path, options: boreas.Options, tmp_path: Path) -> None:
    folders = write_plan(boreas.plan(boreas_root, options), tmp_path / "a", "x", {})
    drive = Frames.load(folders["test/boreas-2021-01-26-11-22"])
    assert drive.image_size == (306, 256) and drive.image(2).shape == (256, 306, 3)
    assert drive.queries.all() and drive.map_frame == "enu"
    calibration = drive.card["calibration"]
    assert np.shape(calibration["P_camera"]) == (3, 4) and np.shape(calibration["T_camera_lidar"]) == (4, 4)
    assert len(drive.cloud(0)) <= 4096 and drive.card["synchronisation_ms"]["max"] == 40.0
    plain = replace(options, image_height=None, voxel_m=0.0, points=0)
    linked = Frames.load(write_plan(boreas.plan(boreas_root, plain), tmp_path / "b", "x", {})[
        "test/boreas-2021-01-26-11-22"])  # fmt: skip
    assert (linked.folder / "clouds").is_symlink() and (linked.folder / "images").is_symlink()
    assert linked.cloud(0).shape == (3000, 4) and linked.image_size == (392, 328)


def test_without_clouds_frames_are_images(boreas_root: Path, options: boreas.Options) -> None:
    run = boreas.plan(boreas_root, replace(options, sensors=("image",))).runs[0]
    assert all(item.cloud is None and item.image and item.image_lag_ns == 0 for item in run.items)
    assert run.items[0].stamp_ns % 10**9 == 40_000_000, "the stamp of the image"


def test_boxes_divide_by_place(boreas_root: Path, options: boreas.Options) -> None:
    divided = replace(options, boxes=((0.0, 0.0),), box_half_m=12.0)
    plan = boreas.plan(boreas_root, divided)
    for run in plan.runs:
        inside = (np.abs(run.positions_m[:, :2]) < 12.0).all(axis=1)
        if run.split == "train":
            assert not inside.any() and len(run.items) == 4
        else:
            assert len(run.items) == 7
            np.testing.assert_array_equal(run.queries, inside)


def test_what_is_missing_is_said_drive_by_drive(make_boreas: Callable[..., Path], tmp_path: Path) -> None:
    names = [f"boreas-2020-11-2{number}-13-58" for number in range(4)]
    root = make_boreas(tmp_path, names)
    (root / names[0] / "applanix" / "lidar_poses.csv").unlink()
    (root / names[0] / "calib" / "T_applanix_lidar.txt").unlink()
    shutil.rmtree(root / names[1] / "camera")
    lidar, camera = (sorted((root / names[2] / sensor).iterdir()) for sensor in ("lidar", "camera"))
    lidar[0].unlink()
    for image in camera[9:12]:
        image.unlink()
    lidar[15].write_bytes(b"123")
    plan = boreas.plan(root, boreas.Options(train_runs=names[:2], test_runs=(names[2], names[3], "boreas-2030-01-01")))
    assert plan.missing == {
        "no applanix/lidar_poses.csv": [f"{names[0]} (train)"],
        "no calib/T_applanix_lidar.txt": [f"{names[0]} (train)"],
        "no camera/*.png": [f"{names[1]} (train)"],
        "frames with no cloud": [f"{names[2]} (test) 1 of 7"],
        "frames with no image within 0.1 s": [f"{names[2]} (test) 1 of 7"],
        "no folder": ["boreas-2030-01-01 (test)"],
    }
    folders = write_plan(plan, tmp_path / "out", "x", {})
    drops = Frames.load(folders[f"test/{names[2]}"]).card["drops"]
    assert drops == {"its cloud is damaged": 1, "no cloud": 1, "no image within 0.1 s": 1}


def test_which_drives_has_to_be_said(boreas_root: Path) -> None:
    with pytest.raises(FramesError, match="which of the 4 drives .* --config config/datasets/boreas.yaml"):
        boreas.plan(boreas_root, boreas.Options())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"interval": 0}, "interval is 0, expected 1 or more"), ({"voxel_m": -1.0}, "voxel_m is -1.0, expected 0"),
     ({"image_height": 0}, "image_height is 0, expected 16"), ({"sensors": ()}, "expected image or cloud, or both"),
     ({"sensors": ("radar",)}, "sensors are"), ({"negative_m": 5.0}, "negative_m is 5.0, expected positive_m 10.0"),
     ({"keyframe_m": math.nan}, "keyframe_m is nan")],
)  # fmt: skip
def test_options_that_make_no_sense(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(FramesError, match=match):
        boreas.Options(**wrong)


def test_damaged_files_of_a_drive_are_named(make_boreas: Callable[..., Path], tmp_path: Path) -> None:
    name = "boreas-2020-11-26-13-58"
    root = make_boreas(tmp_path, [name])
    options = boreas.Options(test_runs=(name,))
    poses, calibration = root / name / "applanix" / "lidar_poses.csv", root / name / "calib" / "T_applanix_lidar.txt"
    good = poses.read_text()
    for text, match in (
        ("a,b\n1,2\n", r"has columns \['a', 'b'\]"),
        (good.replace("150.0", "up", 1), "does not parse"),
        (good.replace("150.0", "nan", 1), "line 2, does not parse .a number is nan"),
    ):
        poses.write_text(text)
        with pytest.raises(FramesError, match=match):
            boreas.plan(root, options)
    poses.write_text(good)
    calibration.write_text("1 2 3\n")
    with pytest.raises(FramesError, match=r"holds \[3\] numbers, expected a 4x4 transform"):
        boreas.plan(root, options)
    calibration.write_text("a b\n")
    with pytest.raises(FramesError, match="does not parse"):
        boreas.plan(root, options)


def test_the_preset_names_six_drives_each_way() -> None:
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(boreas.Options)
    chosen = vars(parser.parse_args(["--config", str(CONFIG)]))
    options = boreas.Options(**{name: value for name, value in chosen.items() if name != "config"})
    assert len({*options.train_runs, *options.test_runs}) == 12 and len(options.test_runs) == 6
    assert (options.interval, options.points, options.voxel_m, options.image_height) == (10, 4096, 1.0, 256)
    assert (options.positive_m, options.negative_m, options.radius_m) == (10.0, 50.0, 25.0)
