"""Tiny data sets in the very formats of the published ones: a few runs of one street, some frames each."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from vpr_core.data.datasets import boreas, msls, nordland, oxford_robotcar, pittsburgh30k

BOX = oxford_robotcar.Options().boxes[3]
"""Northing and easting."""
STEP_M = 25.0
RUNS = ("2014-05-19-13-20-57", *oxford_robotcar.TEST_RUNS[:2], oxford_robotcar.TEST_RUNS[-1])
"""One that is for training only, two for both, and the last, which is for the test only."""
DRIVES = ("boreas-2020-11-26-13-58", "boreas-2020-12-01-13-26", "boreas-2021-01-26-11-22", "boreas-2021-04-29-15-55")

MakeRoot = Callable[..., Path]


@pytest.fixture(scope="session")
def make_oxford() -> MakeRoot:
    """make(root, runs=RUNS, image="small"): 20 places eastwards through a box of the test, from 240 m before its centre
    to 235 m after it; every second of them is a submap of the test too."""

    def make(root: Path, runs: Sequence[str] = RUNS, image: str = "small") -> Path:
        for number, run in enumerate(runs):
            for folder, every in (("pointcloud_20m_10overlap", 1), ("pointcloud_20m", 2)):
                _write_submaps(root / run, folder, every, number)
            if image:
                folder = root / run / "stereo" / "centre"
                folder.mkdir(parents=True)
                for place in range(20):
                    _write_images(folder, stamp_us(number, place), place, image)
        return root

    return make


def stamp_us(number: int, place: int) -> int:
    return 1_400_000_000_000_000 + number * 10**12 + place * 2_000_000


def _write_submaps(run: Path, folder: str, every: int, number: int) -> None:
    (run / folder).mkdir(parents=True)
    rows = []
    for place in range(0, 20, every):
        stamp = stamp_us(number, place)
        rng = np.random.default_rng([place, 5])
        cloud = np.repeat(rng.uniform(-0.9, 0.9, (16, 3)), 256, axis=0)
        cloud += np.random.default_rng(stamp).normal(0, 0.02, (4096, 3))
        cloud.clip(-1, 1).tofile(run / folder / f"{stamp}.bin")
        rows.append((stamp, BOX[0] + number * 0.5, BOX[1] - 240 + place * STEP_M))
    suffix = folder.removeprefix("pointcloud")
    with (run / f"pointcloud_locations{suffix}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("timestamp", "northing", "easting"), *rows])


def _write_images(folder: Path, stamp: int, place: int, kind: str) -> None:
    """The image of a place 30 ms after its submap, and of another one half a second later."""
    for after_us, shown in ((30_000, place), (500_000, place + 100)):
        pattern = np.random.default_rng([shown, 6]).integers(40, 216, (3, 4, 3), dtype=np.uint8)
        if kind == "mosaic":
            picture = np.empty((960, 1280), np.uint8)
            # Green and blue in even rows, red and green in odd ones.
            red, green, blue = (int(value) for value in pattern[0, 0])
            picture[0::2, 0::2], picture[0::2, 1::2], picture[1::2, 0::2], picture[1::2, 1::2] = green, blue, red, green
        else:
            picture = cv2.resize(pattern, (320, 240), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{stamp + after_us}.png"), picture)


@pytest.fixture(scope="session")
def oxford_robotcar_root(make_oxford: MakeRoot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_oxford(tmp_path_factory.mktemp("oxford"))


@pytest.fixture(scope="session")
def make_boreas() -> MakeRoot:
    """make(root, drives=DRIVES): 40 scans of a way that leads north-east, one metre apart, the first five standing."""

    def make(root: Path, drives: Sequence[str] = DRIVES) -> Path:
        for number, drive in enumerate(drives):
            _write_drive(root / drive, number)
        return root

    return make


YAW_DEG = 30.0
LIDAR_DEG = 42.0
"""How far the LiDAR is turned from the Applanix, counter-clockwise."""


def _write_drive(drive: Path, number: int) -> None:
    for name in ("lidar", "camera", "applanix", "calib"):
        (drive / name).mkdir(parents=True)
    turn = math.radians(LIDAR_DEG)
    T_applanix_lidar = np.array(
        [[math.cos(turn), -math.sin(turn), 0, 0], [math.sin(turn), math.cos(turn), 0, 0], [0, 0, 1, 0.3], [0, 0, 0, 1]]
    )
    np.savetxt(drive / "calib" / "T_applanix_lidar.txt", T_applanix_lidar)
    # The camera looks along the Applanix's y axis: its z is forward, its x to the right.
    T_camera_applanix = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    np.savetxt(drive / "calib" / "T_camera_lidar.txt", T_camera_applanix @ T_applanix_lidar)
    np.savetxt(drive / "calib" / "P_camera.txt", np.eye(3, 4))
    poses: dict[str, list[list[float]]] = {"lidar": [], "camera": []}
    for scan in range(40):
        stamp = 1_600_000_000_000_000 + number * 10**10 + scan * 100_000
        along_m = max(scan - 5, 0) + number * 0.2
        yaw = math.radians(YAW_DEG)
        position = [along_m * math.cos(yaw), along_m * math.sin(yaw), 150.0]
        # x of the LiDAR points (yaw - 90 + LIDAR_DEG) from east, and heading counts the other way round.
        heading = -(yaw - math.pi / 2 + turn)
        poses["lidar"].append([stamp, *position, 0, 0, 0, 0.0, 0.0, heading, 0, 0, 0])
        # Rolled by 90 degrees a camera looks north, and pitch is what turns it about the vertical axis.
        poses["camera"].append(
            [stamp + 40_000, *position[:2], 149.7, 0, 0, 0, math.pi / 2, yaw - math.pi / 2, 0.0, 0, 0, 0]
        )
        rng = np.random.default_rng([scan, 7])
        points = np.repeat(rng.uniform(-30, 30, (250, 3)), 12, axis=0) + rng.normal(0, 0.3, (3000, 3))
        records = np.column_stack([points, rng.random(3000), np.zeros(3000), np.zeros(3000)]).astype("<f4")
        records[0, 0] = np.nan
        records.tofile(drive / "lidar" / f"{stamp}.bin")
        pattern = np.random.default_rng([scan, 8]).integers(0, 255, (4, 5, 3), dtype=np.uint8)
        picture = cv2.resize(pattern, (392, 328), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(drive / "camera" / f"{stamp + 40_000}.png"), picture)
    for sensor, rows in poses.items():
        with (drive / "applanix" / f"{sensor}_poses.csv").open("w", newline="") as file:
            columns = ("GPSTime", "easting", "northing", "altitude", "vel_east", "vel_north", "vel_up", "roll",
                       "pitch", "heading", "angvel_z", "angvel_y", "angvel_x")  # fmt: skip
            csv.writer(file).writerows([columns, *rows])


@pytest.fixture(scope="session")
def boreas_root(make_boreas: MakeRoot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_boreas(tmp_path_factory.mktemp("boreas"))


@dataclass(frozen=True)
class View:
    """A frame of MSLS as its tables have it."""

    x_m: float
    ca: float = 90.0
    night: bool = False
    view: str = "Forward"
    unique: bool = True
    pano: bool = False
    asked: bool = True


DATABASE = [View(10.0 * place) for place in range(4)] + [View(10.0, 270.0, view="Backward"), View(20.0, pano=True)]
QUERIES = [
    View(1.0),
    View(11.0, 120.0, night=True),
    View(31.0, 180.0, view="Sideways"),
    View(500.0, unique=False),
    View(21.0, asked=False),
]


def write_msls_side(folder: Path, views: Sequence[View], has_poses: bool = True) -> None:
    """Tables and images of CITY/query or CITY/database; keys are CITY_SIDE_NUMBER."""
    (folder / "images").mkdir(parents=True)
    keys = [f"{folder.parent.name}_{folder.name}_{number}" for number in range(len(views))]
    tables: dict[str, list[dict[str, object]]] = {
        "seq_info": [{"key": key, "sequence_key": "s", "frame_number": i} for i, key in enumerate(keys)],
        "subtask_index": [{"all": view.asked, "d2n": view.night} for view in views],
    }
    if has_poses:
        tables["raw"] = [
            {"key": key, "lon": 12.5, "lat": 55.7, "ca": view.ca, "captured_at": "2018-07-03", "pano": view.pano}
            for key, view in zip(keys, views, strict=True)
        ]
        tables["postprocessed"] = [
            {"key": key, "easting": 347000.0 + view.x_m, "northing": 6171000.0, "unique_cluster": view.unique,
             "night": view.night, "control_panel": False, "view_direction": view.view}
            for key, view in zip(keys, views, strict=True)
        ]  # fmt: skip
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", *rows[0]])
            writer.writerows([number, *row.values()] for number, row in enumerate(rows))
    for number, key in enumerate(keys):
        write_pattern(folder / "images" / f"{key}.jpg", number)


def write_pattern(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng([seed, 9]).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(pattern, (64, 48), interpolation=cv2.INTER_NEAREST))


@pytest.fixture(scope="session")
def make_msls() -> MakeRoot:
    """make(root, cities): of each city the same street, DATABASE and QUERIES; those of the challenge without poses."""

    def make(root: Path, cities: Sequence[str] = ("london", "cph", "sf", "miami")) -> Path:
        for city in cities:
            is_challenge = city in msls.CHALLENGE
            for side, views in (("database", DATABASE), ("query", QUERIES)):
                folder = root / ("test" if is_challenge else "train_val") / city / side
                write_msls_side(folder, views, not is_challenge)
        return root

    return make


@pytest.fixture(scope="session")
def make_pittsburgh() -> MakeRoot:
    """make(root, sets): 6 views of 3 places 30 m apart, and 4 queries, the last of them 500 m away."""

    def make(root: Path, sets: Sequence[str] = ("train", "val", "test")) -> Path:
        (root / "datasets").mkdir(parents=True)
        for number, name in enumerate(sets):
            database = [
                f"{number:03}/{number:03}{place:03}_pitch1_yaw{yaw}.jpg" for place in range(3) for yaw in (1, 2)
            ]
            queries = [f"{number:03}/{number:03}{place:03}_pitch2_yaw3.jpg" for place in range(4)]
            database_m = np.array([[584000.0 + 30.0 * (place // 2), 4477000.0] for place in range(6)])
            queries_m = np.array([[584001.0 + 30.0 * place + 410.0 * (place == 3), 4477000.0] for place in range(4)])
            for seed, image in enumerate(database):
                write_pattern(root / image, seed)
            for seed, image in enumerate(queries):
                write_pattern(root / "queries_real" / image, seed)
            write_struct(root / "datasets" / f"pitts30k_{name}.mat", database, database_m, queries, queries_m)
        return root

    return make


def write_struct(
    path: Path, database: Sequence[str], database_m: np.ndarray, queries: Sequence[str], queries_m: np.ndarray
) -> None:
    """NetVLAD's dbStruct, its names in columns of cells as MATLAB writes them."""
    struct = {
        "whichSet": path.stem.rpartition("_")[2],
        "dbImageFns": np.array(database, dtype=object).reshape(-1, 1),
        "utmDb": database_m.T,
        "qImageFns": np.array(queries, dtype=object).reshape(-1, 1),
        "utmQ": queries_m.T,
        "numImages": float(len(database)),
        "numQueries": float(len(queries)),
        "posDistThr": 25.0,
        "posDistSqThr": 625.0,
        "nonTrivPosDistSqThr": 100.0,
    }
    savemat(path, {"dbStruct": struct}, do_compression=True)


@pytest.fixture(scope="session")
def make_nordland() -> MakeRoot:
    """make(root, seasons): sections of 6 frames, two to train on and two to test on."""

    def make(root: Path, seasons: Sequence[str] = ("summer", "winter")) -> Path:
        for season in seasons:
            for split in ("train", "test"):
                for section in (1, 2):
                    for number in range(6):
                        folder = root / split / f"{season}_images_{split}" / f"section{section}"
                        write_pattern(folder / f"{number}.png", number)
        return root

    return make


@pytest.fixture(scope="session")
def tiny(
    oxford_robotcar_root: Path,
    boreas_root: Path,
    make_msls: MakeRoot,
    make_pittsburgh: MakeRoot,
    make_nordland: MakeRoot,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, Any]]:
    """Of each data set by its name: a tiny one in its form, and options that take it whole."""
    roots = tmp_path_factory.mktemp("tiny")
    seasons = ("summer", "winter")
    return {
        "oxford_robotcar": (
            oxford_robotcar_root,
            oxford_robotcar.Options(train_runs=RUNS[:3], test_runs=RUNS[1:]),
        ),
        "boreas": (boreas_root, boreas.Options(train_runs=DRIVES[:2], test_runs=DRIVES[2:])),
        "msls": (make_msls(roots / "msls"), msls.Options(train_runs=("london",))),
        "pittsburgh30k": (make_pittsburgh(roots / "pittsburgh30k"), pittsburgh30k.Options()),
        "nordland": (
            make_nordland(roots / "nordland"),
            nordland.Options(train_runs=seasons, test_runs=seasons, test_frames=12),
        ),
    }
