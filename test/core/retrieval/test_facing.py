"""A camera that faces another way than every place near is off the map; a LiDAR, which sees all around, is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.reliability import drive_row
from vpr_core.retrieval.calibrating import ValidationDrive, calibrate, collect
from vpr_core.retrieval.place_map import Place
from vpr_core.retrieval.validation import yaws_of

RADIUS_M = 10.0
LITTLE_NOISE = 0.9


def way_back(world: Any, noise: float, seed: int, turned_rad: float = np.pi) -> ValidationDrive:
    """Where a drive was, turned round: what is seen there is what the map has half a lap on."""
    ahead, yaws = world.drive(noise, seed), np.array([place.pose.yaw_rad for place in world.place_map.places])
    looks = np.roll(ahead.descriptors, len(yaws) // 2, axis=0)
    return dataclasses.replace(ahead, descriptors=looks, yaws_rad=yaws + turned_rad)


def of_a_camera(world: Any) -> Any:
    return dataclasses.replace(world.place_map, modality="camera")


def test_a_camera_that_faces_another_way_is_off_the_map_and_a_lidar_is_not(world: Any) -> None:
    def share_on_map(place_map: Any, turned_rad: float) -> float:
        return float(collect(place_map, [way_back(world, 0.0, 0, turned_rad)], RADIUS_M, 15.0).on_map.mean())

    assert [share_on_map(of_a_camera(world), turned) for turned in (0.0, 0.7, -0.7, 0.9, np.pi)] == [1, 1, 1, 0, 0]
    assert share_on_map(world.place_map, np.pi) == 1.0


def test_headings_are_a_session_s_and_none_where_all_have_one_orientation(world: Any) -> None:
    poses = [place.pose for place in world.place_map.places]
    level = [dataclasses.replace(pose, quaternion_xyzw=(0.0, 0.0, 0.0, 1.0 - 2.0 * (index % 2)))
             for index, pose in enumerate(poses)]  # fmt: skip
    assert yaws_of(level) is None
    assert np.allclose(yaws_of(poses), [pose.yaw_rad for pose in poses])
    sessions = np.where(np.arange(len(poses)) < 100, "level", "noon")
    places = tuple(Place(session, index, (level if session == "level" else poses)[index])
                   for index, session in enumerate(sessions))  # fmt: skip
    mixed = dataclasses.replace(of_a_camera(world), places=places)
    known = collect(mixed, [way_back(world, 0.0, 0)], RADIUS_M, 15.0).on_map
    assert known[:100].all() and not known[110:-10].any()


def test_the_way_back_weighs_as_being_off_the_map_and_counts_as_a_drive(world: Any) -> None:
    """Of 300 frames elsewhere three may be accepted, of a drive none where all that is accepted is wrong."""
    back = way_back(world, 0.0, 9)
    # As like as right looks are in a drive, not more: targets have thresholds above.
    looks = world.elsewhere(len(back.descriptors), 7).descriptors
    looks[[50, 150]] = np.roll(world.drive(LITTLE_NOISE, 9).descriptors, 150, axis=0)[[50, 150]]
    drives = [*(world.drive(LITTLE_NOISE, seed) for seed in range(4)), dataclasses.replace(back, descriptors=looks)]
    samples = collect(of_a_camera(world), drives, RADIUS_M, 15.0)
    of_back, weight = samples.drive == 4, samples.weights(0.1)
    assert np.isclose(weight[of_back].sum() / weight.sum(), 0.1)

    calibration, validated = calibrate(of_a_camera(world), drives, RADIUS_M)
    least = calibration.threshold(0.99)
    assert not validated.on_map[of_back].any() and not validated.is_elsewhere.any()
    assert least is not None and not (validated.probability[of_back] >= least).any()
    elsewhere = calibrate(of_a_camera(world), [*drives[:4], ValidationDrive(looks, None)], RADIUS_M)[0].threshold(0.99)
    assert elsewhere is not None and elsewhere < least
    assert (validated.probability[of_back] >= elsewhere).any()


def test_a_camera_s_drive_the_other_way_alone_cannot_calibrate(world: Any) -> None:
    with pytest.raises(FramesError, match="^0 of 300 validation frames have a place of the map within 10 m that faces"):
        calibrate(of_a_camera(world), [way_back(world, 0.0, 0)], RADIUS_M)


def test_headings_are_those_of_the_drive_s_poses(world: Any, tmp_path: Path) -> None:
    poses = [place.pose for place in world.place_map.places][:50]
    frames = [Frame(index, index, None, None, None, pose) for index, pose in enumerate(poses)]
    drive = Frames(tmp_path, {"map_frame": "map"}, tuple(frames))
    descriptors = world.looks[:50]
    known = ValidationDrive.of(drive, descriptors, True)
    assert np.allclose(known.yaws_rad, [pose.yaw_rad for pose in poses])
    assert np.allclose(known.positions_m, [pose.position_m for pose in poses])
    elsewhere = ValidationDrive.of(drive, descriptors, False)
    assert elsewhere.positions_m is None and elsewhere.yaws_rad is None


def test_on_a_drive_recall_is_of_frames_on_the_map_and_being_too_sure_the_other_way_is_told(world: Any) -> None:
    calibration, _ = calibrate(of_a_camera(world), [world.drive(LITTLE_NOISE, seed) for seed in range(4)], RADIUS_M)
    half = np.where(np.arange(300) < 150, 0.0, np.pi)
    ahead = way_back(world, 0.0, 5)
    ahead = dataclasses.replace(ahead, descriptors=world.looks, yaws_rad=ahead.yaws_rad - np.pi + half)
    row = drive_row("half", calibration, collect(of_a_camera(world), [ahead], RADIUS_M, 15.0), 0.99)
    assert row["on_map"] == 150 and row["accepted"] > 250 and 0.9 < row["recall"] <= 1.0
    back = drive_row("back", calibration, collect(of_a_camera(world), [way_back(world, 0.0, 5)], RADIUS_M, 15.0), 0.99)
    assert back["recall"] is None and back["ece"] > 0.9
    beside = drive_row("beside", calibration, collect(world.place_map, [world.elsewhere(60, 1)], RADIUS_M, 15.0), 0.99)
    assert beside["ece"] is None
