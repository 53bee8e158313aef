"""Mapillary Street-Level Sequences (MSLS): street-level images of 30 cities over nine years, from any kind of camera.

ROOT/train_val/CITY/query/images/KEY.jpg       and CITY/database/ likewise
                         /raw.csv              key, lon, lat, ca (compass angle of the view [deg], clockwise from
                                               north), captured_at, pano
                         /postprocessed.csv    key, easting, northing [m], night, control_panel, view_direction
                                               (Forward, Backward, Sideways), unique_cluster
                         /seq_info.csv         key, sequence_key, frame_number
                         /subtask_index.csv    of the validation's cities: all, s2w, w2s, o2n, n2o, d2n, n2d, a row
                                               for each row of postprocessed.csv
ROOT/test/CITY/query/images/KEY.jpg            the challenge's six cities, of which nothing is said but
                    /seq_info.csv              the keys
                    /subtask_index.csv         and what is asked for, a row for each row of seq_info.csv

Queries and database of a city to train on become two runs, CITY_query and CITY_database. Those of the test are pooled,
as MSLS evaluates them: val_query, val_database; of the challenge challenge_query, challenge_database, without poses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vpr_core.data.dataset_parts import check_options
from vpr_core.data.msls_tables import SIDES, Side, Taken, View, read_side
from vpr_core.data.plan import Item, Missing, Plan, Run
from vpr_core.errors import FramesError
from vpr_core.types import Pose

NAME = "msls"
TRAIN = (
    "trondheim", "london", "boston", "melbourne", "amsterdam", "helsinki", "tokyo", "toronto", "saopaulo", "moscow",
    "zurich", "paris", "bangkok", "budapest", "austin", "berlin", "ottawa", "phoenix", "goa", "amman", "nairobi",
    "manila",
)  # fmt: skip
VALIDATION = ("cph", "sf")
CHALLENGE = ("miami", "athens", "buenosaires", "stockholm", "bengaluru", "kampala")
WHERE = (
    "It is Mapillary Street-Level Sequences, which Mapillary's page of data sets gives after a registration: "
    "metadata.zip, images_vol_1.zip to images_vol_6.zip and patch_v1.1.zip, all unpacked into one folder."
)
_SECOND_NS = 1_000_000_000
_CITIES_APART_M = 1e7
"""Wider than a zone of UTM is high, so that no place of one city is near one of another."""


@dataclass(frozen=True)
class Options:
    """What is taken of MSLS.

    Args:
        train_runs: cities to train on.
        test_runs: cities to test on; those of the challenge have no poses.
        subtask: of the test, frames that the index of this subtask has: all, summer to winter (s2w, w2s), old to new
            (o2n, n2o) or day to night (d2n, n2d).
        pooled: all cities of the test are one database and one query run; false makes two of each city.
        panoramas: take them too.
        light: frames of day or night alone.
        view_directions: frames whose camera looks Forward, Backward or Sideways; none takes all.
        unique_clusters: frames alone that postprocessed.csv marks as such.
        positive_m: training frames this near show one place [m].
        negative_m: training frames farther apart than this show different places [m].
        radius_m: a match within this distance is right in the test [m],
        max_heading_deg: if it also looks the same way to within this angle [deg]; null takes any.
    """

    train_runs: tuple[str, ...] = TRAIN
    test_runs: tuple[str, ...] = VALIDATION
    subtask: Literal["all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d"] = "all"
    pooled: bool = True
    panoramas: bool = False
    light: Literal["any", "day", "night"] = "any"
    view_directions: tuple[View, ...] = ()
    unique_clusters: bool = False
    positive_m: float = 10.0
    negative_m: float = 25.0
    radius_m: float = 25.0
    max_heading_deg: float | None = 40.0

    def __post_init__(self) -> None:
        check_options(self, max_heading_deg=0)

    @property
    def taken(self) -> Taken:
        """What is taken of a table."""
        return Taken(self.panoramas, self.light, self.view_directions, self.unique_clusters)


def plan(root: Path, options: Options) -> Plan:
    """The cities that the options name; raises FramesError where `root` has none, or a table does not parse."""
    if not any((root / part).is_dir() for part in ("train_val", "test")):
        raise FramesError(f"{root} has no folder of a set of cities: expected {root}/train_val or {root}/test. {WHERE}")
    missing, reader = Missing(), _Reader(root, options)
    groups = [("train", city, [city]) for city in options.train_runs]
    groups += [("test", name, cities) for name, cities in _tested(options).items()]
    runs, pairs = [], []
    for split, name, cities in groups:
        found = [run for side in SIDES if (run := reader.run(split, f"{name}_{side}", side, cities, missing))]
        runs += found
        if split == "test" and len(found) == len(SIDES):
            pairs.append((f"{name}_database", f"{name}_query"))
    return Plan(tuple(runs), missing.found, WHERE, pairs=pairs)


def _tested(options: Options) -> dict[str, list[str]]:
    """Cities by the name of their runs."""
    if not options.pooled:
        return {city: [city] for city in options.test_runs}
    groups: dict[str, list[str]] = {}
    for city in options.test_runs:
        groups.setdefault("challenge" if city in CHALLENGE else "val", []).append(city)
    return groups


@dataclass(frozen=True)
class _Reader:
    root: Path
    options: Options

    def run(self, split: str, name: str, side: str, cities: list[str], missing: Missing) -> Run | None:
        """One side of these cities, the second and every further one moved aside; None where nothing is there."""
        items: list[Item] = []
        drops: Counter[str] = Counter()
        for number, city in enumerate(cities):
            found = self._side(split, city, side, missing)
            drops.update(found.drops)
            for frame in found.frames:
                pose = frame.pose and _moved(frame.pose, number * _CITIES_APART_M)
                is_query = split == "train" or side == "query"
                items.append(Item(len(items) * _SECOND_NS, pose, image=frame.image, query=is_query))
        if not items:
            return None
        return Run(name, "train" if split == "train" else "test", tuple(items), drops, _card(name, cities, items))

    def _side(self, split: str, city: str, side: str, missing: Missing) -> Side:
        """One side of a city; what it lacks is noted."""
        folder = self.root / ("test" if city in CHALLENGE else "train_val") / city
        if not folder.is_dir():
            if side == SIDES[0]:
                missing.note("no folder", f"{city} ({split})")
            return Side()
        subtask, of = self.options.subtask if split == "test" else None, f"{city}/{side} ({split})"
        found = read_side(folder / side, city not in CHALLENGE, subtask, self.options.taken)
        for absent in found.absent:
            missing.note(f"no {absent}", of)
        missing.note_drops("frames", found.drops, of, len(found.frames) + sum(found.drops.values()))
        return found


def _moved(pose: Pose, aside_m: float) -> Pose:
    x_m, y_m, z_m = pose.position_m
    return Pose((x_m + aside_m, y_m, z_m), pose.quaternion_xyzw)


def _card(name: str, cities: list[str], items: list[Item]) -> dict[str, Any]:
    area = name.rpartition("_")[0]
    frame = "utm" if len(cities) == 1 else f"utm, cities {_CITIES_APART_M:g} m apart"
    return {
        "area": f"{NAME} {area}",
        "map_frame": frame if items[0].pose else "",
        "cities": cities,
        "stamps": "the number of the frame, a second each",
        "poses": {"source": "easting and northing", "heading": "ca"} if items[0].pose else None,
    }
