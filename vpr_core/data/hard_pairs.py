"""Frames that a localizer took for the wrong place, or refused, as pairs to train on.

A file of hard pairs is a CSV file, one line a pair of a query and a place of the map, with the columns of `COLUMNS`:
both as session and stamp, whether the place is right, and why the localizer accepted or refused it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError, RecipeError
from vpr_core.files import sha256_bytes, write_atomic

MADE_BY = "vpr-distill hard-pairs"


@dataclass(frozen=True)
class HardPair:
    """A query, and a place that it was or should have been taken for."""

    query_session: str
    query_stamp_ns: int
    place_session: str
    place_stamp_ns: int
    right: int
    """1 where they show one place, 0 where the localizer held them for one and they are not."""
    rank: int
    """Of the place in the localizer's answer, from 1; 0 where it was not among those that were published."""
    reason: str
    """Of the localizer's best match: what became of the query."""
    distance_m: float
    """Between the two in x and y."""


COLUMNS = tuple(field.name for field in fields(HardPair))


@dataclass(frozen=True)
class HardPairs:
    """What was read from a file of pairs."""

    pairs: tuple[HardPair, ...]
    sha256: str

    @classmethod
    def load(cls, path: str | Path) -> HardPairs:
        """Raises RecipeError where the file is absent or holds something else."""
        try:
            data = Path(path).read_bytes()
            reader = csv.DictReader(io.StringIO(data.decode()))
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise RecipeError(f"{path} has columns {reader.fieldnames}, expected {list(COLUMNS)} of `{MADE_BY}`")
            return cls(tuple(_pair(row) for row in reader), sha256_bytes(data))
        except OSError as error:
            raise RecipeError(f"{path} cannot be read ({error.strerror}): expected a file of `{MADE_BY}`") from None
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{path} holds no hard pairs ({error}): write it with `{MADE_BY}`") from error

    @property
    def card(self) -> dict[str, int | str]:
        """What a checkpoint says of them."""
        return {"sha256": self.sha256, "pairs": len(self.pairs), "wrong": sum(not pair.right for pair in self.pairs)}

    def confused(self, drives: Sequence[Frames]) -> dict[int, np.ndarray]:
        """By number of a frame in all drives, numbered through, the frames that it was wrongly taken for, and the
        other way round: what was taken for one is as hard from either side.

        Raises RecipeError where no pair has both of its frames in the drives.
        """
        keys = ((drive.session, frame.stamp_ns) for drive in drives for frame in drive.frames)
        rows = {key: number for number, key in enumerate(keys)}
        found: dict[int, set[int]] = {}
        wrong = [pair for pair in self.pairs if not pair.right]
        for pair in wrong:
            query = rows.get((pair.query_session, pair.query_stamp_ns))
            place = rows.get((pair.place_session, pair.place_stamp_ns))
            if query is not None and place is not None:
                found.setdefault(query, set()).add(place)
                found.setdefault(place, set()).add(query)
        if wrong and not found:
            sessions = sorted({name for pair in wrong for name in (pair.query_session, pair.place_session)})
            raise RecipeError(
                f"the hard pairs are of the drives {', '.join(sessions)}, and --frames has "
                f"{', '.join(drive.session for drive in drives)}: give the map's drive and those beside the file too"
            )
        return {frame: np.array(sorted(others), np.int64) for frame, others in sorted(found.items())}


def write_hard_pairs(path: Path, pairs: Iterable[HardPair]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(pair) for pair in pairs)
    write_atomic(path, text.getvalue().encode())


def _pair(row: Mapping[str, str]) -> HardPair:
    return HardPair(
        query_session=row["query_session"],
        query_stamp_ns=int(row["query_stamp_ns"]),
        place_session=row["place_session"],
        place_stamp_ns=int(row["place_stamp_ns"]),
        right=int(row["right"]),
        rank=int(row["rank"]),
        reason=row["reason"],
        distance_m=float(row["distance_m"]),
    )


@dataclass(frozen=True)
class Answered:
    """What a localizer said of one image or cloud."""

    stamp_ns: int
    reason: str
    """Of the best match, in lower case."""
    places: tuple[tuple[str, int], ...]
    """Session and stamp of each place, most similar first."""


def pairs_of(
    answers: Iterable[Answered],
    queries: Frames,
    places: Sequence[Frames],
    *,
    radius_m: float = 10.0,
    negative_m: float = 50.0,
    tolerance_ns: int = 500_000_000,
) -> list[HardPair]:
    """The pairs that a network has to learn of one drive's answers, none twice.

    Of each answer: every place above the first right one that lies farther than `negative_m` from the query, and,
    where the best match was refused or wrong, the nearest place within `radius_m`. An answer counts for the frame
    nearest to it in time, at most `tolerance_ns` away.
    queries, places: with poses in one map frame. Raises FramesError where they are not.
    """
    for drive in places:
        if drive.map_frame != queries.map_frame:
            raise FramesError(
                f"{queries.folder} has its poses in {queries.map_frame!r}, the map's drive {drive.folder} in "
                f"{drive.map_frame!r}: name a pose topic in the map's frame, or anchored:BELIEVED+ODOMETRY"
            )
    known = _Places(places)
    stamps_ns = np.array([frame.stamp_ns for frame in queries.frames])
    found: dict[tuple[int, str, int], HardPair] = {}
    for answer in answers:
        row = int(np.abs(stamps_ns - answer.stamp_ns).argmin())
        if abs(int(stamps_ns[row]) - answer.stamp_ns) > tolerance_ns:
            continue
        for pair in _of_answer(answer, queries, row, known, radius_m, negative_m):
            found.setdefault((pair.query_stamp_ns, pair.place_session, pair.place_stamp_ns), pair)
    return list(found.values())


class _Places:
    """The map's frames by session and stamp, and by position."""

    def __init__(self, drives: Sequence[Frames]) -> None:
        self.keys = [(drive.session, frame.stamp_ns) for drive in drives for frame in drive.frames]
        self.positions_m = np.concatenate([drive.positions_m[:, :2] for drive in drives])
        self.rows = {key: row for row, key in enumerate(self.keys)}


def _of_answer(
    answer: Answered, queries: Frames, row: int, places: _Places, radius_m: float, negative_m: float
) -> list[HardPair]:
    distances_m = np.linalg.norm(places.positions_m - queries.positions_m[row, :2], axis=1)
    ranked = [places.rows[key] for key in answer.places if key in places.rows]
    right = [rank for rank, place in enumerate(ranked) if distances_m[place] <= radius_m]
    before = ranked[: right[0]] if right else ranked
    query = (queries.session, queries.frames[row].stamp_ns)

    def pair(place: int, is_right: bool) -> HardPair:
        rank = 1 + ranked.index(place) if place in ranked else 0
        return HardPair(*query, *places.keys[place], int(is_right), rank, answer.reason, round(distances_m[place], 2))

    pairs = [pair(place, False) for place in before if distances_m[place] > negative_m]
    nearest = int(distances_m.argmin())
    if distances_m[nearest] <= radius_m and (before or answer.reason != "accepted"):
        pairs.append(pair(nearest, True))
    return pairs
