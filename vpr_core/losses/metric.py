"""The task loss: batch-hard triplet, as MinkLoc++ and DistilVPR train with it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.losses.manifolds import in_full_precision
from vpr_core.losses.rows import check_masks


class TripletResult(NamedTuple):
    """A triplet loss and how much of the batch made it.

    loss          scalar, part of the graph even where it is 0
    num_triplets  rows that have both a positive and a negative
    num_nonzero   those of them that violate the margin; the loss is the mean over these
    """

    loss: Tensor
    num_triplets: int
    num_nonzero: int


@in_full_precision
def batch_hard_triplet(
    embeddings: Tensor, positives_mask: Tensor, negatives_mask: Tensor, margin: float = 0.2, swap: bool = True
) -> TripletResult:
    """DistilVPR's L_task before its weight of 0.5, as MinkLoc++ has it.

    relu(d_ap - min(d_an, d_pn) + margin), mean over the triplets where it is above 0; d is Euclidean on the
    embeddings as they come, without normalisation. Without `swap` d_an stands alone.

    embeddings [N, D] float; positives_mask and negatives_mask [N, N] bool, row = anchor. Raises ValueError where the
    shapes or the masks' type do not fit.
    """
    anchors, positives, negatives = batch_hard_indices(embeddings, positives_mask, negatives_mask)
    anchor, positive, negative = embeddings[anchors], embeddings[positives], embeddings[negatives]
    d_negative = _distance(anchor, negative)
    if swap:
        d_negative = torch.minimum(d_negative, _distance(positive, negative))
    violations = functional.relu(_distance(anchor, positive) - d_negative + margin)
    num_nonzero = int(violations.count_nonzero())
    # An empty sum still hangs on the graph, so a batch without triplets gives a zero gradient, not an error.
    return TripletResult(violations.sum() / max(num_nonzero, 1), len(anchors), num_nonzero)


@torch.no_grad()
@in_full_precision
def batch_hard_indices(
    embeddings: Tensor, positives_mask: Tensor, negatives_mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's farthest positive and nearest negative; rows that lack either are left out.

    Shapes as in `batch_hard_triplet`; returns three int64 [T] of row numbers: anchors, positives, negatives.
    """
    check_masks(embeddings, positives_mask, negatives_mask)
    # The matrix-product form rounds small distances, which would change which negative is the nearest.
    distances = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    usable = positives_mask.any(1) & negatives_mask.any(1)
    farthest_positive = distances.masked_fill(~positives_mask, -torch.inf).argmax(1)
    nearest_negative = distances.masked_fill(~negatives_mask, torch.inf).argmin(1)
    return usable.nonzero().flatten(), farthest_positive[usable], nearest_negative[usable]


def _distance(first: Tensor, second: Tensor) -> Tensor:
    # The norm's sub-gradient is 0 where two embeddings coincide; a square root of a sum would give NaN there.
    return torch.linalg.vector_norm(first - second, dim=-1)
