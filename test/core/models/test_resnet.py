"""ResNet: torchvision's names and sizes, and where its ImageNet weights come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vpr_core.errors import RecipeError
from vpr_core.models.backbones import resnet
from vpr_core.models.encoder import build_image_encoder


@pytest.mark.parametrize(
    ("depth", "num_stages", "count", "channels"),
    [
        (18, 3, 2782784, 256),
        (18, 4, 11689512 - 513000, 512),
        (34, 4, 21797672 - 513000, 512),
        (50, 4, 25557032 - 2049000, 2048),
    ],
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


@pytest.mark.parametrize(("depth", "file"), [(34, "resnet34-b627a593.pth"), (50, "resnet50-0676ba61.pth")])
def test_bigger_backbones_load_the_published_names(
    depth: int, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files that do not count batches, as older ones."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    shapes = torchvision_shapes(depth)
    generator = torch.Generator().manual_seed(0)
    whole = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    torch.save(whole, tmp_path / "hub" / "checkpoints" / file)
    loaded = build_image_encoder(f"resnet{depth}").backbone.state_dict()
    named = {name for name in loaded if not name.endswith("num_batches_tracked")}
    assert named == {name for name in whole if not name.startswith(("layer4.", "fc."))}
    assert all(torch.equal(loaded[name], whole[name]) for name in named)


def torchvision_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet-34 or -50, from the layout in the paper's Table 1."""
    kernels, expansion = ((3, 3), 1) if depth == 34 else ((1, 3, 1), 4)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    before = 64
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(count):
            name, channels = f"layer{stage}.{block}", before
            for i, kernel in enumerate(kernels, start=1):
                out = width * (expansion if i == len(kernels) else 1)
                shapes[f"{name}.conv{i}.weight"] = (out, channels, kernel, kernel)
                shapes |= norm(f"{name}.bn{i}", out)
                channels = out
            if block == 0 and (stage > 1 or channels != before):
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                shapes |= norm(f"{name}.downsample.1", channels)
            before = channels
    return shapes | {"fc.weight": (1000, before), "fc.bias": (1000,)}


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def test_without_a_network_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 9 of this machine: nobody answers there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RecipeError, match=r"could not be had from http://127.0.0.1:9/.*put the file into"):
        resnet.imagenet_weights("http://127.0.0.1:9/resnet18-f37072fd.pth")


@pytest.mark.parametrize(("depth", "num_stages"), [(101, 3), (18, 0), (18, 5)])
def test_other_depths_are_refused(depth: int, num_stages: int) -> None:
    with pytest.raises(RecipeError, match="18, 34 or 50"):
        resnet.build(pretrained=False, depth=depth, num_stages=num_stages)
