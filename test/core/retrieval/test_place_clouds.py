"""The clouds stored with a map: what is in the file, its size, and how damage and foreign files are refused."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.errors import FramesError, InputError, MapError
from vpr_core.retrieval.place_clouds import FILE, CloudOptions, PlaceClouds, cloud_of, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.registration import matrix_of
from vpr_core.types import Pose

SECOND_NS = 1_000_000_000


@pytest.fixture
def folder(lidar_map: Path, tmp_path: Path) -> Path:
    return shutil.copytree(lidar_map, tmp_path / "map")


@pytest.fixture(scope="module")
def drive(frames: Path) -> Frames:
    return Frames.load(frames)


def test_clouds_come_back_as_they_were_thinned(folder: Path, drive: Frames, figures: list[str]) -> None:
    options = CloudOptions(voxel_m=0.5, T_base_lidar=Pose((0.0, 0.0, 1.9)))
    stored = store_clouds(folder, drive.folder, options)
    assert len(stored) == len(drive) and stored.options == options and stored.step_m <= 0.004
    for index in (0, 7, len(drive) - 1):
        expected = cloud_of(drive, index, options)
        assert stored[index].dtype == np.float32 and 1000 < len(expected) < len(drive.cloud(index))
        np.testing.assert_allclose(stored[index], expected, atol=stored.step_m / 2 + 1e-4)
    assert abs(np.percentile(stored[3][:, 2], 20)) < 0.2  # the road, where the vehicle's frame has its zero
    size = (folder / FILE).stat().st_size
    assert size - 6 * len(stored.points) < 4 * len(stored) + 1024
    assert stored.bytes_per_place == pytest.approx(6 * len(stored.points) / len(stored))
    assert isinstance(stored.points, np.memmap)
    figures.append(f"clouds of a town's places at 0.5 m: {stored.bytes_per_place / 1024:.1f} KiB each")


def test_the_map_stays_what_it_was(folder: Path, drive: Frames) -> None:
    before = PlaceMap.load(folder)
    store_clouds(folder, drive.folder)
    after = PlaceMap.load(folder)
    assert after.hash == before.hash and after.places == before.places
    again = store_clouds(folder, drive.folder, CloudOptions(voxel_m=1.0))
    assert again.options.voxel_m == 1.0 and again.bytes_per_place < 30_000
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_coarser_voxel_and_a_shorter_range_leave_less(folder: Path, drive: Frames) -> None:
    sizes = [len(store_clouds(folder, drive.folder, options).points)
             for options in (CloudOptions(0.3), CloudOptions(0.5), CloudOptions(0.5, max_range_m=20.0))]  # fmt: skip
    assert sizes[0] > 1.2 * sizes[1] > 1.2 * sizes[2]


def drive_of(folder: Path, late_ns: int, cloud: np.ndarray, with_cloud: tuple[bool, ...] = (True, True)) -> Frames:
    """Two frames 0.5 s apart of a vehicle at 8 m/s that turns by 0.2 rad between them."""
    (folder / "clouds").mkdir(parents=True)
    frames = []
    for index, has_cloud in enumerate(with_cloud):
        np.save(folder / f"clouds/{index}.npy", cloud)
        pose = Pose.from_xy_yaw(10.0 + 4.0 * index, 5.0, 0.2 * index)
        stamp_ns = SECOND_NS + index * SECOND_NS // 2
        frames.append(
            Frame(index, stamp_ns, None, f"clouds/{index}.npy" if has_cloud else None, stamp_ns + late_ns, pose)
        )
    card = {"session": "two", "bag": "two", "map_frame": "map", "image_size": None, "counts": {"frames": len(frames)}}
    write_index(folder, frames, {**card, "drops": {}})
    return Frames.load(folder)


def test_a_cloud_is_where_the_vehicle_was_when_it_was_taken(tmp_path: Path) -> None:
    """At the place's stamp, though the sweep began 20 ms later and its middle came after another 50 ms."""
    rng = np.random.default_rng(0)
    cloud = np.column_stack([rng.uniform(-20, 20, (300, 3)), np.zeros(300)]).astype(np.float32)
    drive = drive_of(tmp_path / "frames", 20_000_000, cloud)
    mounted = Pose((1.0, 0.2, 2.0), (0.0, 0.0, math.sin(0.1), math.cos(0.1)))
    options = CloudOptions(0.05, 0.0, T_base_lidar=mounted, sweep_middle_s=0.05)
    for index in (0, 1):
        share = 0.07 / 0.5
        moved = matrix_of(Pose((share * 4.0 * math.cos(0.2 * index), -share * 4.0 * math.sin(0.2 * index), 0.0),
                               (0.0, 0.0, math.sin(share * 0.1), math.cos(share * 0.1))))  # fmt: skip
        T = moved @ matrix_of(mounted)
        expected = cloud[:, :3] @ T[:3, :3].T + T[:3, 3]
        found = cloud_of(drive, index, options)
        order = [np.lexsort(np.round(points, 2).T) for points in (expected, found)]
        np.testing.assert_allclose(found[order[1]], expected[order[0]], atol=0.03)


def test_a_place_without_a_cloud_has_none(tmp_path: Path, lidar_bundle: Path) -> None:
    cloud = np.random.default_rng(0).uniform(-20, 20, (3000, 4)).astype(np.float32)
    drive = drive_of(tmp_path / "frames", 0, cloud, (True, False))
    places = PlaceMap(np.eye(2, 32, dtype=np.float32), tuple(_places(drive)), "model", "map", "lidar", None)
    places.save(tmp_path / "map")
    stored = store_clouds(tmp_path / "map", drive.folder)
    assert len(stored) == 2 and len(stored[0]) > 100 and stored[1].shape == (0, 3)


def _places(drive: Frames) -> list[object]:
    from vpr_core.retrieval.place_map import Place

    return [Place("two", frame.stamp_ns, frame.pose) for frame in drive.frames]


def test_frames_without_clouds_and_of_another_drive_are_refused(folder: Path, drive: Frames, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="was not made of .* alone: their stamps differ"):
        store_clouds(folder, drive_of(tmp_path / "two", 0, drive.cloud(0)).folder)
    bare = shutil.copytree(drive.folder, tmp_path / "bare")
    write_index(bare, [replace(frame, cloud=None) for frame in drive.frames], drive.card)
    with pytest.raises(FramesError, match="has no clouds; ingest the bag with --cloud_topic"):
        store_clouds(folder, bare)
    assert not (folder / FILE).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (CloudOptions(voxel_m=0.0), "voxel_m is 0.0, expected 0.05 to 5 m"),
        (CloudOptions(voxel_m=math.nan), "voxel_m is nan"),
        (CloudOptions(max_range_m=1.0), "expected the first below the second"),
        (CloudOptions(T_base_lidar=Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))), "expected metres and a unit"),
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_refused(folder: Path, drive: Frames, options: CloudOptions, words: str) -> None:
    with pytest.raises(InputError, match=words):
        store_clouds(folder, drive.folder, options)


def test_damage_is_told(folder: Path, drive: Frames) -> None:
    stored = store_clouds(folder, drive.folder)
    whole = (folder / FILE).read_bytes()
    header = json.loads(whole[: whole.index(b"\n")])
    changed = json.dumps({**header, "step_m": 0.1}).encode()
    for data in (
        whole[:-1],
        whole[:-100] + b"x" + whole[-99:],
        whole + b"more",
        whole[:20],
        b"",
        b"[1, 2]\n" + whole,
        b"\xff\xfe" * 50,
        changed.ljust(whole.index(b"\n")) + whole[whole.index(b"\n") :],
    ):
        (folder / FILE).write_bytes(data)
        with pytest.raises(MapError, match="damaged.*vpr-distill map --clouds true") as caught:
            PlaceClouds.load(folder, stored.map_hash)
        assert "\n" not in str(caught.value)
    (folder / FILE).unlink()
    with pytest.raises(MapError, match="has no clouds to verify with: make the map with"):
        PlaceClouds.load(folder, stored.map_hash)


def test_the_clouds_of_another_map_are_refused(folder: Path, other_map: Path, drive: Frames) -> None:
    stored = store_clouds(folder, drive.folder)
    other = PlaceMap.load(other_map).hash
    with pytest.raises(MapError, match=f"belongs to map {stored.map_hash}, this one is {other}"):
        PlaceClouds.load(folder, other)


def test_the_command_stores_them_and_tells_their_size(lidar_bundle: Path, frames: Path, tmp_path: Path) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vpr_core", "map", "--bundle", str(lidar_bundle), "--frames", str(frames)]
        return subprocess.run([*command, "--out", str(tmp_path / "map"), *options], capture_output=True, text=True)

    made = run("--clouds", "true", "--cloud_voxel_m", "0.5", "--lidar_pose", "0.5,0,1.9", "--sweep_middle_s", "0.05")
    assert made.returncode == 0, made.stderr
    assert "KiB a place" in made.stdout and FILE in made.stdout
    stored = PlaceClouds.load(tmp_path / "map", PlaceMap.load(tmp_path / "map").hash)
    assert stored.options == CloudOptions(0.5, T_base_lidar=Pose((0.5, 0.0, 1.9)), sweep_middle_s=0.05)
    for options, words in (
        (("--lidar_pose", "0.5,0"), "expected to be x,y,z"),
        (("--clouds", "true", "--cloud_voxel_m", "-1"), "voxel_m is -1.0, expected"),
    ):
        refused = run(*options)
        assert refused.returncode and words in refused.stderr and "Traceback" not in refused.stderr


def test_a_mounting_turns_what_is_stored(tmp_path: Path) -> None:
    """A LiDAR that looks to the left: what is before it is at the vehicle's left."""
    cloud = np.tile(np.float32([10, 0, 0, 0]), (50, 1))
    drive = drive_of(tmp_path / "frames", 0, cloud)
    quaternion = tuple(map(float, Rotation.from_euler("z", 90, degrees=True).as_quat()))
    found = cloud_of(drive, 0, CloudOptions(T_base_lidar=Pose((1.0, 0.0, 2.0), quaternion)))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [[1, 10, 2]], atol=1e-6)
