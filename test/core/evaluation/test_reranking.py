"""Re-ranking in an evaluation: recall before and after, and what it costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.evaluation.comparison import Drives, evaluate_method
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.reranking import COLUMNS, INLIERS, ReRanking
from vpr_core.retrieval.local_features import load_features


def misleading(drive: Frames) -> np.ndarray:
    """Descriptors by which a query is taken for the third place after its own."""
    angle = 0.05 * (np.arange(len(drive)) + (3 if drive.folder.name == "again" else 0))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def drive(frames: Path) -> Frames:
    return Frames.load(frames)


@pytest.fixture
def again(drive: Frames, tmp_path: Path) -> Frames:
    """The same drive in another folder."""
    (tmp_path / "again").symlink_to(drive.folder)
    return dataclasses.replace(drive, folder=tmp_path / "again")


def test_recall_rises_to_that_of_the_candidates(drive: Frames, again: Frames) -> None:
    drives = Drives(drive, (again,))
    compared = evaluate_method(Method("misled", misleading), drives, radius_m=1.0)
    (before,) = compared.evaluations
    steps: list[int] = []
    reranking = ReRanking(load_features("orb"), 100, steps.append)
    found = reranking(before, drives, compared.rows)
    assert before.result.at[1] < 0.1 and found.evaluation.result.at[1] == 1.0
    assert (found.evaluation.result.best == np.arange(len(drive))).all()
    assert found.evaluation.result.best_similarity.min() > 100  # inliers of a picture with itself
    assert len(steps) == reranking.frames([before]) == 2 * len(drive)
    row = found.row(retrieval_ms=1.234)
    assert set(COLUMNS) <= set(row) and row["retrieval_ms"] == 1.23
    assert (row["recall_at_1"], row["recall_at_1_reranked"]) == (before.row()["recall_at_1"], 1.0)
    assert row["features_ms"] > 0 and row["rerank_ms"] > 0
    assert row["descriptor_kib"] == round(2 * 4 / 1024, 2) and 5 < row["features_kib"] < 20
    assert (found.evaluation.method, found.evaluation.metric) == ("misled+orb", INLIERS)


def test_places_that_were_not_compared_stay_behind_in_their_order(drive: Frames, again: Frames) -> None:
    drives = Drives(drive, (again,))
    compared = evaluate_method(Method("misled", misleading), drives, radius_m=1.0)
    (before,) = compared.evaluations
    alone = ReRanking(load_features("orb"), 1)(before, drives, compared.rows)
    np.testing.assert_array_equal(alone.evaluation.result.first_hit, before.result.first_hit)


def test_queries_alone_are_asked(drive: Frames, again: Frames) -> None:
    frames = [dataclasses.replace(frame, query=frame.index in (3, 5)) for frame in drive.frames]
    part = Frames(again.folder, drive.card, tuple(frames))
    drives = Drives(drive, (part,))
    compared = evaluate_method(Method("misled", misleading), drives, radius_m=1.0)
    found = ReRanking(load_features("orb"), 100)(compared.evaluations[0], drives, compared.rows)
    assert found.evaluation.result.best.tolist() == [3, 5]
    assert len(found.rerank_ms) == 2
