"""ResNet: torchvision's names and sizes, and where its ImageNet weights come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vpr_core.errors import RecipeError
from vpr_core.models.backbones import resnet


@pytest.mark.parametrize(
    ("depth", "num_stages", "count", "channels"),
    [(18, 3, 2782784, 256), (18, 4, 11689512 - 513000, 512), (34, 4, 21797672 - 513000, 512)],
)
def test_sizes_are_torchvisions_without_the_classifier(depth: int, num_stages: int, count: int, channels: int) -> None:
    model = resnet.build(pretrained=False, depth=depth, num_stages=num_stages)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert model.out_channels == channels
    with torch.no_grad():
        out = model.eval()(torch.rand(1, 3, 64, 96))
    stride = 4 * 2 ** (num_stages - 1)
    assert out.shape == (1, channels, 64 // stride, 96 // stride)
    assert {"layer2.0.downsample.1.running_var", "layer1.1.bn2.bias", "conv1.weight"} <= set(model.state_dict())


def test_weights_come_from_the_cache_where_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the cache is read without a network; its classifier and last stage are left out."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    whole = resnet.build(pretrained=False, num_stages=4).state_dict() | {"fc.weight": torch.zeros(1000, 512)}
    torch.save(whole, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    loaded = resnet.build(pretrained=True).state_dict()
    assert "layer3.0.conv1.weight" in loaded
    assert all(torch.equal(value, whole[name]) for name, value in loaded.items())


def test_without_a_network_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 9 of this machine: nobody answers there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RecipeError, match=r"could not be had from http://127.0.0.1:9/.*put the file into"):
        resnet.imagenet_weights("http://127.0.0.1:9/resnet18-f37072fd.pth")


@pytest.mark.parametrize(("depth", "num_stages"), [(50, 3), (18, 0), (18, 5)])
def test_other_depths_are_refused(depth: int, num_stages: int) -> None:
    with pytest.raises(RecipeError, match="18 or 34"):
        resnet.build(pretrained=False, depth=depth, num_stages=num_stages)
