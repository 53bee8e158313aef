"""Ranked lists of other methods: how they stand beside descriptors, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError, VprError
from vpr_core.evaluation.comparison import Drives, evaluate_method, evaluate_ranked
from vpr_core.evaluation.descriptors import stamps_of
from vpr_core.evaluation.evaluate import Describe
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.ranked import load_ranked
from vpr_core.evaluation.search import by_euclidean

RowsOf = Callable[[Method, Drives, tuple[str, ...]], list[dict[str, object]]]
Listed = Callable[[Drives], dict[str, tuple[np.ndarray, np.ndarray]]]
GOOD = np.ones((40, 2), np.float32)


@pytest.fixture
def listed(noisy: Describe) -> Listed:
    """listed(drives): by query drive, scores and rows as by Euclidean distance."""

    def of(drives: Drives) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        assert drives.database is not None
        known = noisy(drives.database)
        return {drive.session: by_euclidean(known, noisy(drive)) for drive in drives.queries}

    return of


def test_lists_with_scores_are_as_good_as_the_descriptors_they_come_from(
    drives: Drives, tmp_path: Path, noisy: Describe, rows_of: RowsOf, listed: Listed
) -> None:
    expected = rows_of(Method("own", noisy), drives, ("euclidean",))
    ranked = listed(drives)
    arrays = {f"ranked_{name}": rows for name, (_, rows) in ranked.items()}
    scores = {f"scores_{name}": similarity for name, (similarity, _) in ranked.items()}
    np.savez(tmp_path / "lists.npz", **arrays, **scores)
    found = [pair.row() for pair in evaluate_ranked("lists", load_ranked(tmp_path / "lists.npz"), drives)]
    same = expected[0].keys() - {"metric"}
    assert [{name: row[name] for name in same} for row in found] == [{n: row[n] for n in same} for row in expected]
    assert {row["metric"] for row in found} == {"given"}


def test_lists_without_scores_have_recall_and_nothing_of_precision(
    drives: Drives, tmp_path: Path, noisy: Describe, rows_of: RowsOf, listed: Listed
) -> None:
    alone = Drives(drives.database, drives.queries[:1])
    np.savez(tmp_path / "lists.npz", ranked=listed(drives)["night"][1][:, :5])
    (found,) = evaluate_ranked("lists", load_ranked(tmp_path / "lists.npz"), alone)
    row, expected = found.row(), rows_of(Method("own", noisy), alone, ("euclidean",))[0]
    for name in ("recall_at_1", "recall_at_5", "recall_at_1_percent", "evaluated", "skipped"):
        assert row[name] == expected[name], name
    assert {row[name] for name in found.precision_recall.shares()} == {None}
    assert row["recall_at_10"] is None and not found.has_scores


def write_lines(path: Path, drives: Drives, rankings: dict[str, tuple[np.ndarray, np.ndarray]], scores: bool) -> Path:
    """Lists of both query drives as one CSV file, its lines shuffled; the drives' stamps are kept apart by 1000."""
    assert drives.database is not None
    known, lines = stamps_of(drives.database), []
    for drive in drives.queries:
        similarity, rows = rankings[drive.session]
        for stamp, row, of_row in zip(stamps_of(drive), rows, similarity, strict=True):
            lines.append([stamp, *known[row], *(of_row if scores else [])])
    width = len(rows[0])
    header = ["query_stamp_ns", *(f"database_stamp_ns_{rank + 1}" for rank in range(width))]
    header += [f"score_{rank + 1}" for rank in range(width)] if scores else []
    order = np.random.default_rng(0).permutation(len(lines))
    path.write_text("\n".join(",".join(map(str, line)) for line in (header, *(lines[i] for i in order))) + "\n")
    return path


@pytest.mark.parametrize("scores", [True, False])
def test_lists_as_text(
    drives: Drives, tmp_path: Path, scores: bool, noisy: Describe, rows_of: RowsOf, listed: Listed
) -> None:
    apart = tuple(
        Frames(drive.folder, drive.card, tuple(_at(frame, 1000 * number) for frame in drive.frames))
        for number, drive in enumerate(drives.queries, 1)
    )
    both = Drives(drives.database, apart)
    found = evaluate_ranked("lists", load_ranked(write_lines(tmp_path / "lists.csv", both, listed(both), scores)), both)
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


def test_only_the_queries_of_a_drive_are_asked_for(drives: Drives, tmp_path: Path, noisy: Describe) -> None:
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
