"""StructVPR's triplets against a loop over the pairs of a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vpr_core.losses.triplet import Triplets, all_triplets, pair_triplets, triplet_margin


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows [10, 6] of five places in pairs, two of the places within reach of each other; and their negatives."""
    rows = torch.randn(10, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    place = torch.arange(10) // 2
    place[place == 4] = 3
    return rows, place[:, None] != place


def test_triplets_are_pairs_with_the_nearest_negative() -> None:
    rows, negative = batch()
    found = pair_triplets(rows, negative)
    unit = rows / rows.norm(dim=1, keepdim=True)
    for number, (query, positive, chosen) in enumerate(zip(*found, strict=True)):
        assert (query, positive) == (2 * number, 2 * number + 1) and negative[query, chosen]
        distances = {other: float((unit[query] - unit[other]).norm()) for other in range(10) if negative[query, other]}
        assert int(chosen) == min(distances, key=distances.__getitem__)


def test_the_loss_is_the_mean_over_triplets_of_unit_rows() -> None:
    rows, negative = batch(1)
    triplets, unit = pair_triplets(rows, negative), rows / rows.norm(dim=1, keepdim=True)
    terms = [
        max(float((unit[q] - unit[p]).norm() - (unit[q] - unit[n]).norm()) + 0.1, 0.0)
        for q, p, n in zip(*triplets, strict=True)
    ]
    loss, num_triplets, num_nonzero = triplet_margin(rows, triplets)
    assert float(loss) == pytest.approx(sum(terms) / 5) and num_triplets == 5
    assert num_nonzero == sum(term > 0 for term in terms)
    assert float(triplet_margin(7 * rows, triplets).loss) == pytest.approx(float(loss))
    few = Triplets(*(column[:2] for column in triplets))
    assert float(triplet_margin(rows, few).loss) == pytest.approx(sum(terms[:2]) / 2)


def test_gradients() -> None:
    rows, negative = batch(2)
    rows.requires_grad_()
    triplets = pair_triplets(rows.detach(), negative)
    assert torch.autograd.gradcheck(lambda x: triplet_margin(x, triplets, margin=3.0).loss, rows)
    alike = torch.ones(4, 3, requires_grad=True)
    triplet_margin(alike, Triplets(*torch.tensor([[0, 2], [1, 3], [2, 0]]))).loss.backward()
    assert alike.grad is not None and alike.grad.isfinite().all()


def test_queries_without_a_negative_are_left_out() -> None:
    rows, negative = batch()
    negative[2] = False
    assert pair_triplets(rows, negative).queries.tolist() == [0, 4, 6, 8]
    rows.requires_grad_()
    loss, num_triplets, _ = triplet_margin(rows, pair_triplets(rows, torch.zeros_like(negative)))
    loss.backward()
    assert float(loss.detach()) == 0 and num_triplets == 0 and rows.grad is not None and not rows.grad.any()


def test_what_does_not_fit_is_refused() -> None:
    rows, negative = batch()
    with pytest.raises(ValueError, match="even number of rows"):
        pair_triplets(rows[:9], negative[:9, :9])
    with pytest.raises(ValueError, match="even number of rows"):
        pair_triplets(rows, negative[:8])


def test_all_triplets_are_every_pair_with_every_negative() -> None:
    rows, negative = batch(3)
    found = [tuple(map(int, triplet)) for triplet in zip(*all_triplets(negative), strict=True)]
    assert found == [(q, q ^ 1, n) for q in range(10) for n in range(10) if negative[q, n]]
    unit = rows / rows.norm(dim=1, keepdim=True)
    terms = [float((unit[q] - unit[p]).norm() - (unit[q] - unit[n]).norm()) + 0.1 for q, p, n in found]
    violating = [term for term in terms if term > 0]
    loss, num_triplets, num_nonzero = triplet_margin(rows, all_triplets(negative), of_violating=True)
    assert 0 < len(violating) < len(terms) and (num_triplets, num_nonzero) == (len(terms), len(violating))
    assert float(loss) == pytest.approx(sum(violating) / len(violating))
    rows.requires_grad_()
    nothing = triplet_margin(rows, all_triplets(torch.zeros_like(negative)), of_violating=True).loss
    nothing.backward()
    assert float(nothing.detach()) == 0 and rows.grad is not None and not rows.grad.any()
    with pytest.raises(ValueError, match="even number of rows"):
        all_triplets(negative[:9, :9])
