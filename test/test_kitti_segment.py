"""StructVPR on a real car's camera by commands: labels of a network, both branches, weights, a student, its matches.

KITTI raw 2011_09_26_drive_0001: the map is of every eighth frame, those between are queries. The segmentation network
has random weights and the training a few steps, so this says that the chain holds on real images and survives kills.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vpr_core.cli import main
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.structvpr.slme import class_table, weighted_one_hot
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.train import train_encoder
from vpr_core.types import Pose

CONFIG = Path(__file__).parents[1] / "config" / "structvpr"
TABLES = ("ade20k_150", "cityscapes_19")
PLACES = 14
SMALL = ("--image_height", 48, "--batch_size", 8, "--steps", 9, "--positive_m", 10, "--negative_m", 20,
         "--validate_every", 0, "--tensorboard", "false")  # fmt: skip

KILLED = """
import importlib, os, signal, sys

module, left = importlib.import_module(sys.argv[1]), [int(sys.argv[2])]
write_atomic = module.write_atomic

def write_and_die(*arguments):
    write_atomic(*arguments)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

module.write_atomic = write_and_die
from vpr_core.cli import main
main(sys.argv[3:])
"""


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def run_until_killed(module: str, writes: int, *arguments: object) -> None:
    """The command in a process of its own that gets a SIGKILL after so many files that `module` wrote."""
    command = [sys.executable, "-c", KILLED, module, str(writes), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL, result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def bags(kitti: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every eighth image with its pose as the bag `map`, those in the middle between them as `queries`."""
    folder = tmp_path_factory.mktemp("segment")
    stamps_ns, positions_m = kitti.stamps_ns("image_02"), kitti.transforms[:, :, 3]
    for first, name in enumerate(("map", "queries")):
        with BagWriter(folder / name) as bag:
            for index in range(4 * first, 8 * PLACES - 4, 8):
                pose = Pose(tuple(map(float, positions_m[index])), (0.0, 0.0, 0.0, 1.0))
                bag.odometry("/odom", stamps_ns[index], "map", "base_link", pose, 0.0)
                jpeg = kitti.jpeg(index)
                bag.image_jpeg("/camera/image/compressed", stamps_ns[index], "camera_optical", jpeg)
    return {name: folder / name for name in ("map", "queries")}


@pytest.fixture(scope="module")
def frames(bags: dict[str, Path]) -> Path:
    folder = ingest(bags["map"], bags["map"].parent / "frames", keyframe_m=0.0)
    assert len(Frames.load(folder)) == PLACES and Frames.load(folder).image_size == (1242, 375)
    return folder


@pytest.fixture(scope="module", params=TABLES)
def table(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(table: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SegFormer of the table's classes with random weights, in a folder as the Hub has them."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    classes = class_table(table).classes
    config = transformers.SegformerConfig(
        id2label=dict(enumerate(classes)), label2id={name: number for number, name in enumerate(classes)},
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("networks") / f"segformer_{table}"
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 64, "width": 208}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def labelled(table: str, network: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames with labels, made by one run of the command."""
    folder = Path(shutil.copytree(frames, tmp_path_factory.mktemp(table) / "frames"))
    run("segment", "--frames", folder, "--model", network)
    return folder


def test_labels_are_whole_and_become_label_maps(table: str, labelled: Path) -> None:
    drive = Frames.load(labelled)
    assert drive.card["labels"]["table"] == table and drive.card["labels"]["model"] == f"segformer_{table}"
    for index in range(PLACES):
        label = drive.label(index)
        assert label.shape == (375, 1242) and len(np.unique(label)) > 1
        assert weighted_one_hot(label, table, "unweighted").sum() == label.size


@pytest.mark.parametrize("table", TABLES[:1], indirect=True)
def test_a_segmentation_that_was_killed_ends_as_one_that_was_not(
    network: Path, labelled: Path, frames: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(frames, tmp_path / "frames"))
    command = ("segment", "--frames", folder, "--model", network)
    run_until_killed("vpr_core.data.segment", 6, *command)
    assert len(list((folder / ".labels.partial").glob("*.png"))) == 6 and not Frames.load(folder).has_labels
    first = (folder / ".labels.partial" / "000000.png").stat().st_ino
    run(*command)
    assert (folder / "labels" / "000000.png").stat().st_ino == first, "what was done before the kill was done again"
    assert contents(folder) == contents(labelled)


@pytest.fixture(scope="module")
def stage_one(table: str, labelled: Path) -> dict[str, Path]:
    """Both branches after a few steps, and the weights of the samples."""
    folder = labelled.parent
    made = {name: folder / name for name in ("rgb", "segmentation")}
    for name, out in made.items():
        options = ["--class_table", table] if name == "segmentation" else []
        run("train", "--config", CONFIG / f"town_{name}.yaml", "--frames", labelled, "--out", out, *SMALL, *options)
    weights = folder / "weights.npz"
    run("weigh", "--rgb", made["rgb"], "--segmentation", made["segmentation"], "--frames", labelled, "--out", weights,
        "--n_t", 3)  # fmt: skip
    return made | {"weights": weights}


def distil(stage_one: dict[str, Path], labelled: Path, out: Path) -> list[object]:
    return ["distill", "--config", CONFIG / "town_student.yaml", "--teacher", stage_one["segmentation"],
            "--sample_weights", stage_one["weights"], "--frames", labelled, "--out", out, "--save_every", 1,
            *SMALL]  # fmt: skip


@pytest.fixture(scope="module")
def student(stage_one: dict[str, Path], labelled: Path) -> Path:
    run(*distil(stage_one, labelled, labelled.parent / "student"))
    return labelled.parent / "student"


@pytest.mark.parametrize("table", TABLES[:1], indirect=True)
def test_a_distillation_that_was_killed_goes_on_to_the_same_student(
    stage_one: dict[str, Path], student: Path, labelled: Path, tmp_path: Path
) -> None:
    run_until_killed("vpr_core.training.run", 3, *distil(stage_one, labelled, tmp_path / "killed"))
    steps: list[int] = []
    whole = load_checkpoint(student)
    train_encoder([labelled], tmp_path / "killed", whole.recipe, teacher=stage_one["segmentation"],
                  sample_weights=stage_one["weights"], progress=lambda step, *_: steps.append(step))  # fmt: skip
    assert steps == list(range(4, 10))
    killed = load_checkpoint(tmp_path / "killed").model.state_dict()
    assert all(torch.equal(killed[name], value) for name, value in whole.model.state_dict().items())


def test_the_student_recognises_the_drive(
    student: Path, labelled: Path, bags: dict[str, Path], tmp_path: Path, figures: list[str], table: str
) -> None:
    bundle, places = tmp_path / "bundle", tmp_path / "place_map"
    run("export", "--checkpoint", student, "--frames", labelled, "--out", bundle)
    run("map", "--bundle", bundle, "--frames", labelled, "--out", places)
    assert json.loads((bundle / "bundle.json").read_text())["card"]["sample_weights"]["n_t"] == 3
    found = {}
    for name, bag in bags.items():
        run("query", "--bundle", bundle, "--map", places, "--bag", bag, "--out", tmp_path / f"{name}.jsonl")
        found[name] = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    own = [record["matches"][0] for record in found["map"]]
    assert [match["place_id"] for match in own] == list(range(PLACES))
    assert min(match["similarity"] for match in own) > 0.999
    first = [record["matches"][0]["place_id"] for record in found["queries"]]
    beside = np.mean([place in (i, i + 1) for i, place in enumerate(first)])
    figures.append(f"KITTI drive 0001, StructVPR student of a few steps on {table} labels: {beside:.2f} of "
                   f"{len(first)} images between two places of {PLACES} recognised as one of them")  # fmt: skip
    assert len(first) == PLACES - 1 and beside > 2 * 2 / PLACES
