"""Oxford RobotCar in PointNetVLAD's form: what is trained on, what is asked for, and what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vpr_core.data.dataset_parts import Boxes, nearest
from vpr_core.data.datasets import oxford_robotcar
from vpr_core.data.frames import Frames
from vpr_core.data.plan import counts
from vpr_core.data.prepare import write_plan
from vpr_core.errors import FramesError

Tiny = dict[str, tuple[Path, Any]]
LAST = oxford_robotcar.TEST_RUNS[-1]


@pytest.fixture
def options(tiny: Tiny) -> oxford_robotcar.Options:
    return tiny["oxford_robotcar"][1]


def test_training_lies_outside_of_the_boxes_and_the_test_asks_inside(
    oxford_robotcar_root: Path, options: oxford_robotcar.Options
) -> None:
    plan = oxford_robotcar.plan(oxford_robotcar_root, options)
    assert not plan.missing
    centre_x = options.boxes[3][1]
    for run in plan.runs:
        away_m = np.abs(run.positions_m[:, 0] - centre_x)
        if run.split == "train":
            assert (away_m >= 150).all() and len(run.items) == 8, "240, 215, 190, 165 m before, 160 to 235 m after"
        else:
            assert len(run.items) == 10, "the database is all of the run"
            np.testing.assert_array_equal(run.queries, away_m < 150)
    assert [run.name for run in plan.of("test")] == list(options.test_runs)


def test_a_box_is_open() -> None:
    box = Boxes(((100.0, 200.0),), 150.0)
    at_m = np.array([(100, 200), (249.99, 200), (250, 200), (100, 50), (100, 50.01), (300, 400)], float)
    assert box.inside(at_m).tolist() == [True, True, False, False, True, False]
    assert not Boxes((), 150.0).inside(at_m).any()


def test_by_default_the_last_run_is_for_the_test_only(oxford_robotcar_root: Path) -> None:
    plan = oxford_robotcar.plan(oxford_robotcar_root, oxford_robotcar.Options())
    assert LAST not in [run.name for run in plan.of("train")] and LAST in [run.name for run in plan.of("test")]
    assert plan.missing["41 of 45 runs"] == ["4 are there"]
    assert len(plan.missing["no folder"]) == 20


def test_of_45_folders_the_published_indices_are_tested_on(make_oxford: Callable[..., Path], tmp_path: Path) -> None:
    names = [f"2014-{1 + day // 28:02d}-{1 + day % 28:02d}-12-00-00" for day in range(45)]
    for name in names:
        (tmp_path / name).mkdir()
    chosen = [names[index] for index in (5, 44)]
    shutil.rmtree(tmp_path / chosen[0])
    shutil.rmtree(tmp_path / chosen[1])
    make_oxford(tmp_path, chosen)
    plan = oxford_robotcar.plan(tmp_path, oxford_robotcar.Options())
    assert [run.name for run in plan.of("test")] == chosen and [run.name for run in plan.of("train")] == chosen[:1]
    assert len(plan.missing["no pointcloud_locations_20m.csv"]) == 21
    assert len(plan.missing["no pointcloud_locations_20m_10overlap.csv"]) == 43, "all but the last are trained on"


def test_23_runs_are_506_ordered_pairs(make_oxford: Callable[..., Path], tmp_path: Path) -> None:
    root = make_oxford(tmp_path, oxford_robotcar.TEST_RUNS, image="")
    options = oxford_robotcar.Options(sensors=("cloud",), test_runs=oxford_robotcar.TEST_RUNS)
    plan = oxford_robotcar.plan(root, options)
    found = counts(plan, options.positive_m, options.radius_m)["test"]
    # The box holds six of a run's ten submaps, and the runs lie half a metre apart.
    assert found == {"runs": 23, "frames": 230, "queries": 138, "pairs": 506, "evaluated": 506 * 6, "skipped": 0}
    far = counts(plan, options.positive_m, radius_m=0.75)["test"]
    assert (far["evaluated"], far["skipped"]) == (2 * 22 * 6, (506 - 44) * 6), "only the neighbour is so near"


def test_positives_are_counted_as_pointnetvlad_makes_tuples(
    oxford_robotcar_root: Path, options: oxford_robotcar.Options
) -> None:
    plan = oxford_robotcar.plan(oxford_robotcar_root, options)
    assert counts(plan, 10.0, 25.0)["train"] == {"runs": 3, "frames": 24, "with_positive": 24}
    alone = oxford_robotcar.plan(oxford_robotcar_root, replace(options, train_runs=options.train_runs[:1]))
    assert counts(alone, 10.0, 25.0)["train"]["with_positive"] == 0, "submaps of a run are 25 m apart here"


def test_images_and_clouds_are_linked_and_the_nearest_image_is_taken(
    oxford_robotcar_root: Path, options: oxford_robotcar.Options, tmp_path: Path
) -> None:
    folders = write_plan(oxford_robotcar.plan(oxford_robotcar_root, options), tmp_path, "x", {})
    folder = folders[f"test/{LAST}"]
    assert (folder / "images").is_symlink() and (folder / "clouds").is_symlink()
    drive = Frames.load(folder)
    for frame in drive.frames:
        submap, image = int(Path(frame.cloud or "").stem), int(Path(frame.image or "").stem)
        assert image - submap == 30_000, "of the two images of a place the one 30 ms after its submap"
        assert frame.stamp_ns == submap * 1000 == frame.cloud_stamp_ns
    assert drive.card["synchronisation_ms"] == {"mean": 30.0, "max": 30.0}
    source = np.fromfile(oxford_robotcar_root / LAST / "pointcloud_20m" / f"{submap}.bin").reshape(-1, 3)
    cloud = drive.cloud(len(drive) - 1)
    np.testing.assert_array_equal(cloud[:, :3], source.astype(np.float32))
    assert cloud.shape == (4096, 4) and not cloud[:, 3].any() and np.abs(cloud).max() <= 1
    assert all(frame.pose and abs(frame.pose.yaw_rad) < 0.01 for frame in drive.frames), "the street leads east"


def test_nearest_of_sorted_stamps() -> None:
    stamps = np.array([10, 20, 30])
    assert [nearest(stamps, wanted, 4) for wanted in (6, 5, 14, 16, 34, 35, 20)] == [10, None, 10, 20, 30, None, 20]
    assert nearest(stamps, 15, 5) == 10 and nearest(np.array([], np.int64), 15, 5) is None


def test_what_is_missing_is_said_run_by_run(make_oxford: Callable[..., Path], tmp_path: Path) -> None:
    runs = oxford_robotcar.TEST_RUNS[:4]
    root = make_oxford(tmp_path, runs)
    options = oxford_robotcar.Options(train_runs=runs, test_runs=(*runs, LAST))
    (root / runs[0] / "pointcloud_locations_20m.csv").unlink()
    shutil.rmtree(root / runs[1] / "stereo")
    shutil.rmtree(root / runs[2] / "pointcloud_20m_10overlap")
    images = sorted((root / runs[3] / "stereo" / "centre").iterdir())
    for image in images[:4]:
        image.unlink()
    next(iter((root / runs[3] / "pointcloud_20m").glob("*00.bin"))).unlink()
    plan = oxford_robotcar.plan(root, options)
    assert plan.missing == {
        "no folder": [f"{LAST} (test)"],
        "no images": [f"{runs[1]} (train)", f"{runs[1]} (test)"],
        "no pointcloud_20m_10overlap/*.bin": [f"{runs[2]} (train)"],
        "submaps with no image within 1 s": [f"{runs[3]} (train) 2 of 8", f"{runs[3]} (test) 1 of 10"],
        "no pointcloud_locations_20m.csv": [f"{runs[0]} (test)"],
        "submaps with no cloud": [f"{runs[3]} (test) 1 of 10"],
    }
    assert [(run.split, run.name, len(run.items)) for run in plan.runs] == [
        ("train", runs[0], 8), ("train", runs[3], 6), ("test", runs[2], 10), ("test", runs[3], 8)
    ]  # fmt: skip
    assert plan.runs[-1].drops == {"no image within 1 s": 1, "no cloud": 1}
    without = oxford_robotcar.plan(root, replace(options, sensors=("cloud",), tolerance_s=0.1))
    assert "no images" not in without.missing and len(without.runs) == 6


def test_images_of_the_cameras_become_those_of_minkloc(make_oxford: Callable[..., Path], tmp_path: Path) -> None:
    runs = oxford_robotcar.TEST_RUNS[:1]
    root = make_oxford(tmp_path / "root", runs, image="mosaic")
    plan = oxford_robotcar.plan(root, oxford_robotcar.Options(train_runs=runs, test_runs=runs))
    run = next(run for run in plan.runs if run.split == "test")
    read = run.conversions["image"].read
    assert run.items[1].image
    image = read(run.items[1].image)
    colour = np.random.default_rng([2, 6]).integers(40, 216, (3, 4, 3), dtype=np.uint8)[0, 0]
    assert image.shape == (240, 320, 3)
    np.testing.assert_allclose(image[100, 100], colour, atol=1)


def test_images_may_lie_elsewhere_by_run(
    oxford_robotcar_root: Path, options: oxford_robotcar.Options, tmp_path: Path
) -> None:
    for run in (*options.train_runs, LAST):
        (tmp_path / run).symlink_to(oxford_robotcar_root / run / "stereo" / "centre", target_is_directory=True)
    there = oxford_robotcar.plan(oxford_robotcar_root, replace(options, images=tmp_path))
    assert not there.missing and there.runs[0].items[0].image
    assert there.runs[0].items[0].image.parent.parent == tmp_path


def test_a_folder_oxford_in_the_benchmark_is_found(oxford_robotcar_root: Path, tmp_path: Path) -> None:
    (tmp_path / "oxford").symlink_to(oxford_robotcar_root, target_is_directory=True)
    assert len(oxford_robotcar.plan(tmp_path, oxford_robotcar.Options()).runs) == 6


def test_damage_is_named(make_oxford: Callable[..., Path], tmp_path: Path) -> None:
    runs = oxford_robotcar.TEST_RUNS[:1]
    root = make_oxford(tmp_path / "root", runs)
    options = oxford_robotcar.Options(train_runs=runs, test_runs=runs)
    folders = write_plan(
        oxford_robotcar.plan(root, options), tmp_path / "out", "vpr-distill prepare oxford_robotcar", {}
    )
    drive = Frames.load(folders[f"test/{runs[0]}"])
    cloud = root / runs[0] / "pointcloud_20m" / Path(drive.frames[0].cloud or "").name
    cloud.write_bytes(cloud.read_bytes()[:-3])
    with pytest.raises(FramesError, match=r"has 98301 bytes, expected points of 3 float64 numbers"):
        drive.cloud(0)
    cloud.unlink()
    with pytest.raises(FramesError, match=r"is missing \(frame 0\); run `vpr-distill prepare oxford_robotcar` again"):
        Frames.load(drive.folder)
    locations = root / runs[0] / "pointcloud_locations_20m.csv"
    locations.write_text("timestamp,northing,easting\n12,abc,3\n")
    with pytest.raises(FramesError, match="does not parse"):
        oxford_robotcar.plan(root, options)
    locations.write_text("time,n,e\n")
    with pytest.raises(FramesError, match=r"has columns \['time', 'n', 'e'\], expected timestamp, northing, easting"):
        oxford_robotcar.plan(root, options)
    picture = next((root / runs[0] / "stereo" / "centre").iterdir())
    for path in picture.parent.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(FramesError, match="does not decode"):
        oxford_robotcar.plan(root, options)
    assert cv2.imread(str(picture)) is None
