"""Ranks against hand-made recall lists, and the groups that follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.data.places import positives
from vpr_core.structvpr.partition import (
    GROUP_NAMES,
    group_masks,
    ranks_in_lists,
    ranks_of_descriptors,
    samples_of,
    shares,
)

INF = np.inf


def on_a_line(places: list[float]) -> np.ndarray:
    """Descriptors whose Euclidean distances are those of these numbers."""
    return np.array(places, np.float32)[:, None]


def on_a_circle(degrees: list[float], lengths: float = 1.0) -> np.ndarray:
    angles = np.radians(degrees)
    return (lengths * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def test_ranks_count_places_in_the_list() -> None:
    database = on_a_line([0, 10, 20, 30])
    samples = np.array([[0, 0], [0, 1], [0, 3], [1, 3], [1, 0]])
    ranks = ranks_of_descriptors(database, on_a_line([1, 29]), samples, metric="euclidean")
    assert ranks.dtype == np.float64 and ranks.tolist() == [1, 2, 4, 1, 4]


def test_the_query_itself_is_left_out() -> None:
    """A training drive is database and queries at once."""
    drive = on_a_line([0, 1, 3, 7])
    samples = np.array([[0, 1], [1, 2], [3, 0], [2, 3]])
    assert ranks_of_descriptors(drive, drive, samples, np.arange(4), metric="euclidean").tolist() == [1, 2, 3, 3]
    assert ranks_of_descriptors(drive, drive, samples, metric="euclidean").tolist() == [2, 3, 4, 4]
    some = np.array([0, -1, 2, -1])
    assert ranks_of_descriptors(drive, drive, samples, some, metric="euclidean").tolist() == [1, 3, 4, 3]


def test_a_positive_beyond_the_list_is_never_retrieved() -> None:
    database, samples = on_a_line([0, 1, 2, 3]), np.array([[0, row] for row in range(4)])
    ranks = ranks_of_descriptors(database, on_a_line([0]), samples, metric="euclidean", depth=2)
    assert ranks.tolist() == [1, 2, INF, INF]


def test_of_equals_the_lower_row_comes_first() -> None:
    samples = np.array([[0, row] for row in range(5)])
    database = on_a_line([5, 1, -1, 1, 5])
    assert ranks_of_descriptors(database, on_a_line([0]), samples, metric="euclidean").tolist() == [4, 1, 2, 3, 5]
    alike = np.ones((5, 3), np.float32)
    assert ranks_of_descriptors(alike, alike[:1], samples).tolist() == [1, 2, 3, 4, 5]
    own = np.array([1])
    assert ranks_of_descriptors(alike, alike[:1], samples[2:], own).tolist() == [2, 3, 4]


def test_cosine_looks_at_the_direction_alone() -> None:
    database = np.concatenate([on_a_circle([40], 9), on_a_circle([20], 0.1), on_a_circle([-30])])
    samples = np.array([[0, 0], [0, 1], [0, 2]])
    assert ranks_of_descriptors(database, on_a_circle([0], 5), samples).tolist() == [3, 1, 2]
    assert ranks_of_descriptors(database, on_a_circle([0], 1), samples, metric="euclidean").tolist() == [3, 2, 1]


def test_many_queries_agree_with_a_naive_loop() -> None:
    rng = np.random.default_rng(5)
    database, queries = rng.normal(size=(60, 4)), rng.normal(size=(1100, 4))
    samples = np.stack([rng.integers(1100, size=900), rng.integers(60, size=900)], axis=1)
    for metric in ("cosine", "euclidean"):
        ranks = ranks_of_descriptors(database, queries, samples, metric=metric)
        for (query, positive), rank in zip(samples[:200], ranks, strict=False):
            if metric == "cosine":
                nearness = database @ queries[query] / np.linalg.norm(database, axis=1)
            else:
                nearness = -np.linalg.norm(database - queries[query], axis=1)
            assert rank == 1 + (nearness > nearness[positive]).sum()


def test_samples_of_a_drive_are_its_pairs() -> None:
    drive_m = np.array([[0.0, 0, 0], [1, 0, 0], [50, 0, 0], [2, 0, 0]])
    samples = samples_of(positives(drive_m, radius_m=1.5))
    assert samples.tolist() == [[0, 1], [1, 0], [1, 3], [3, 1]]
    ranks = ranks_of_descriptors(drive_m, drive_m, samples, np.arange(4), metric="euclidean")
    assert ranks.tolist() == [1, 1, 2, 1]
    nothing = samples_of(positives(drive_m[[0, 2]], radius_m=1.5))
    assert nothing.shape == (0, 2) and ranks_of_descriptors(drive_m, drive_m[:2], nothing).shape == (0,)


def test_ranks_in_lists_that_exist() -> None:
    lists = [[4, 0, 2], [1, 3], []]
    samples = np.array([[0, 4], [0, 2], [0, 3], [1, 3], [2, 0]])
    assert ranks_in_lists(lists, samples).tolist() == [1, 3, INF, 2, INF]
    assert ranks_in_lists(lists, samples, np.array([0, 1, 2])).tolist() == [1, 2, INF, 1, INF]
    assert ranks_in_lists(np.array([[2, 1, 0]]), np.array([[0, 0]])).tolist() == [3]


def test_what_does_not_fit_is_refused() -> None:
    database, samples = on_a_line([0, 1]), np.array([[0, 1]])
    with pytest.raises(ValueError, match=r"\[N, D\], \[M, D\]"):
        ranks_of_descriptors(database, np.ones((1, 2)), samples)
    with pytest.raises(ValueError, match=r"sample \[0, 2\] .* 1 queries and 2 places"):
        ranks_of_descriptors(database, database[:1], np.array([[0, 1], [0, 2]]))
    with pytest.raises(ValueError, match="sample 1 has the query itself"):
        ranks_of_descriptors(database, database, np.array([[0, 1], [1, 1]]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"expected integers \[S, 2\]"):
        ranks_of_descriptors(database, database, samples.astype(float))
    with pytest.raises(ValueError, match="own has 1 rows"):
        ranks_of_descriptors(database, database, samples, np.array([0]))
    with pytest.raises(ValueError, match="NaN"):
        ranks_of_descriptors(database, np.array([[np.nan]]), samples)
    with pytest.raises(ValueError, match="metric is 'dot'"):
        ranks_of_descriptors(database, database, samples, metric="dot")  # type: ignore[arg-type]


# One sample for each case: teacher's rank, student's rank, with N_t = 10.
CASES = [
    (1, 11, "D1"), (10, INF, "D1"), (10, 10, "D2"), (1, 1, "D2"), (3, 10, "D2"), (4, 3, "D3"), (10, 1, "D3"),
    (11, 1, "D4"), (11, 11, "D4"), (INF, 1, "D4"), (INF, INF, "D4"), (12, 400, "D4"),
]  # fmt: skip


@pytest.mark.parametrize(("teacher", "student", "group"), CASES)
def test_every_sample_is_in_one_group(teacher: float, student: float, group: str) -> None:
    masks = group_masks(np.array([float(teacher)]), np.array([float(student)]))
    assert [name for name in GROUP_NAMES if masks[name][0]] == [group]
    assert masks["x<=N_t"][0] == (group != "D4")
    assert masks["y<=N_t"][0] == (student <= 10) and masks["y>N_t"][0] == (student > 10)


def test_shares_add_up_as_in_table_5() -> None:
    x, y, _ = zip(*CASES, strict=True)
    found = shares(np.array(x, float), np.array(y, float))
    assert {name: round(share * 12) for name, share in found.items()} == {
        "D1": 2, "D2": 3, "D3": 2, "D4": 5, "x<=N_t": 7, "y<=N_t": 7, "y>N_t": 5
    }  # fmt: skip
    assert sum(found[name] for name in GROUP_NAMES) == pytest.approx(1)
    assert shares(np.array(x, float), np.array(y, float), n_t=3)["x<=N_t"] == pytest.approx(3 / 12)
    assert np.isnan(shares(np.array([]), np.array([]))["D1"])
