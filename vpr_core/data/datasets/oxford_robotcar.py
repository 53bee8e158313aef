"""Oxford RobotCar as PointNetVLAD and MinkLoc++ have it: LiDAR submaps of 20 m, and images of the centre camera.

ROOT/RUN/pointcloud_locations_20m_10overlap.csv   timestamp,northing,easting of submaps every 10 m, to train on
ROOT/RUN/pointcloud_20m_10overlap/STAMP.bin       4096 points of 3 float64 in [-1, 1], the ground taken out
ROOT/RUN/pointcloud_locations_20m.csv             the same every 20 m, to test on
ROOT/RUN/pointcloud_20m/STAMP.bin
IMAGES/RUN/STAMP.png                              320x240, as MinkLoc++ makes them; or
IMAGES/RUN/stereo/centre/STAMP.png                1280x960 as the cameras wrote them, of which the same is made

RUN is a time such as 2014-11-14-16-34-33; stamps are microseconds. Every run but the last is trained on, outside of
four squares; runs of the test are whole rounds, each asked for inside the squares in the map of every other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.data.dataset_parts import Boxes, check_drive_options, nearest, stamped_files
from vpr_core.data.oxford_images import conversions
from vpr_core.data.oxford_pickles import Pickled, read_pickles
from vpr_core.data.oxford_submaps import Submap, pose_at, poses_of, read_locations
from vpr_core.data.plan import Item, Missing, Plan, Run, Sensor
from vpr_core.errors import FramesError
from vpr_core.types import Pose

NAME = "oxford_robotcar"
RUNS = 45
"""So many folders the published set has."""
TEST_INDICES = (5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 24, 31, 32, 33, 38, 39, 43, 44)
"""The test's among all folders in their order [MinkLoc++, generate_test_sets.py]."""
TEST_RUNS = (
    "2014-11-14-16-34-33", "2014-11-18-13-20-12", "2014-12-02-15-30-08", "2014-12-09-13-21-02", "2014-12-10-18-10-50",
    "2014-12-12-10-45-15", "2014-12-16-09-14-09", "2014-12-16-18-44-24", "2015-02-03-08-45-10", "2015-02-10-11-58-05",
    "2015-02-13-09-16-26", "2015-02-17-14-42-12", "2015-03-10-14-18-10", "2015-03-17-11-08-44", "2015-05-19-14-06-38",
    "2015-06-09-15-06-29", "2015-08-12-15-04-18", "2015-08-13-16-02-58", "2015-08-14-14-54-57", "2015-08-28-09-50-22",
    "2015-10-30-13-52-14", "2015-11-12-11-22-05", "2015-11-13-10-28-08",
)  # fmt: skip
"""The same by name, for a folder in which runs are missing. The last is the one that nothing is trained on."""
WHERE = (
    "Submaps and their CSV files are PointNetVLAD's benchmark data sets, of which the folder oxford is needed, with "
    f"{RUNS} runs; its page on GitHub (mikacuy/pointnetvlad) links to them. Images are Oxford RobotCar's "
    "stereo/centre, of which its site gives the archives by run after a registration; a folder images4lidar that "
    "MinkLoc++'s script made of them does as well. Its pickles, of generating_queries, are not needed."
)
_RUN = re.compile(r"\d{4}(-\d\d){5}")
_CLOUD_LAYOUT = {"dtype": "<f8", "columns": 3}
_FOLDER = {"train": "pointcloud_20m_10overlap", "test": "pointcloud_20m"}
_CSV = {"train": "pointcloud_locations_20m_10overlap.csv", "test": "pointcloud_locations_20m.csv"}
_US = 1000


@dataclass(frozen=True)
class Options:
    """What is taken of Oxford RobotCar.

    Args:
        images: folder of image folders by run, ROOT by default.
        pickles: folder of MinkLoc++'s pickles, by which frames are chosen exactly as there instead of by the CSV files.
        sensors: what every frame has to have.
        image_height: images of another height are made this high [px]; null leaves them as they are.
        tolerance_s: longest time between a submap and the nearest image [s].
        train_runs: runs to train on; by default all but the last of the test's.
        test_runs: runs to test on; by default the 23 of the published evaluation.
        boxes: northing and easting of the centres of the squares that are asked for and not trained on [m].
        box_half_m: from a centre to an edge [m].
        positive_m: training frames this near show one place [m]; 12.5 in the refined set.
        negative_m: training frames farther apart than this show different places [m].
        radius_m: a match within this distance is right in the test [m].
    """

    images: Path | None = None
    pickles: Path | None = None
    sensors: tuple[Sensor, ...] = ("image", "cloud")
    image_height: int | None = 240
    tolerance_s: float = 1.0
    train_runs: tuple[str, ...] = ()
    test_runs: tuple[str, ...] = ()
    boxes: tuple[tuple[float, float], ...] = (
        (5735712.768124, 620084.402381),
        (5735611.299219, 620540.270327),
        (5735237.358209, 620543.094379),
        (5734749.303802, 619932.693364),
    )
    box_half_m: float = 150.0
    positive_m: float = 10.0
    negative_m: float = 50.0
    radius_m: float = 25.0

    def __post_init__(self) -> None:
        check_drive_options(self)


def plan(root: Path, options: Options) -> Plan:
    """The runs of the folder `root`, or of its folder oxford; raises FramesError where there is none."""
    root = root if _runs_in(root) or not (root / "oxford").is_dir() else root / "oxford"
    found, missing = _runs_in(root), Missing()
    if not found:
        raise FramesError(f"{root} has no folder of a run such as {TEST_RUNS[0]}. {WHERE}")
    radii_m = options.positive_m, options.negative_m
    pickled = read_pickles(options.pickles, *radii_m) if options.pickles else None
    split = _split(found, options, pickled, missing)
    reader = _Reader(root, options, pickled, missing)
    runs = [run for side, names in split.items() for name in names if (run := reader.run(side, name))]
    return Plan(tuple(runs), missing.found, WHERE, _notes(options, pickled))


def _notes(options: Options, pickled: Pickled | None) -> list[str]:
    if pickled is None or pickled.differing is None:
        return []
    total = sum(map(len, pickled.train.values()))
    return [
        f"{total - pickled.differing} of {total} training tuples of the pickles have the positives within "
        f"{options.positive_m:g} m and the non-negatives within {options.negative_m:g} m"
    ]


def _runs_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*") if _RUN.fullmatch(path.name) and path.is_dir())


def _split(found: Sequence[str], options: Options, pickled: Pickled | None, missing: Missing) -> dict[str, list[str]]:
    """Runs to train on and to test on; those that are not there are noted and left out."""
    published = [found[index] for index in TEST_INDICES] if len(found) == RUNS else list(TEST_RUNS)
    test = list(options.test_runs or (pickled.test if pickled else published))
    train = list(options.train_runs or (pickled.train if pickled else [run for run in found if run != published[-1]]))
    if len(found) < RUNS and not (options.train_runs or pickled):
        missing.note(f"{RUNS - len(found)} of {RUNS} runs", f"{len(found)} are there")
    for run in sorted({*train, *test} - {*found}):
        missing.note("no folder", f"{run} ({'test' if run in test else 'train'})")
    return {"train": [run for run in train if run in found], "test": [run for run in test if run in found]}


@dataclass(frozen=True)
class _Reader:
    """Finds what belongs to a frame, and notes what does not exist."""

    root: Path
    options: Options
    pickled: Pickled | None
    missing: Missing

    @property
    def _no_image(self) -> str:
        return f"no image within {self.options.tolerance_s:g} s"

    def run(self, split: str, name: str) -> Run | None:
        """One run for one side of the split; None where it cannot be used."""
        submaps = self._submaps(split, name)
        images = self._images(split, name) if "image" in self.options.sensors else {}
        clouds = self._clouds(split, name) if "cloud" in self.options.sensors else {}
        if submaps is None or images is None or clouds is None:
            return None
        drops: Counter[str] = Counter()
        items = self._items(submaps, images, clouds, drops)
        self.missing.note_drops("submaps", drops, f"{name} ({split})", len(submaps))
        if not items:
            self.missing.note("no submap that could be used", f"{name} ({split})")
            return None
        return Run(
            name,
            "train" if split == "train" else "test",
            tuple(items),
            dict(drops),
            {"area": NAME, "map_frame": "utm", "cloud_layout": _CLOUD_LAYOUT,
             "poses": {"source": "the submaps' northing and easting", "heading": "along the way driven"}},
            conversions(next(iter(images.values())), self.options.image_height) if images else {},
        )  # fmt: skip

    def _submaps(self, split: str, name: str) -> list[tuple[Submap, Pose]] | None:
        """What is wanted of a run, with its poses; headings come from all that the run has."""
        path = self.root / name / _CSV[split]
        pickled: list[Submap] | None = getattr(self.pickled, split).get(name, []) if self.pickled else None
        if not path.is_file() and (pickled is None or any(submap.northing is None for submap in pickled)):
            self.missing.note(f"no {path.name}", f"{name} ({split})")
            return None
        located = read_locations(path) if path.is_file() else {submap.stamp: submap for submap in pickled or []}
        poses = poses_of(located)
        if pickled is None:
            return self._by_boxes(split, located, poses)
        if unknown := [submap.stamp for submap in pickled if submap.stamp not in poses]:
            raise FramesError(f"{path} lacks {len(unknown)} submaps that the pickles name, such as {unknown[0]}")
        return [(submap, pose_at(submap, poses[submap.stamp])) for submap in pickled]

    def _by_boxes(
        self, split: str, located: Mapping[int, Submap], poses: Mapping[int, Pose]
    ) -> list[tuple[Submap, Pose]]:
        """What is trained on lies outside of the boxes, what is asked for inside."""
        centres_m = tuple((easting, northing) for northing, easting in self.options.boxes)
        positions_m = np.array([pose.position_m for pose in poses.values()]).reshape(-1, 3)
        inside = Boxes(centres_m, self.options.box_half_m).inside(positions_m)
        return [
            (located[stamp]._replace(query=split == "train" or bool(asked)), pose)
            for (stamp, pose), asked in zip(poses.items(), inside, strict=True)
            if split == "test" or not asked
        ]

    def _images(self, split: str, name: str) -> dict[int, Path] | None:
        folders = [(self.options.images or self.root) / name / folder for folder in ("", "stereo/centre")]
        for folder in folders:
            if found := stamped_files(folder, ".png", ".jpg"):
                return found
        self.missing.note("no images", f"{name} ({split})")
        return None

    def _clouds(self, split: str, name: str) -> dict[int, Path] | None:
        found = stamped_files(self.root / name / _FOLDER[split], ".bin")
        if not found:
            self.missing.note(f"no {_FOLDER[split]}/*.bin", f"{name} ({split})")
        return found or None

    def _items(
        self,
        submaps: list[tuple[Submap, Pose]],
        images: Mapping[int, Path],
        clouds: Mapping[int, Path],
        drops: Counter[str],
    ) -> list[Item]:
        items, stamps = [], np.array(list(images), np.int64)
        tolerance = round(self.options.tolerance_s * 1e6)
        for submap, pose in submaps:
            indexed = self.pickled.images.get(submap.stamp) if self.pickled else None
            image = indexed if indexed is not None else nearest(stamps, submap.stamp, tolerance)
            if "image" in self.options.sensors and image not in images:
                drops["no file of the image in the index" if indexed else self._no_image] += 1
            elif "cloud" in self.options.sensors and submap.stamp not in clouds:
                drops["no cloud"] += 1
            else:
                lag_ns = (image - submap.stamp) * _US if image is not None else 0
                items.append(Item(submap.stamp * _US, pose, clouds.get(submap.stamp),
                                  images.get(image) if image is not None else None, lag_ns, submap.query))  # fmt: skip
        return items
