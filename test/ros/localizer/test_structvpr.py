"""A student that StructVPR distilled, on a robot: StructVPR Secs. 3.3 and 4.3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpr_core.export import export
from vpr_core.preprocess import decode_image
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_features import store_features
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.training.distillation import Distillation
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder
from vpr_core.training.weigh import weigh
from vpr_distill_msgs.srv import QueryPlace

START_NS = 1_700_000_000_000_000_000
BRANCH = {"architecture": "structvpr", "pretrained": False, "normalize": True, "image_height": 48, "mining": "all",
          "task_weights": (1.0, 0.0, 0.0), "batch_size": 8, "steps": 2, "augment": False}  # fmt: skip


@pytest.fixture(scope="module")
def student(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Bundle of a student after both stages, and a map of it with local features."""
    out = tmp_path_factory.mktemp("structvpr")
    rgb = train_encoder([frames], out / "rgb", Recipe(modality="camera", **BRANCH))
    labels = Recipe(modality="labels", class_table="cityscapes_19", **BRANCH)
    segmentation = train_encoder([frames], out / "segmentation", labels)
    weigh(rgb, segmentation, [frames], out / "weights.npz", scheme="all")
    stage_ii = Recipe(modality="camera", distillation=Distillation("structvpr", teacher_modality="labels"), **BRANCH)
    checkpoint = train_encoder(
        [frames], out / "student", stage_ii, teacher=segmentation, sample_weights=out / "weights.npz"
    )
    bundle = export(checkpoint, frames, out / "bundle")
    build_map(bundle, frames, out / "map")
    store_features(out / "map", frames, "sift")
    return bundle, out / "map"


@pytest.mark.parametrize("rerank", [0, 100])
def test_it_localizes_like_any_camera_student_without_torch(
    rerank: int, robot: Callable[..., Any], student: tuple[Path, Path], jpegs: list[bytes]
) -> None:
    bundle, place_map = student
    node = robot(bundle=bundle, map=place_map, rerank=rerank)
    node.process.says("active")
    recognizer = PlaceRecognizer.load(bundle, place_map, rerank=rerank)
    assert recognizer.bundle.dim == 448
    for data in jpegs[1:4]:
        answer = node.call(QueryPlace, "query", image=node.photograph(data))
        expected = recognizer.recognize(decode_image(data), 1).matches
        assert [match.place_id for match in answer.result.matches] == [match.place_id for match in expected]
    node.send_until(node.camera(), node.photograph(jpegs[2], START_NS), lambda: node.matches)
    assert node.matches[0].matches[0].place_id == 2
    loaded = Path(f"/proc/{node.process.popen.pid}/maps").read_text()
    assert "onnxruntime" in loaded and not [name for name in ("libtorch", "tokenizers") if name in loaded]
