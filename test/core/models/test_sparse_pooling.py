"""Pooling and attention over clouds of different sizes, against loops over every cloud and channel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vpr_core.models.aggregators import GeM, SparseGeM
from vpr_core.models.backbones.minkfpn import ECA
from vpr_core.models.sparse import SparseBatchNorm, SparseTensor, cloud_mean, relu_

Make = Callable[..., SparseTensor]


@pytest.fixture
def uneven(random_sites: Callable[..., Tensor]) -> SparseTensor:
    """Three clouds of 40, 3 and 25 sites with 32 channels, some of them below 0."""
    sites = random_sites(clouds=3, count=40)
    kept = torch.cat([sites[:40], sites[40:43], sites[80:105]])
    features = torch.randn(68, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return SparseTensor.from_coordinates(kept, features)


def clouds_of(x: SparseTensor) -> list[Tensor]:
    return [x.features[x.coordinates[:, 0] == cloud] for cloud in range(x.num_clouds)]


def test_mean_of_each_cloud(uneven: SparseTensor) -> None:
    expected = torch.stack([rows.mean(dim=0) for rows in clouds_of(uneven)])
    torch.testing.assert_close(cloud_mean(uneven), expected, rtol=0, atol=1e-14)


def test_gem_of_clouds(uneven: SparseTensor) -> None:
    gem = SparseGeM(p=2.5).double()
    descriptors = gem(uneven).detach()
    for cloud, rows in enumerate(clouds_of(uneven)):
        for channel in range(rows.shape[1]):
            total = sum(max(float(value), 1e-6) ** 2.5 for value in rows[:, channel]) / len(rows)
            assert float(descriptors[cloud, channel]) == pytest.approx(total ** (1 / 2.5), rel=1e-12)


def test_gem_of_images() -> None:
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    descriptors = GeM().double()(features).detach()
    assert descriptors.shape == (2, 3)
    for image in range(2):
        for channel in range(3):
            values = [max(float(value), 1e-6) ** 3 for value in features[image, channel].flatten()]
            assert float(descriptors[image, channel]) == pytest.approx((sum(values) / 20) ** (1 / 3), rel=1e-12)


@pytest.mark.parametrize("gem", [GeM, SparseGeM])
def test_the_power_of_gem_is_one_learnable_number(gem: type[torch.nn.Module]) -> None:
    parameters = dict(gem().named_parameters())
    assert list(parameters) == ["p"]
    assert parameters["p"].tolist() == [3.0]


def test_gradients_of_gem_over_clouds(random_tensor: Make) -> None:
    x, gem = random_tensor(channels=2, count=5, size=3), SparseGeM().double()
    positive = (x.features.abs() + 0.1).requires_grad_()

    def run(features: Tensor, p: Tensor) -> Tensor:
        return torch.func.functional_call(gem, {"p": p}, (x.with_features(features),))

    assert torch.autograd.gradcheck(run, (positive, gem.p))


@pytest.mark.parametrize(("channels", "size"), [(32, 3), (64, 3), (128, 5), (256, 5)])
def test_attention_reaches_as_far_as_its_width_asks_for(channels: int, size: int) -> None:
    assert ECA(channels).conv.weight.shape == (1, 1, size)


def test_attention_weights_each_cloud_by_its_own_means(uneven: SparseTensor) -> None:
    attention = ECA(32).double()
    out = attention(uneven)
    tap = attention.conv.weight.detach().flatten().tolist()
    for cloud, rows in enumerate(clouds_of(uneven)):
        means = [0.0, *rows.mean(dim=0).tolist(), 0.0]
        mine = out.features[uneven.coordinates[:, 0] == cloud]
        for channel in range(32):
            score = torch.tensor(sum(tap[j] * means[channel + j] for j in range(3)), dtype=torch.float64)
            expected = rows[:, channel] * torch.sigmoid(score)
            torch.testing.assert_close(mine[:, channel], expected, rtol=1e-12, atol=0)


def test_batch_norm_and_relu_run_over_all_sites(uneven: SparseTensor) -> None:
    norm = SparseBatchNorm(32).double()
    out = norm(uneven).features
    centred = uneven.features - uneven.features.mean(dim=0)
    expected = centred / (uneven.features.var(dim=0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(relu_(norm(uneven)).features, expected.clamp(min=0), rtol=0, atol=1e-12)
