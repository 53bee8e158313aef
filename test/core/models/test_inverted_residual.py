"""The block of the MobileNets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vpr_core.models.inverted_residual import FIRST_SCALE, InvertedResidual, maps_after


def test_a_block_with_a_shortcut_begins_as_little_more_than_it() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 8, 12, 10)
    added = InvertedResidual(8, 8, stride=1, expansion=6)(x) - x
    torch.testing.assert_close(added.std(dim=(0, 2, 3)), torch.full((8,), FIRST_SCALE), rtol=0.01, atol=0)
    for block in (InvertedResidual(8, 8, stride=2, expansion=6), InvertedResidual(8, 16, stride=1, expansion=6)):
        assert not block.has_shortcut and float(block(x).detach().std()) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("expansion", "width"), [(1, 8), (4, 32)])
def test_the_depthwise_convolution_is_as_wide_as_the_expansion(expansion: int, width: int) -> None:
    block = InvertedResidual(8, 12, 2, expansion, nn.ReLU, bias=True)
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == (2 if expansion == 1 else 3)
    *inner, last = convolutions
    assert all(module.bias is not None for module in inner) and last.bias is None
    assert (inner[-1].groups, inner[-1].out_channels) == (width, width)
    assert block(torch.zeros(2, 8, 9, 9)).shape == (2, 12, 5, 5)


def test_maps_are_those_after_the_layers_named() -> None:
    layers = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(4)))
    x = torch.randn(1, 1, 2, 2)
    first, last = maps_after(layers, (1, 3), x)
    torch.testing.assert_close(first, layers[1](layers[0](x)))
    torch.testing.assert_close(last, layers(x))
