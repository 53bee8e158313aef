"""StructVPR's task loss: triplets of a query, a frame of its place and a frame of another."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.losses.manifolds import in_full_precision
from vpr_core.losses.metric import TripletResult

__all__ = ["Triplets", "all_triplets", "pair_triplets", "triplet_margin"]


class Triplets(NamedTuple):
    """Rows of a batch, int64 [T] each."""

    queries: Tensor
    positives: Tensor
    negatives: Tensor


@torch.no_grad()
@in_full_precision
def pair_triplets(embeddings: Tensor, negatives_mask: Tensor) -> Triplets:
    """Of a batch in which rows 2i and 2i + 1 show one place: 2i, 2i + 1, and the negative nearest to 2i.

    embeddings [N, D], N even, compared by direction; negatives_mask [N, N] bool, row = query. A query that has no
    negative in the batch is left out. Raises ValueError where the shapes do not fit.
    """
    if embeddings.ndim != 2 or len(embeddings) % 2 or negatives_mask.shape != (len(embeddings),) * 2:
        raise ValueError(
            f"embeddings {list(embeddings.shape)} and negatives_mask {list(negatives_mask.shape)}: expected an even "
            "number of rows [N, D], and [N, N]"
        )
    unit = functional.normalize(embeddings)
    nearness = (unit[::2] @ unit.T).masked_fill(~negatives_mask[::2], -torch.inf)
    queries = 2 * negatives_mask[::2].any(dim=1).nonzero().flatten()
    return Triplets(queries, queries + 1, nearness.argmax(dim=1)[queries // 2])


def all_triplets(negatives_mask: Tensor) -> Triplets:
    """Of a batch in which rows 2i and 2i + 1 show one place: each of the two, the other, and every negative.

    negatives_mask [N, N] bool, N even, row = query. Raises ValueError where the shape does not fit.
    """
    if negatives_mask.ndim != 2 or len(negatives_mask) % 2 or negatives_mask.shape[0] != negatives_mask.shape[1]:
        raise ValueError(f"negatives_mask is {list(negatives_mask.shape)}, expected an even number of rows [N, N]")
    queries, negatives = negatives_mask.nonzero(as_tuple=True)
    return Triplets(queries, queries ^ 1, negatives)


@in_full_precision
def triplet_margin(
    embeddings: Tensor, triplets: Triplets, margin: float = 0.1, of_violating: bool = False
) -> TripletResult:
    """StructVPR Eq. (3). mean relu(d(q, p) - d(q, n) + margin), d Euclidean on rows of unit length.

    embeddings [N, D], brought to unit length here. of_violating: the mean is over the triplets that violate the margin,
    so that the few among very many are not lost. Inferred, for the paper's text says no more than triplet margin loss:
    the distance, the unit length, the margin, and the mean.
    """
    unit = functional.normalize(embeddings)
    query, positive, negative = (unit[rows] for rows in triplets)
    violations = functional.relu(_distance(query, positive) - _distance(query, negative) + margin)
    num_nonzero = int(violations.count_nonzero())
    # An empty sum still hangs on the graph, so a batch without triplets gives a zero gradient, not an error.
    loss = violations.sum() / max(num_nonzero if of_violating else len(violations), 1)
    return TripletResult(loss, len(violations), num_nonzero)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    # The norm's sub-gradient is 0 where two embeddings coincide; a square root of a sum would give NaN there.
    return torch.linalg.vector_norm(first - second, dim=-1)
