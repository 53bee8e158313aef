import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import Tensor

from vpr_core.losses.metric import batch_hard_indices, batch_hard_triplet


def masks_of(labels: Tensor) -> tuple[Tensor, Tensor]:
    same = labels[:, None] == labels
    return same & ~torch.eye(len(labels), dtype=torch.bool), ~same


def batch(generator: torch.Generator, count: int = 12, width: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    embeddings = torch.randn(count, width, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(count) // 3
    labels[-1] = 99
    return embeddings, *masks_of(labels)


def naive_triplet(rows: Tensor, positives_mask: Tensor, negatives_mask: Tensor, margin: float, swap: bool) -> Tensor:
    losses = []
    for anchor in range(len(rows)):
        positives = [j for j in range(len(rows)) if positives_mask[anchor, j]]
        negatives = [j for j in range(len(rows)) if negatives_mask[anchor, j]]
        if not positives or not negatives:
            continue
        positive = max(positives, key=lambda j: (rows[anchor] - rows[j]).norm().item())
        negative = min(negatives, key=lambda j: (rows[anchor] - rows[j]).norm().item())
        far = (rows[anchor] - rows[negative]).norm()
        if swap:
            far = min(far, (rows[positive] - rows[negative]).norm())
        losses.append((rows[anchor] - rows[positive]).norm() - far + margin)
    violating = [loss for loss in losses if loss > 0]
    return torch.stack(violating).mean() if violating else 0 * rows.sum()


def test_golden(golden):
    result = batch_hard_triplet(golden.student, golden.positives_mask, golden.negatives_mask)
    golden.check("ref_triplet_batchhard", result.loss)
    golden.check("ref_task_loss", 0.5 * result.loss)
    assert result.num_triplets == golden.numbers["ref_triplet_num"]
    assert result.num_nonzero == golden.numbers["ref_triplet_num_nonzero"]
    indices = batch_hard_indices(golden.student, golden.positives_mask, golden.negatives_mask)
    for name, index in zip(("anchor", "positive", "negative"), indices, strict=True):
        assert index.tolist() == golden.numbers[f"ref_triplet_{name}"].tolist()


@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("margin", [0.05, 0.2, 3.0])
def test_naive_loop(generator, margin, swap):
    embeddings, positives_mask, negatives_mask = batch(generator)
    ours = batch_hard_triplet(embeddings, positives_mask, negatives_mask, margin, swap)
    naive = naive_triplet(embeddings, positives_mask, negatives_mask, margin, swap)
    torch.testing.assert_close(ours.loss, naive)
    torch.testing.assert_close(
        torch.autograd.grad(ours.loss, embeddings), torch.autograd.grad(naive, embeddings), rtol=1e-9, atol=1e-12
    )


def test_pytorch_metric_learning(generator):
    embeddings = torch.randn(24, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(24) // 4
    distance = LpDistance(normalize_embeddings=False)
    triplets = BatchHardMiner(distance=distance)(embeddings, labels)
    peer = TripletMarginLoss(margin=0.2, swap=True, distance=distance)(embeddings, labels, triplets)
    ours = batch_hard_triplet(embeddings, *masks_of(labels))
    torch.testing.assert_close(ours.loss, peer)
    torch.testing.assert_close(torch.autograd.grad(ours.loss, embeddings), torch.autograd.grad(peer, embeddings))


def test_gradcheck(generator):
    embeddings, positives_mask, negatives_mask = batch(generator)
    assert torch.autograd.gradcheck(
        lambda rows: batch_hard_triplet(rows, positives_mask, negatives_mask).loss, embeddings
    )


def test_no_violation_is_zero_with_a_zero_gradient():
    embeddings = torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.1, 0.0]], requires_grad=True)
    result = batch_hard_triplet(embeddings, *masks_of(torch.tensor([0, 0, 1, 1])))
    result.loss.backward()
    assert (result.loss.item(), result.num_triplets, result.num_nonzero) == (0.0, 4, 0)
    assert embeddings.grad.eq(0).all()


def test_batch_without_pairs_keeps_the_graph(generator):
    embeddings, _, negatives_mask = batch(generator)
    result = batch_hard_triplet(embeddings, torch.zeros_like(negatives_mask), negatives_mask)
    result.loss.backward()
    assert (result.loss.item(), result.num_triplets, result.num_nonzero) == (0.0, 0, 0)
    assert embeddings.grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_coincident_embeddings_have_finite_gradients(dtype):
    embeddings = torch.ones(6, 8, dtype=dtype)
    embeddings[4:] += 1e-3
    embeddings.requires_grad_()
    result = batch_hard_triplet(embeddings, *masks_of(torch.tensor([0, 0, 1, 1, 2, 2])))
    result.loss.backward()
    assert result.loss.item() == pytest.approx(0.2, abs=0.01)
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.dtype == dtype


def test_autocast_does_not_lower_the_precision(generator):
    embeddings, positives_mask, negatives_mask = batch(generator)
    embeddings = embeddings.detach().float().requires_grad_()
    plain = batch_hard_triplet(embeddings, positives_mask, negatives_mask).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = batch_hard_triplet(embeddings, positives_mask, negatives_mask).loss
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_shapes_and_types_are_checked(generator):
    embeddings, positives_mask, negatives_mask = batch(generator)
    with pytest.raises(ValueError, match=r"expected \[N, D\]"):
        batch_hard_triplet(embeddings[0], positives_mask, negatives_mask)
    with pytest.raises(ValueError, match="positives_mask"):
        batch_hard_triplet(embeddings, positives_mask[:3], negatives_mask)
    with pytest.raises(ValueError, match="negatives_mask"):
        batch_hard_triplet(embeddings, positives_mask, negatives_mask.int())
