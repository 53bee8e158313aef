"""Local features of networks: kornia's, and SuperPoint with its matchers, with random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vpr_core.errors import VprError
from vpr_core.retrieval.local_features import MAX_POINTS, load_features
from vpr_core.retrieval.verify import verify

ROOT = Path(__file__).parents[3]


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(2)
    return cv2.resize(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8), (128, 96), interpolation=cv2.INTER_CUBIC)


def save_disk(path: Path) -> Path:
    from kornia.feature import DISK

    torch.manual_seed(0)
    torch.save({"extractor": DISK().state_dict()}, path)
    return path


@pytest.mark.parametrize("name", ["kornia_sift", "disk"])
def test_features_of_kornia(name: str, image: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("kornia")
    kind = load_features(name if name == "kornia_sift" else f"disk={save_disk(tmp_path / 'disk.pt')}")
    found = kind.of(image)
    assert 20 < len(found) <= MAX_POINTS and found.descriptors.shape == (len(found), 128)
    assert found.descriptors.dtype == np.float16 and not found.are_bits and (np.diff(found.scores) <= 0).all()
    assert (found.points >= 0).all() and (found.points <= found.size).all()
    assert verify(found, found) > 0.5 * len(found)
    again = kind.of(image)
    np.testing.assert_array_equal(again.descriptors, found.descriptors)


def test_weights_that_are_others_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("kornia")
    torch.save({"extractor": {"layer": torch.zeros(2)}}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name in ("other.pt", "text.pt"):
        with pytest.raises(VprError, match=f"{name} holds no weights of DISK .*: expected the file that"):
            load_features(f"disk={tmp_path / name}")


@pytest.mark.parametrize(("spec", "library"), [("kornia_sift", "kornia"), ("lightglue", "transformers")])
def test_a_library_that_is_missing_is_named(spec: str, library: str, tmp_path: Path) -> None:
    spec = spec if spec == "kornia_sift" else f"{spec}={tmp_path}"
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"from vpr_core.retrieval.local_features import load_features; load_features({spec!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    last = result.stderr.strip().splitlines()[-1]
    assert "VprError: features " in last and f"need the packages {library} and torch" in last, result.stderr


def save_superpoint(folder: Path, name: str) -> Path:
    """A tiny network of the class, whose detector finds points anywhere."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    detector = transformers.SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 8, 8], decoder_hidden_size=16, descriptor_decoder_dim=16, keypoint_threshold=0.0,
        max_keypoints=60, border_removal_distance=2,
    )  # fmt: skip
    if name == "superpoint":
        network = transformers.SuperPointForKeypointDetection(detector)
    elif name == "superglue":
        network = transformers.SuperGlueForKeypointMatching(transformers.SuperGlueConfig(
            keypoint_detector_config=detector.to_dict(), hidden_size=16, keypoint_encoder_sizes=[8, 16],
            gnn_layers_types=["self", "cross"], num_attention_heads=2, sinkhorn_iterations=5,
        ))  # fmt: skip
    else:
        network = transformers.LightGlueForKeypointMatching(transformers.LightGlueConfig(
            keypoint_detector_config=detector.to_dict(), descriptor_dim=16, num_hidden_layers=2, num_attention_heads=2,
            filter_threshold=0.0,
        ))  # fmt: skip
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["superpoint", "superglue", "lightglue"])
def test_superpoint_of_a_folder(name: str, image: np.ndarray, tmp_path: Path) -> None:
    kind = load_features(f"{name}={save_superpoint(tmp_path / name, name)}")
    found, other = kind.of(image), kind.of(np.ascontiguousarray(image[::-1, ::-1]))
    assert 10 < len(found) <= 60 and found.descriptors.shape == (len(found), 16)
    assert (found.points >= 0).all() and (found.points <= found.size).all() and (np.diff(found.scores) <= 0).all()
    assert (kind.match is None) == (name == "superpoint") and len(kind.weights_hash) == 16
    assert verify(found, other, kind.match) == verify(found, other, kind.match)
    if kind.match is not None:
        shorter = type(found)(found.size, found.points[:7], found.scores[:7], found.descriptors[:7], False)
        pairs = kind.match(shorter, other)
        assert len(pairs) and (pairs >= 0).all() and (pairs < [7, len(other)]).all()


@pytest.mark.parametrize("name", ["superglue", "lightglue"])
def test_stored_features_are_matched_as_the_network_matches_pictures(
    name: str, image: np.ndarray, tmp_path: Path
) -> None:
    """The same pair through the whole network, which takes the features itself."""
    transformers = pytest.importorskip("transformers")
    folder = save_superpoint(tmp_path / name, name)
    kind, other = load_features(f"{name}={folder}"), np.ascontiguousarray(image[:, ::-1])
    features = [kind.of(picture) for picture in (image, other)]
    assert kind.match is not None
    ours = {(tuple(features[0].points[i].round(2)), tuple(features[1].points[j].round(2)))
            for i, j in kind.match(*features)}  # fmt: skip
    network = transformers.AutoModelForKeypointMatching.from_pretrained(folder).eval()
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255 for picture in (image, other)]
    with torch.inference_mode():
        whole = network(torch.from_numpy(np.stack(grey))[None, :, None].expand(1, 2, 3, -1, -1))
    points = whole.keypoints[0].numpy() * np.float32([128, 96])
    theirs = {(tuple(points[0, i].round(2)), tuple(points[1, j].round(2)))
              for i, j in enumerate(whole.matches[0, 0].tolist()) if j >= 0}  # fmt: skip
    # Descriptors are stored in half precision, which moves a match or two of random weights.
    assert theirs and len(ours & theirs) >= 0.8 * len(theirs)


def test_another_network_and_absent_weights_are_refused(tmp_path: Path) -> None:
    folder = save_superpoint(tmp_path / "superpoint", "superpoint")
    with pytest.raises(VprError, match="holds superpoint, expected lightglue"):
        load_features(f"lightglue={folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VprError, match="superpoint cannot be loaded from .*empty"):
        load_features(f"superpoint={tmp_path / 'empty'}")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "descriptor_decoder_dim": 24}))
    with pytest.raises(VprError, match="superpoint"):
        load_features(f"superpoint={folder}")
