"""Descriptors and ranked lists of other methods: what is read, what is refused, and that ours come back the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError, VprError
from vpr_core.evaluation.comparison import (
    Drives,
    averages,
    described_method,
    evaluate_method,
    evaluate_ranked,
)
from vpr_core.evaluation.descriptors import load_described, save_described, stamps_of
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.ranked import load_ranked
from vpr_core.evaluation.search import by_euclidean

MakeDrive = Callable[..., Frames]
PLACES = np.arange(40) * 20.0


@pytest.fixture
def drives(make_drive: MakeDrive) -> Drives:
    """A map of 40 places, a drive over them in reverse that leaves the map, and one over some of them."""
    night = make_drive("night", [*PLACES[::-1], 5000.0], yaw_deg=[180.0] * 20 + [0.0] * 21)
    return Drives(make_drive("map", PLACES), (night, make_drive("fog", PLACES[5:20])))


def noisy(drive: Frames) -> np.ndarray:
    """Raw descriptors of any length that are often right."""
    rng = np.random.default_rng(len(drive))
    angles = drive.positions_m[:, 0] / 500 + rng.normal(0, 0.03, len(drive))
    lengths = rng.uniform(0.5, 1.5, len(drive))
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None]).astype(np.float32)


def rows_of(method: Method, drives: Drives, metrics: tuple[str, ...]) -> list[dict[str, object]]:
    found = evaluate_method(method, drives, 10.0, metrics).evaluations
    return [{name: value for name, value in evaluation.row().items() if name != "method"} for evaluation in found]


def test_our_descriptors_saved_and_read_give_the_same_rows(drives: Drives, tmp_path: Path) -> None:
    metrics = ("cosine", "euclidean")
    own = Method("own", noisy)
    saved = save_described(tmp_path / "own.npz", evaluate_method(own, drives).described(drives))
    again = described_method("again", load_described(saved), drives)
    expected = rows_of(own, drives, metrics)
    assert rows_of(again, drives, metrics) == expected and len(expected) == 4
    by_metric = {(row["metric"], row["queries"]): row["recall_at_1"] for row in expected}
    assert by_metric["cosine", "night"] != by_metric["euclidean", "night"]


def test_pairs_of_runs_too(drives: Drives, tmp_path: Path) -> None:
    runs = Drives(None, drives.queries)
    own = Method("own", noisy)
    saved = save_described(tmp_path / "own.npz", evaluate_method(own, runs).described(runs))
    assert set(np.load(saved).files) == {"run_night", "run_fog", "run_night_stamp_ns", "run_fog_stamp_ns"}
    again = described_method("again", load_described(saved), runs)
    assert rows_of(again, runs, ("euclidean",)) == rows_of(own, runs, ("euclidean",))
    found = evaluate_method(again, runs, 10.0, ("cosine", "euclidean")).evaluations
    assert [(row["metric"], row["pairs"]) for row in averages(found)] == [("cosine", 2), ("euclidean", 2)]


def test_descriptors_of_unit_length_have_one_row_for_both_metrics(drives: Drives) -> None:
    def of_unit_length(drive: Frames) -> np.ndarray:
        rows = noisy(drive).astype(np.float64)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    for metrics in (("cosine", "euclidean"), ("euclidean",)):
        compared = evaluate_method(Method("unit", of_unit_length), drives, 10.0, metrics)
        assert compared.has_unit_length
        assert [found.metric for found in compared.evaluations] == ["cosine", "cosine"]
    assert not evaluate_method(Method("raw", noisy), drives).has_unit_length


def test_a_method_with_its_own_ranking_is_evaluated_by_that_alone(drives: Drives) -> None:
    method = Method("own", noisy, {"own": by_euclidean})
    found = evaluate_method(method, drives, 10.0, ("cosine", "euclidean")).evaluations
    assert [evaluation.metric for evaluation in found] == ["own", "own"]


def test_each_drive_is_described_once_and_progress_counts_its_frames(drives: Drives) -> None:
    described: list[str] = []

    def counted(drive: Frames) -> np.ndarray:
        described.append(drive.session)
        return noisy(drive)

    frames: list[int] = []
    evaluate_method(Method("own", counted), drives, 10.0, ("cosine", "euclidean"), frames.append)
    assert described == ["map", "night", "fog"] and frames == [40, 41, 15]


def test_one_query_drive_needs_no_name_and_widths_and_types_are_free(drives: Drives, tmp_path: Path) -> None:
    assert drives.database is not None
    alone = Drives(drives.database, drives.queries[:1])
    rows = {"database": noisy(drives.database).astype(np.float64), "query": noisy(drives.queries[0]).astype(np.float64)}
    np.savez(tmp_path / "plain.npz", **rows, weights_of_theirs=np.zeros(3))
    method = described_method("theirs", load_described(tmp_path / "plain.npz"), alone)
    assert rows_of(method, alone, ("cosine",)) == rows_of(Method("own", noisy), alone, ("cosine",))
    with pytest.raises(VprError, match="no array query_night for night; it has: database, query"):
        evaluate_method(described_method("theirs", load_described(tmp_path / "plain.npz"), drives), drives)


GOOD = np.ones((40, 2), np.float32)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"features": GOOD}, "holds features: expected database and query"),
        ({"query": GOOD}, "no array database for map; it has: query"),
        ({"database": GOOD}, "no array query_night or query for night; it has: database"),
        ({"database": GOOD, "query": GOOD}, "query of .* has 40 rows, night has 41 frames"),
        ({"database": GOOD, "query": np.ones((41, 3))}, "differ in width: database 2, query 3"),
        ({"database": GOOD * np.nan}, "database of .* has NaN or infinity in 40 rows, first in row 0"),
        ({"database": GOOD[0]}, r"database of .* is float32 \[2\], expected numbers"),
        ({"database": GOOD[:0]}, "expected numbers"),
        ({"database": GOOD.astype(str)}, "expected numbers"),
        ({"database": GOOD, "database_stamp_ns": np.arange(3)}, r"database_stamp_ns of .* is int64 \[3\].*\[40\]"),
        ({"database": GOOD, "database_stamp_ns": np.arange(40) * 1.0}, "is float64"),
        ({"database": GOOD, "database_stamp_ns": np.append(np.arange(39), 7)},
         "differs from map in 1 rows, first in row 39: 7, expected 39"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    drives: Drives, tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    alone = Drives(drives.database, drives.queries[:1])
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(VprError, match=words):
        evaluate_method(described_method("bad", load_described(tmp_path / "bad.npz"), alone), alone)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("database")
    np.save(tmp_path / "array.npy", GOOD)
    np.savez(tmp_path / "pickled.npz", database=np.array([{"a": 1}], dtype=object))
    for name, words in (("none.npz", "does not exist"), ("text.npz", "cannot be read"), ("pickled.npz", "plain"),
                        ("array.npy", "cannot be read")):  # fmt: skip
        with pytest.raises(VprError, match=words):
            load_described(tmp_path / name)


def test_drives_of_one_name_are_not_saved(make_drive: MakeDrive) -> None:
    here, there = (make_drive("night", PLACES) for _ in range(2))
    twice = Drives(make_drive("map", PLACES), (here, Frames(Path("other/night"), there.card, there.frames)))
    with pytest.raises(VprError, match="two folders have one name"):
        evaluate_method(Method("own", noisy), twice).described(twice)


def listed(drives: Drives) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By query drive, scores and rows as by Euclidean distance."""
    assert drives.database is not None
    return {drive.session: by_euclidean(noisy(drives.database), noisy(drive)) for drive in drives.queries}


def test_lists_with_scores_are_as_good_as_the_descriptors_they_come_from(drives: Drives, tmp_path: Path) -> None:
    expected = rows_of(Method("own", noisy), drives, ("euclidean",))
    ranked = listed(drives)
    arrays = {f"ranked_{name}": rows for name, (_, rows) in ranked.items()}
    scores = {f"scores_{name}": similarity for name, (similarity, _) in ranked.items()}
    np.savez(tmp_path / "lists.npz", **arrays, **scores)
    found = [pair.row() for pair in evaluate_ranked("lists", load_ranked(tmp_path / "lists.npz"), drives)]
    same = expected[0].keys() - {"metric"}
    assert [{name: row[name] for name in same} for row in found] == [{n: row[n] for n in same} for row in expected]
    assert {row["metric"] for row in found} == {"given"}


def test_lists_without_scores_have_recall_and_nothing_of_precision(drives: Drives, tmp_path: Path) -> None:
    alone = Drives(drives.database, drives.queries[:1])
    np.savez(tmp_path / "lists.npz", ranked=listed(drives)["night"][1][:, :5])
    (found,) = evaluate_ranked("lists", load_ranked(tmp_path / "lists.npz"), alone)
    row, expected = found.row(), rows_of(Method("own", noisy), alone, ("euclidean",))[0]
    for name in ("recall_at_1", "recall_at_5", "recall_at_1_percent", "evaluated", "skipped"):
        assert row[name] == expected[name], name
    assert {row[name] for name in found.precision_recall.shares()} == {None}
    assert row["recall_at_10"] is None and not found.has_scores


def write_lines(path: Path, drives: Drives, scores: bool) -> Path:
    """Lists of both query drives as one CSV file, its lines shuffled; the drives' stamps are kept apart by 1000."""
    assert drives.database is not None
    known, lines = stamps_of(drives.database), []
    for drive in drives.queries:
        similarity, rows = listed(drives)[drive.session]
        for stamp, row, of_row in zip(stamps_of(drive), rows, similarity, strict=True):
            lines.append([stamp, *known[row], *(of_row if scores else [])])
    width = len(rows[0])
    header = ["query_stamp_ns", *(f"database_stamp_ns_{rank + 1}" for rank in range(width))]
    header += [f"score_{rank + 1}" for rank in range(width)] if scores else []
    order = np.random.default_rng(0).permutation(len(lines))
    path.write_text("\n".join(",".join(map(str, line)) for line in (header, *(lines[i] for i in order))) + "\n")
    return path


@pytest.mark.parametrize("scores", [True, False])
def test_lists_as_text(drives: Drives, tmp_path: Path, scores: bool) -> None:
    apart = tuple(
        Frames(drive.folder, drive.card, tuple(_at(frame, 1000 * number) for frame in drive.frames))
        for number, drive in enumerate(drives.queries, 1)
    )
    both = Drives(drives.database, apart)
    found = evaluate_ranked("lists", load_ranked(write_lines(tmp_path / "lists.csv", both, scores)), both)
    expected = rows_of(Method("own", noisy), both, ("euclidean",))
    compared = ("recall_at_1", "recall_at_10", *(("average_precision", "auroc") if scores else ()))
    for pair, row in zip(found, expected, strict=True):
        assert {name: pair.row()[name] for name in compared} == {name: row[name] for name in compared}
        assert pair.has_scores == scores


def _at(frame: Frame, later_ns: int) -> Frame:
    return replace(frame, stamp_ns=frame.stamp_ns + later_ns)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"rank": GOOD}, "no array ranked_night or ranked for night; it has: rank"),
        ({"ranked": GOOD}, r"ranked of .* is float32 \[40, 2\], expected integers"),
        ({"ranked": np.ones((40, 1), int)}, "has 40 lists, night has 41 frames"),
        ({"ranked": np.full((41, 1), 40)}, "has rows from 40 to 40, the database has 0 to 39"),
        ({"ranked": np.full((41, 1), -1)}, "has rows from -1"),
        ({"ranked": np.ones((41, 2), int)}, "lists a place twice for 41 queries, first for query 0"),
        ({"ranked": np.tile([3, 1], (41, 1)), "scores": np.ones((41, 1))}, r"are \[41, 1\], expected \[41, 2\]"),
        ({"ranked": np.tile([3, 1], (41, 1)), "scores": np.tile([0.1, 0.2], (41, 1))}, "not finite and falling"),
    ],
)  # fmt: skip
def test_lists_that_do_not_fit_are_refused(
    drives: Drives, tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(VprError, match=words):
        evaluate_ranked("bad", load_ranked(tmp_path / "bad.npz"), Drives(drives.database, drives.queries[:1]))


HEADER = "query_stamp_ns,database_stamp_ns_1\n"
ALL = HEADER + "".join(f"{stamp},0\n" for stamp in range(41))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not parse"),
        ("query,place\n1,2\n", "begins with query,place, expected query_stamp_ns,database_stamp_ns_1"),
        (HEADER + "1\n", "line 2: 1 cells, expected 2"),
        (HEADER + "1,x\n", "does not parse .*'x'"),
        (HEADER + "1,0\n1,3\n", "2 lines for 1 queries"),
        (HEADER + "0,0\n", "no line for 40 of 41 frames of night, first 1"),
        (ALL.replace("7,0", "7,99"), "names 99, which is the stamp of no frame of map"),
    ],
)  # fmt: skip
def test_text_that_does_not_fit_is_refused(drives: Drives, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(VprError, match=words):
        evaluate_ranked("bad", load_ranked(tmp_path / "bad.csv"), Drives(drives.database, drives.queries[:1]))


def test_lists_are_not_of_runs(drives: Drives, tmp_path: Path) -> None:
    np.savez(tmp_path / "lists.npz", ranked=np.ones((41, 1), int))
    with pytest.raises(VprError, match="lists: ranked lists are of one database"):
        evaluate_ranked("lists", load_ranked(tmp_path / "lists.npz"), Drives(None, drives.queries))


def test_only_the_queries_of_a_drive_are_asked_for(drives: Drives, tmp_path: Path) -> None:
    """Descriptors are of every frame, lists of the queries alone."""
    assert drives.database is not None
    night = drives.queries[0]
    some = Frames(night.folder, night.card, tuple(_asked_for(frame, frame.index % 4 == 1) for frame in night.frames))
    alone = Drives(drives.database, (some,))
    (found,) = evaluate_method(Method("own", noisy), alone).evaluations
    (whole,) = evaluate_method(Method("own", noisy), Drives(drives.database, (night,))).evaluations
    assert found.result.first_hit.tolist() == whole.result.first_hit[1::4].tolist()
    np.savez(tmp_path / "lists.npz", ranked=by_euclidean(noisy(drives.database), noisy(night))[1][1::4])
    (listed_ones,) = evaluate_ranked("lists", load_ranked(tmp_path / "lists.npz"), alone)
    assert len(listed_ones.queries) == 10 == len(found.queries)
    none = Frames(night.folder, night.card, tuple(_asked_for(frame, False) for frame in night.frames))
    with pytest.raises(FramesError, match="night has no query"):
        evaluate_method(Method("own", noisy), Drives(drives.database, (none,)))


def _asked_for(frame: Frame, query: bool) -> Frame:
    return replace(frame, query=query)
