"""Nordland: a railway through Norway in four seasons, frame by frame along one track.

ROOT/train/SEASON_images_train/section1/NUMBER.png     and section2, as Olid et al. divide the videos
ROOT/test/SEASON_images_test/section1/NUMBER.png       and section2, section3, 1150 frames each: the partitioned test

SEASON is spring, summer, fall or winter; frames may also lie in the season's folder itself. Frames of one number show
one place in every season, and so do those a few numbers apart: `tolerance_frames`. A frame's position is its place in
their order along x, one metre a frame, so that a radius in metres is one in frames; sections lie 1000 frames apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vpr_core.data.dataset_parts import check_options
from vpr_core.data.nordland_frames import common_numbers, season_images
from vpr_core.data.plan import Item, Missing, Plan, Run
from vpr_core.errors import FramesError
from vpr_core.types import Pose

NAME = "nordland"
SEASONS = ("spring", "summer", "fall", "winter")
TEST_FRAMES = 3450
"""So many frames each season of the partitioned test has."""
WHERE = (
    "It is the Nordland data set as Olid, Facil and Civera pre-processed and divided it (Single-View Place Recognition "
    "under Seasonal Changes, University of Zaragoza), whose project page has it under that name; the videos are those "
    "of the Norwegian Broadcasting Corporation, Nordlandsbanen: minute by minute, season by season."
)
_SECOND_NS = 1_000_000_000
_SECTIONS_APART = 1000


@dataclass(frozen=True)
class Options:
    """What is taken of Nordland.

    Args:
        train_runs: seasons to train on.
        test_runs: seasons to test on, each the map of all others.
        tolerance_frames: a match at most so many frames away is right in the test.
        positive_frames: training frames at most so many apart show one place.
        negative_frames: training frames more than so many apart show different places.
        every: of so many frames one is taken.
        test_frames: so many frames every season of the test is expected to have; 0 asks for none.
    """

    train_runs: tuple[str, ...] = SEASONS
    test_runs: tuple[str, ...] = SEASONS
    tolerance_frames: int = 2
    positive_frames: int = 2
    negative_frames: int = 10
    every: int = 1
    test_frames: int = TEST_FRAMES

    def __post_init__(self) -> None:
        least = {"tolerance_frames": 0, "positive_frames": 0, "negative_frames": self.positive_frames}
        check_options(self, every=1, test_frames=0, **least)

    @property
    def positive_m(self) -> float:
        """As a distance in the map frame of prepared runs."""
        return float(self.positive_frames)

    @property
    def negative_m(self) -> float:
        return float(self.negative_frames)

    @property
    def radius_m(self) -> float:
        return float(self.tolerance_frames)


def plan(root: Path, options: Options) -> Plan:
    """The seasons that the options name; raises FramesError where `root` has none, or their frames do not fit."""
    if not any((root / split).is_dir() for split in ("train", "test")):
        raise FramesError(f"{root} has no folder of a season such as test/summer_images_test. {WHERE}")
    missing, runs = Missing(), []
    for split, seasons in (("train", options.train_runs), ("test", options.test_runs)):
        runs += _runs(root, split, seasons, options, missing)
    return Plan(tuple(runs), missing.found, WHERE)


def _runs(root: Path, split: str, seasons: tuple[str, ...], options: Options, missing: Missing) -> list[Run]:
    """All seasons of one side, numbered alike."""
    found = {}
    for season in seasons:
        folder = root / split / f"{season}_images_{split}"
        if not folder.is_dir():
            missing.note("no folder", f"{season} ({split})")
        elif images := season_images(folder):
            found[season] = images
        else:
            missing.note("no images", f"{season} ({split})")
    if not found:
        return []
    numbers = common_numbers(found)
    if split == "test" and options.test_frames and len(numbers) != options.test_frames:
        missing.note(f"{options.test_frames} frames", f"the seasons of the test have {len(numbers)}")
    x_m = _positions_m([section for section, _ in numbers])
    runs = []
    for season, images in found.items():
        items = tuple(
            Item(place * _SECOND_NS, Pose((x_m[place], 0.0, 0.0)), image=images[number])
            for place, number in enumerate(numbers)
            if place % options.every == 0 and number in images
        )
        lost = sum(number not in images for number in numbers[:: options.every])
        drops = {"no image": lost} if lost else {}
        missing.note_drops("frames", drops, f"{season} ({split})", len(numbers[:: options.every]))
        runs.append(Run(season, "train" if split == "train" else "test", items, drops, _card(split)))
    return runs


def _positions_m(sections: list[str]) -> list[float]:
    """Along x: the number of the frame, and a gap before each section but the first."""
    gaps, x_m = 0, []
    for place, section in enumerate(sections):
        gaps += place > 0 and section != sections[place - 1]
        x_m.append(float(place + gaps * _SECTIONS_APART))
    return x_m


def _card(split: str) -> dict[str, object]:
    return {
        "area": f"{NAME} {split}",
        "map_frame": "frames",
        "stamps": "the number of the frame, a second each",
        "poses": {"source": "the number of the frame along x, one metre a frame", "heading": "along the track"},
    }
