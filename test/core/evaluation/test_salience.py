"""Salience: the shares of a GeM descriptor, against their definition and by taking places away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vpr_core.errors import InputError
from vpr_core.evaluation.salience import salience, shares
from vpr_core.models.aggregators import GeM
from vpr_core.models.minkloc import camera_student, lidar_student, minklocmmcat
from vpr_core.models.sparse import batch_clouds, voxelize

VOXEL_M = 0.5


def test_the_shares_are_those_of_the_definition_and_add_up_to_one() -> None:
    torch.manual_seed(0)
    pooling = GeM(p=2.5)
    features = torch.rand(6, 4)
    descriptor = pooling(features.T.reshape(1, 4, 2, 3))[0]
    expected = torch.zeros(6)
    for place in range(6):
        for channel in range(4):
            part = features[place, channel] ** 2.5 / (features[:, channel] ** 2.5).sum()
            expected[place] += descriptor[channel] ** 2 * part
    found = shares(features, pooling).detach()
    torch.testing.assert_close(found, (expected / (descriptor**2).sum()).detach())
    assert float(found.sum()) == pytest.approx(1.0)


def test_a_place_without_features_has_no_share() -> None:
    features = torch.rand(5, 3) + 0.1
    features[2] = 0.0
    found = shares(features, GeM()).detach()
    assert float(found[2]) < 1e-6 and float(found.min()) == float(found[2])


class _Brightness(nn.Module):
    """Pools the picture itself, so that its salience is known."""

    def __init__(self) -> None:
        super().__init__()
        self.gem = GeM(p=1.0)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.gem(image)


def test_the_bright_corner_of_a_picture_is_where_its_brightness_comes_from() -> None:
    image = torch.full((1, 3, 8, 12), 0.1)
    image[..., :2, :3] = 1.0
    found = salience(_Brightness().eval(), (image,))
    assert found.image is not None and found.image.sum() == pytest.approx(1.0)
    of_pixels = found.of_pixels(24, 16)
    assert of_pixels.shape == (16, 24) and of_pixels.mean() == pytest.approx(1.0, rel=0.05)
    assert of_pixels[1, 1] == pytest.approx(10 * of_pixels[12, 20], rel=0.01)


def test_every_point_of_a_cloud_has_the_share_of_its_site() -> None:
    torch.manual_seed(0)
    points = np.random.default_rng(0).uniform(-20, 20, (800, 3)).astype(np.float32)
    model = lidar_student(dim=16, planes=(8, 8, 16)).eval()
    found = salience(model, (batch_clouds([voxelize(points, VOXEL_M)]),))
    assert sum(found.sites.values()) == pytest.approx(1.0, abs=1e-4)
    of_points = found.of_points(points, VOXEL_M)
    assert (of_points > 0).all()
    assert found.of_points(points + 1000.0, VOXEL_M).max() == 0.0


def test_a_fused_network_shows_both_halves_and_a_camera_student_none_of_a_cloud() -> None:
    torch.manual_seed(0)
    points = np.random.default_rng(0).uniform(-20, 20, (300, 3))
    clouds = batch_clouds([voxelize(points, VOXEL_M)])
    fused = salience(minklocmmcat(pretrained=False).eval(), (torch.rand(1, 3, 48, 64), clouds))
    assert fused.image is not None and fused.sites
    camera = salience(camera_student(pretrained=False).eval(), (torch.rand(1, 3, 48, 64),))
    assert camera.image is not None
    with pytest.raises(InputError, match="saw no cloud"):
        camera.of_points(points, VOXEL_M)


def test_a_network_that_pools_otherwise_and_a_batch_of_two_are_refused() -> None:
    with pytest.raises(InputError, match="no GeM pooling"):
        salience(nn.Sequential(nn.Flatten()), (torch.rand(1, 3, 4, 4),))
    with pytest.raises(InputError, match="one image at a time"):
        salience(_Brightness(), (torch.rand(2, 3, 4, 4),))
