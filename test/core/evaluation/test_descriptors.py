"""Descriptors of other methods: what is read, what is refused, and that ours come back the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import VprError
from vpr_core.evaluation.comparison import (
    Drives,
    averages,
    described_method,
    evaluate_method,
)
from vpr_core.evaluation.descriptors import load_described, save_described
from vpr_core.evaluation.evaluate import Describe
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.search import by_euclidean

MakeDrive = Callable[..., Frames]
RowsOf = Callable[[Method, Drives, tuple[str, ...]], list[dict[str, object]]]
PLACES = np.arange(40) * 20.0


def test_our_descriptors_saved_and_read_give_the_same_rows(
    drives: Drives, tmp_path: Path, noisy: Describe, rows_of: RowsOf
) -> None:
    metrics = ("cosine", "euclidean")
    own = Method("own", noisy)
    saved = save_described(tmp_path / "own.npz", evaluate_method(own, drives).described(drives))
    again = described_method("again", load_described(saved), drives)
    expected = rows_of(own, drives, metrics)
    assert rows_of(again, drives, metrics) == expected and len(expected) == 4
    by_metric = {(row["metric"], row["queries"]): row["recall_at_1"] for row in expected}
    assert by_metric["cosine", "night"] != by_metric["euclidean", "night"]


def test_pairs_of_runs_too(drives: Drives, tmp_path: Path, noisy: Describe, rows_of: RowsOf) -> None:
    runs = Drives(None, drives.queries)
    own = Method("own", noisy)
    saved = save_described(tmp_path / "own.npz", evaluate_method(own, runs).described(runs))
    assert set(np.load(saved).files) == {"run_night", "run_fog", "run_night_stamp_ns", "run_fog_stamp_ns"}
    again = described_method("again", load_described(saved), runs)
    assert rows_of(again, runs, ("euclidean",)) == rows_of(own, runs, ("euclidean",))
    found = evaluate_method(again, runs, 10.0, ("cosine", "euclidean")).evaluations
    assert [(row["metric"], row["pairs"]) for row in averages(found)] == [("cosine", 2), ("euclidean", 2)]


def test_descriptors_of_unit_length_have_one_row_for_both_metrics(drives: Drives, noisy: Describe) -> None:
    def of_unit_length(drive: Frames) -> np.ndarray:
        rows = noisy(drive).astype(np.float64)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    for metrics in (("cosine", "euclidean"), ("euclidean",)):
        compared = evaluate_method(Method("unit", of_unit_length), drives, 10.0, metrics)
        assert compared.has_unit_length
        assert [found.metric for found in compared.evaluations] == ["cosine", "cosine"]
    assert not evaluate_method(Method("raw", noisy), drives).has_unit_length


def test_a_method_with_its_own_ranking_is_evaluated_by_that_alone(drives: Drives, noisy: Describe) -> None:
    method = Method("own", noisy, {"own": by_euclidean})
    found = evaluate_method(method, drives, 10.0, ("cosine", "euclidean")).evaluations
    assert [evaluation.metric for evaluation in found] == ["own", "own"]


def test_each_drive_is_described_once_and_progress_counts_its_frames(drives: Drives, noisy: Describe) -> None:
    described: list[str] = []

    def counted(drive: Frames) -> np.ndarray:
        described.append(drive.session)
        return noisy(drive)

    frames: list[int] = []
    evaluate_method(Method("own", counted), drives, 10.0, ("cosine", "euclidean"), frames.append)
    assert described == ["map", "night", "fog"] and frames == [40, 41, 15]


def test_one_query_drive_needs_no_name_and_widths_and_types_are_free(
    drives: Drives, tmp_path: Path, noisy: Describe, rows_of: RowsOf
) -> None:
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


def test_drives_of_one_name_are_not_saved(make_drive: MakeDrive, noisy: Describe) -> None:
    here, there = (make_drive("night", PLACES) for _ in range(2))
    twice = Drives(make_drive("map", PLACES), (here, Frames(Path("other/night"), there.card, there.frames)))
    with pytest.raises(VprError, match="two folders have one name"):
        evaluate_method(Method("own", noisy), twice).described(twice)
