"""A folder whose manifest lacks an entry is refused with its name, whatever kind of folder it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vpr_core.errors import BundleError, MapError
from vpr_core.retrieval import bundle as bundles
from vpr_core.retrieval import place_map as maps
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.camera_bundle import CameraBundle
from vpr_core.retrieval.lidar_bundle import LidarBundle
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.training import checkpoint as checkpoints
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

KEYS = {
    "place_map": maps.KEYS,
    "bundle": ("modality", *bundles.KEYS, *CameraBundle.input_keys),
    "lidar_bundle": ("modality", *bundles.KEYS, *LidarBundle.input_keys),
    "checkpoint": checkpoints.KEYS,
}
LOAD = {
    "place_map": ("map.json", PlaceMap.load, MapError),
    "bundle": ("bundle.json", Bundle.load, BundleError),
    "lidar_bundle": ("bundle.json", Bundle.load, BundleError),
    "checkpoint": ("checkpoint.json", load_checkpoint, BundleError),
}


@pytest.fixture(scope="module")
def checkpoint(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe.from_json({"modality": "lidar", "planes": [8, 8], "layers": [1, 1], "steps": 0})
    return train_encoder([frames], tmp_path_factory.mktemp("manifests") / "checkpoint", recipe)


@pytest.mark.parametrize("made", LOAD)
def test_a_missing_entry_is_named(made: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name, load, error = LOAD[made]
    copy = shutil.copytree(request.getfixturevalue(made), tmp_path / made)
    load(copy)
    whole = json.loads((copy / name).read_text())
    assert set(KEYS[made]) <= set(whole)
    for key in KEYS[made]:
        (copy / name).write_text(json.dumps({other: value for other, value in whole.items() if other != key}))
        with pytest.raises(error, match=rf"{name} lacks {key}; make it again with `vpr-distill"):
            load(copy)
