"""Export of a LiDAR checkpoint: what is written is what was compared, and nothing is written where they differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError, MapError
from vpr_core.export import export_network
from vpr_core.models.factory import build_model
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.lidar_bundle import LidarEncoder
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.training.checkpoint import Checkpoint
from vpr_core.training.recipe import Recipe

SPEC = {"name": "lidar", "options": {"dim": 24, "planes": [8, 8, 16]}}


def checkpoint(modality: str = "lidar", card: dict | None = None) -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        model=build_model(SPEC["name"], **SPEC["options"]).eval(),
        modality=modality,
        spec=SPEC,
        input={"voxel_size_m": 1.0, "max_range_m": 50.0},
        recipe=Recipe(),
        card=card or {},
        hash="",
    )


def test_the_bundle_gives_the_checkpoint_s_descriptors(frames: Path, tmp_path: Path) -> None:
    trained = checkpoint(card={"steps": 3, "acceptance": {"similarity": 0.75}})
    bundle = Bundle.load(export_network(trained, frames, tmp_path / "bundle", compare=4))
    assert (bundle.modality, bundle.dim, bundle.accept_similarity) == ("lidar", 24, 0.75)
    assert bundle.card["steps"] == 3
    assert bundle.card["parity"]["frames"] == 4 and bundle.card["parity"]["largest_difference"] <= 1e-4
    drive = Frames.load(frames)
    clouds = [drive.cloud(index) for index in range(len(drive))]
    expected = LidarEncoder(trained.model, 1.0, 50.0).encode(clouds)
    np.testing.assert_allclose(bundle.encode(clouds), expected, atol=1e-6)


def test_the_same_network_gives_the_same_bundle(frames: Path, tmp_path: Path) -> None:
    hashes = {Bundle.load(export_network(checkpoint(), frames, tmp_path / name)).hash for name in ("a", "b")}
    assert len(hashes) == 1


def test_a_new_bundle_takes_the_place_of_the_old_one_s_weights(frames: Path, tmp_path: Path) -> None:
    export_network(checkpoint(), frames, tmp_path / "bundle")
    build_map(tmp_path / "bundle", frames, tmp_path / "map")
    other = checkpoint()
    with torch.no_grad():
        next(other.model.parameters()).mul_(2)
    export_network(other, frames, tmp_path / "bundle")
    assert len(list((tmp_path / "bundle").glob("weights-*.pt"))) == 1
    with pytest.raises(MapError, match="was made with model"):
        PlaceRecognizer.load(tmp_path / "bundle", tmp_path / "map")


def test_what_differs_or_does_not_fit_is_not_written(frames: Path, tmp_path: Path) -> None:
    broken = checkpoint()
    with torch.no_grad():
        next(broken.model.parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match="the reloaded network differs from the checkpoint's by nan"):
        export_network(broken, frames, tmp_path / "bundle")
    mistaken = dataclasses.replace(checkpoint(), spec={"name": "lidar", "options": {"dim": 48}})
    with pytest.raises(BundleError, match="Missing key"):
        export_network(mistaken, frames, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_is_not_for_robots(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a fused one: .* distil a student"):
        export_network(checkpoint("fused"), frames, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
