"""Exact search by either library, and who may be accepted."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.errors import MapError
from vpr_core.retrieval import index
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.gate import SAME_PLACE_M, judge, with_verification
from vpr_core.retrieval.index import NumpyIndex, build_index
from vpr_core.types import Match, Pose, Reason, Recognition


def test_faiss_and_numpy_agree() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    database, queries = (rng.normal(size=(n, 32)).astype(np.float32) for n in (200, 9))
    similarity, rows = build_index(database).search(queries, 7)
    expected_similarity, expected_rows = NumpyIndex(database).search(queries, 7)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(similarity, expected_similarity, rtol=1e-5)
    brute = np.argsort(-(queries @ database.T), axis=1)[:, :7]
    np.testing.assert_array_equal(rows, brute)


def test_no_more_places_than_there_are() -> None:
    database = np.eye(3, dtype=np.float32)
    for searched in (build_index(database), NumpyIndex(database)):
        similarity, rows = searched.search(database[:1], 10)
        assert rows.shape == (1, 3) and similarity[0, 0] == 1.0


def test_a_gpu_that_is_not_there_is_refused() -> None:
    faiss = pytest.importorskip("faiss")
    if getattr(faiss, "get_num_gpus", int)():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MapError, match="use cpu"):
        build_index(np.eye(3, dtype=np.float32), device="cuda")


def test_only_the_best_is_accepted_and_only_above_the_threshold() -> None:
    assert judge([0.9, 0.85, 0.4], 0.8) == [Reason.ACCEPTED, Reason.NOT_BEST, Reason.BELOW_SIMILARITY]
    assert judge([0.7, 0.6], 0.8) == [Reason.BELOW_SIMILARITY, Reason.BELOW_SIMILARITY]
    assert judge([0.8], 0.8) == [Reason.ACCEPTED]
    assert judge([], 0.8) == []


@pytest.mark.parametrize(
    ("check", "reasons"),
    [
        (Check(Pose((0.5 * SAME_PLACE_M, 0.0, 50.0)), 1.0), (Reason.ACCEPTED, Reason.NOT_BEST)),
        (Check(Pose((1.5 * SAME_PLACE_M, 0.0, 0.0)), 1.0), (Reason.NOT_VERIFIED, Reason.NOT_BEST)),
        (Check(None), (Reason.NOT_VERIFIED, Reason.NOT_BEST)),
        (Check(None, rivals=frozenset({0})), (Reason.AMBIGUOUS, Reason.NOT_BEST)),
        (Check(None, rivals=frozenset({0, 1})), (Reason.AMBIGUOUS, Reason.AMBIGUOUS)),
    ],
)
def test_an_accepted_match_stays_so_where_the_check_leads_to_its_place(
    check: Check, reasons: tuple[Reason, ...]
) -> None:
    poses = [Pose((0.0, 0.0, 0.0)), Pose((1.5 * SAME_PLACE_M, 0.0, 0.0))]
    accepted, refused = (Reason.ACCEPTED, Reason.NOT_BEST), (Reason.AMBIGUOUS, Reason.AMBIGUOUS)
    of = {given: Recognition(1, tuple(Match(row, "drive", 1, poses[row], 0.9, given[row], 0.99) for row in (0, 1)),
                             np.ones(2, np.float32)) for given in (accepted, refused)}  # fmt: skip
    checked = with_verification(of[accepted], check)
    assert tuple(match.reason for match in checked.matches) == reasons
    assert (checked.accepted is None) == (reasons[0] is not Reason.ACCEPTED)
    assert [match.probability for match in checked.matches] == [0.99, 0.99]
    assert with_verification(of[refused], check) is of[refused]


def test_parts_of_a_map_are_searched_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    database, queries = (rng.integers(-2, 3, (n, 8)).astype(np.float32) for n in (100, 9))
    order = np.argsort(-(queries @ database.T), axis=1, kind="stable")
    for rows_at_once, queries_at_once, k in ((7, 2, 20), (100, 9, 5), (64, 64, 100)):
        monkeypatch.setattr(index, "_ROWS_AT_ONCE", rows_at_once)
        monkeypatch.setattr(index, "_QUERIES_AT_ONCE", queries_at_once)
        similarity, rows = NumpyIndex(database).search(queries, k)
        np.testing.assert_array_equal(rows, order[:, :k])
        np.testing.assert_array_equal(similarity, np.take_along_axis(queries @ database.T, rows, axis=1))
    assert NumpyIndex(database).search(queries[:0], 5)[1].shape == (0, 5)
