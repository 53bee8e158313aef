"""From bags of a localizer that was unsure or wrong to frames folders, their hard pairs, and a picture of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vpr_core.data.answers import answers_in, matches_topic
from vpr_core.data.bag import BagReader
from vpr_core.data.frames import Frames
from vpr_core.data.hard_pairs import HardPair, pairs_of, write_hard_pairs
from vpr_core.data.ingest import Options
from vpr_core.data.ingest_many import ingest_many
from vpr_core.errors import BagError, FramesError, VprError
from vpr_core.files import write_atomic

PAIRS, PICTURE = "hard_pairs.csv", "hard_pairs.jpg"
_SHOWN = 12
_TILE_PX = (240, 180)
_TITLE_PX = 20


def hard_pairs_of_bags(
    bags: Sequence[Path],
    places: Sequence[Path],
    out: Path,
    options: Options,
    *,
    matches_topic: str | None = None,
    radius_m: float = 10.0,
    negative_m: float = 50.0,
    workers: int = 2,
    overwrite: bool = False,
    bar: bool = False,
) -> Iterator[str]:
    """Write `out`/NAME for each bag, `out`/hard_pairs.csv and, of cameras, `out`/hard_pairs.jpg; yields lines to print.

    bags: bags, or folders of bags. places: frames folders of the localizer's map. options, workers, overwrite, bar: as
    of `ingest_many`, with poses in the map's frame. radius_m, negative_m: as of `pairs_of`. A bag that cannot be used
    is told and left out.
    Raises BagError where none can be used, and FramesError for a bad folder of the map.
    """
    maps = [Frames.load(folder) for folder in places]
    options = replace(options, area=maps[0].card.get("area"))
    found: list[HardPair] = []
    drives: list[Frames] = []
    outcomes = ingest_many(_bags_in(bags), out, options, workers=workers, overwrite=overwrite, bar=bar)
    for outcome in outcomes:
        try:
            if outcome.failed:
                raise BagError(outcome.text)
            drive = Frames.load(outcome.out)
            pairs = _pairs(outcome.bag, matches_topic, drive, maps, radius_m, negative_m)
        except VprError as error:
            yield f"{outcome.bag}: left out: {error}"
            continue
        found += pairs
        drives.append(drive)
        yield f"{outcome.out}: {len(drive)} frames, {_summary(pairs)}"
    if not drives:
        raise BagError(f"none of {len(outcomes)} bags could be used")
    write_hard_pairs(out / PAIRS, found)
    yield f"{out / PAIRS}: {_summary(found)}; {_reasons(found)}"
    if picture := _picture(found, [*maps, *drives]):
        write_atomic(out / PICTURE, picture)
        yield f"{out / PICTURE}: what was taken for what"


def _bags_in(given: Sequence[Path]) -> list[Path]:
    """Each bag, and the bags of each folder that is none itself; raises BagError where there are none."""
    bags: list[Path] = []
    for path in given:
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            bags += sorted(file.parent for file in path.glob("*/metadata.yaml"))
        else:
            bags.append(path)
    if not bags:
        raise BagError(f"{', '.join(map(str, given))}: no bags in there, expected folders with metadata.yaml")
    return bags


def _pairs(
    bag: Path, topic: str | None, drive: Frames, maps: list[Frames], radius_m: float, negative_m: float
) -> list[HardPair]:
    with BagReader(bag) as reader:
        answers = list(answers_in(reader, matches_topic(reader, topic)))
    known = {drive.session for drive in maps}
    if strangers := {session for answer in answers for session, _ in answer.places} - known:
        raise FramesError(
            f"its matches are of the drives {', '.join(sorted(strangers))}, --frames has {', '.join(sorted(known))}: "
            "give all that the localizer's map was made of"
        )
    return pairs_of(answers, drive, maps, radius_m=radius_m, negative_m=negative_m)


def _summary(pairs: list[HardPair]) -> str:
    queries = {(pair.query_session, pair.query_stamp_ns) for pair in pairs}
    right = sum(pair.right for pair in pairs)
    return f"{len(queries)} hard queries, {right} with their right place, {len(pairs) - right} wrong places"


def _reasons(pairs: list[HardPair]) -> str:
    by_query = {(pair.query_session, pair.query_stamp_ns): pair.reason for pair in pairs}
    counted = Counter(by_query.values()).most_common()
    return ", ".join(f"{reason.replace('_', ' ')} {times}" for reason, times in counted) or "nothing was hard"


def _picture(pairs: list[HardPair], drives: Sequence[Frames]) -> bytes | None:
    """JPEG: a row each of a query, the place it was first taken for, and the right one; None without images."""
    if not pairs or not all(drive.has_images for drive in drives):
        return None
    known = {
        (drive.session, frame.stamp_ns): (drive, index) for drive in drives for index, frame in enumerate(drive.frames)
    }
    by_query: dict[tuple[str, int], list[HardPair]] = {}
    for pair in pairs:
        by_query.setdefault((pair.query_session, pair.query_stamp_ns), []).append(pair)
    chosen = [list(by_query.items())[i] for i in np.unique(np.linspace(0, len(by_query) - 1, _SHOWN).astype(int))]
    rows = []
    for query, of_query in chosen:
        wrong = min((pair for pair in of_query if not pair.right), key=lambda pair: pair.rank, default=None)
        right = next((pair for pair in of_query if pair.right), None)
        tiles = [_tile(known[query], f"{of_query[0].reason.replace('_', ' ')}")]
        tiles.append(_pair_tile(wrong, known, "taken for"))
        tiles.append(_pair_tile(right, known, "is"))
        rows.append(np.concatenate(tiles, axis=1))
    return cv2.imencode(".jpg", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1].tobytes()


def _pair_tile(pair: HardPair | None, known: dict[tuple[str, int], tuple[Frames, int]], words: str) -> np.ndarray:
    if pair is None:
        return _tile(None, "no wrong place" if words == "taken for" else "no place of the map")
    return _tile(known[pair.place_session, pair.place_stamp_ns], f"{words}: {pair.distance_m:.0f} m away")


def _tile(where: tuple[Frames, int] | None, title: str) -> np.ndarray:
    width, height = _TILE_PX
    tile = np.full((height + _TITLE_PX, width, 3), 255, np.uint8)
    if where is not None:
        drive, index = where
        tile[_TITLE_PX:] = cv2.resize(drive.image(index), _TILE_PX, interpolation=cv2.INTER_AREA)
    cv2.putText(tile, title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    return tile
