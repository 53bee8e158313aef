"""Evaluation of drives and of pairs of runs, by hand-made descriptors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.evaluate import evaluate
from vpr_core.evaluation.pairs import average_recall, evaluate_pairs
from vpr_core.evaluation.recall import most_similar

MakeDrive = Callable[..., Frames]
Angles = Callable[..., Callable[[Frames], np.ndarray]]
PLACES = [0.0, 100.0, 200.0, 300.0]


def test_a_row_counts_queries_without_a_place(make_drive: MakeDrive, angles: Angles) -> None:
    """Found at 0 m, mistaken for it at 100 m, and as surely at 5000 m, where the map has no place."""
    database, queries = make_drive("map", PLACES), make_drive("drive", [0, 100, 5000])
    method = angles({"map": [0, 30, 60, 90], "drive": [1, 5, 0]})
    (found,) = evaluate("angles", method, database, [queries])
    row = found.row()
    assert (row["metric"], row["pr_auc"], row["auroc"]) == ("cosine", 0.125, 0.5)
    assert (row["method"], row["database"], row["queries"]) == ("angles", "map", "drive")
    assert (row["recall_at_1"], row["recall_at_5"], row["evaluated"], row["skipped"]) == (0.5, 1.0, 2, 1)
    assert (row["average_precision"], row["recall_at_100_precision"]) == (0.25, 0.0)


def test_a_drive_off_the_map_has_rows_without_shares(make_drive: MakeDrive, angles: Angles) -> None:
    database, queries = make_drive("map", PLACES), make_drive("drive", [5000, 6000])
    (found,) = evaluate("angles", angles({"map": [0, 30, 60, 90], "drive": [1, 5]}), database, [queries])
    row = found.row()
    assert {row[name] for name in found.shares()} == {None} and (row["evaluated"], row["skipped"]) == (0, 2)


def test_a_method_with_its_own_comparison(make_drive: MakeDrive, angles: Angles) -> None:
    """By the sine of the angle between two descriptors, the least alike come first."""
    drive = make_drive("map", PLACES)
    (found,) = evaluate(
        "unlike", angles({"map": [0, 30, 60, 90]}), drive, [drive], retrieve=lambda d, q: most_similar(-(q @ d.T))
    )
    assert found.result.best.tolist() == [3, 3, 0, 0] and found.result.at[5] == 1.0


def test_drives_that_cannot_be_compared_are_refused_before_the_long_part(make_drive: MakeDrive) -> None:
    def never(drive: Frames) -> np.ndarray:
        raise AssertionError("described")

    good, bare = make_drive("map", PLACES), make_drive("bare", [])
    without = Frames(bare.folder, bare.card, (Frame(0, 0, None),))
    for other, words in (
        (make_drive("other", [0], "utm"), "other has poses in 'utm', map in 'map'"),
        (make_drive("empty", []), "empty has no frames"),
        (without, "bare has no poses"),
    ):
        for drives in ([good, other], [other, good]):
            with pytest.raises(FramesError):
                evaluate("never", never, drives[0], drives[1:])
        with pytest.raises(FramesError, match=words):
            evaluate_pairs("never", never, [good, other])


def test_pairs_are_ordered_and_each_run_is_described_once(make_drive: MakeDrive, angles: Angles) -> None:
    names = ("a", "b", "c")
    drives = [make_drive(name, PLACES) for name in names]
    method, described = angles({name: [0, 30, 60, 90] for name in names}), Counter[str]()

    def counted(drive: Frames) -> np.ndarray:
        described[drive.session] += 1
        return method(drive)

    found = evaluate_pairs("angles", counted, drives)
    pairs = [(evaluation.database.session, evaluation.queries.session) for evaluation in found]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]
    assert described == {"a": 1, "b": 1, "c": 1}
    assert all(evaluation.result.at[1] == 1.0 for evaluation in found)
    rows = [
        evaluate("angles", method, known, [asked])[0].row() for known in drives for asked in drives if known != asked
    ]
    assert [evaluation.row() for evaluation in found] == rows


def test_the_average_is_of_pairs_not_of_queries(make_drive: MakeDrive, angles: Angles) -> None:
    """b finds its one place in a; of a's four queries only the one at 0 m has a place in b; c shares none."""
    drives = [make_drive("a", PLACES), make_drive("b", [0.0, 1.0]), make_drive("c", [9000.0])]
    method = angles({"a": [0, 30, 60, 90], "b": [2, 80], "c": [0]})
    found = evaluate_pairs("angles", method, drives)
    figures = {
        (pair.database.session, pair.queries.session): (pair.result.at[1], pair.result.evaluated)
        for pair in found
        if pair.result.evaluated
    }
    assert figures == {("a", "b"): (0.5, 2), ("b", "a"): (1.0, 1)}
    average = average_recall(found)
    assert average["recall_at_1"] == 0.75  # over queries it would be 2 of 3
    assert (average["pairs"], average["pairs_left_out"]) == (2, 4)
    assert (average["database"], average["queries"], average["method"]) == ("average", "2 pairs", "angles")
    assert (average["evaluated"], average["skipped"]) == (3, sum(pair.result.skipped for pair in found))
    assert set(found[0].row()) <= set(average)


def test_a_figure_that_a_pair_does_not_have_is_left_out_of_its_average(make_drive: MakeDrive, angles: Angles) -> None:
    """All matches in b are right, so there is no AUROC; in a the one wrong match is less similar than the right one."""
    drives = [make_drive("a", [0.0, 100.0]), make_drive("b", [0.0, 100.0, 50.0])]
    found = evaluate_pairs("angles", angles({"a": [0, 30], "b": [1, 12, 70]}), drives)
    assert [pair.row()["auroc"] for pair in found] == [1.0, None]
    assert average_recall(found)["auroc"] == 1.0


def test_one_percent_is_of_each_pair_s_database(make_drive: MakeDrive, angles: Angles) -> None:
    """Second of 250 places is within 1 %, which are 2; second of 100 is not."""
    large, small = np.arange(250) * 100.0, np.arange(100) * 100.0
    drives = [make_drive("large", large), make_drive("small", small)]
    method = angles({"large": np.arange(250) * 0.5, "small": np.arange(100) * 0.5 + 0.3})
    found = {pair.database.session: pair.result for pair in evaluate_pairs("angles", method, drives)}
    assert (found["large"].at[1], found["large"].at_one_percent) == (0.0, 1.0)
    assert (found["small"].at[1], found["small"].at_one_percent) == (0.01, 0.01)
    average = average_recall(evaluate_pairs("angles", method, drives))
    assert (average["recall_at_1"], average["recall_at_1_percent"]) == (0.005, 0.505)


def test_without_any_pair_there_is_no_average(make_drive: MakeDrive, angles: Angles) -> None:
    drives = [make_drive("a", [0.0]), make_drive("b", [9000.0])]
    average = average_recall(evaluate_pairs("angles", angles({"a": [0], "b": [0]}), drives))
    assert average["recall_at_1"] is None and average["recall_at_1_percent"] is None
    assert (average["pairs"], average["pairs_left_out"]) == (0, 2)


def test_pairs_need_different_runs(make_drive: MakeDrive, angles: Angles) -> None:
    method, drive = angles({"a": [0]}), make_drive("a", [0.0])
    for drives in ([], [drive], [drive, drive]):
        with pytest.raises(FramesError, match="two or more different"):
            evaluate_pairs("angles", method, drives)
