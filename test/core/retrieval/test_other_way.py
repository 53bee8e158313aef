"""A map that knows its streets the other way: poses, descriptors and clouds of a vehicle that was never there."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.data.turned import turned_cloud
from vpr_core.errors import InputError
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.other_way import SESSION_ENDING
from vpr_core.retrieval.place_clouds import CloudOptions, PlaceClouds, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.types import Pose

MOUNTED = Pose((0.0, 0.0, 1.9))


@pytest.fixture(scope="module")
def folder(lidar_bundle: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("other_way") / "map"
    build_map(lidar_bundle, frames, out, other_way_from=MOUNTED)
    store_clouds(out, frames, CloudOptions(T_base_lidar=MOUNTED, sweep_middle_s=0.05))
    return out


def test_every_place_is_there_once_more_with_its_back_to_where_it_faced(folder: Path, frames: Path) -> None:
    places, drive = PlaceMap.load(folder).places, Frames.load(frames)
    assert len(places) == 2 * len(drive)
    for there, back in zip(places[: len(drive)], places[len(drive) :], strict=True):
        assert back.session == there.session + SESSION_ENDING and back.stamp_ns == there.stamp_ns
        assert there.pose and back.pose and back.pose.position_m == pytest.approx(there.pose.position_m)
        assert math.cos(back.pose.yaw_rad - there.pose.yaw_rad) == pytest.approx(-1.0)
    clouds = PlaceClouds.load(folder, PlaceMap.load(folder).hash)
    np.testing.assert_allclose(clouds[len(drive)][:, :2], -clouds[0][:, :2], atol=2 * clouds.step_m)


def test_a_vehicle_that_comes_back_is_found_and_registered_facing_back(
    folder: Path, lidar_bundle: Path, frames: Path
) -> None:
    drive, recognizer = Frames.load(frames), PlaceRecognizer.load(lidar_bundle, folder)
    verifier = LidarVerifier.load(folder)
    for index in (4, 12):
        cloud, pose = turned_cloud(drive.cloud(index), MOUNTED), drive.frames[index].pose
        found = recognizer.recognize(cloud, 1)
        assert found.matches[0].place_id == len(drive) + index and found.matches[0].similarity > 0.9999
        verified = verifier.verify(cloud, found).verified
        assert pose and verified and math.cos(verified.T_map_base.yaw_rad - pose.yaw_rad) < -0.999
        # The sweep was taken in 0.1 s while the vehicle drove the way it was driven, not the other.
        assert math.dist(verified.T_map_base.position_m, pose.position_m) < 1.0


def test_a_drive_is_added_the_other_way_too_where_the_map_has_such_places(
    folder: Path, lidar_bundle: Path, frames: Path, tmp_path: Path
) -> None:
    later = Path(shutil.copytree(frames, tmp_path / "later", copy_function=os.link))
    card = json.loads((later / "card.json").read_text())
    (later / "card.json").unlink()  # a link to that of the other drive
    (later / "card.json").write_text(json.dumps({**card, "session": "later"}))
    edit = ["map-edit", "--map", str(folder), "--add", str(later), "--bundle", str(lidar_bundle)]
    main([*edit, "--out", str(tmp_path / "both")])
    both, count = PlaceMap.load(tmp_path / "both"), len(Frames.load(frames))
    added = [place.session for place in both.places[2 * count :]]
    assert added == ["later"] * count + [f"later{SESSION_ENDING}"] * count
    np.testing.assert_array_equal(both.descriptors[3 * count :], both.descriptors[count : 2 * count])
    clouds = PlaceClouds.load(tmp_path / "both", both.hash)
    np.testing.assert_array_equal(clouds[3 * count], clouds[count])
    main([*edit, "--out", str(tmp_path / "one"), "--other_way", "false"])
    assert [place.session for place in PlaceMap.load(tmp_path / "one").places[2 * count :]] == ["later"] * count


def test_a_camera_has_no_other_way(bundle: Path, frames: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a camera does not see places from behind"):
        build_map(bundle, frames, tmp_path / "map", other_way_from=MOUNTED)
    assert not (tmp_path / "map").exists()
