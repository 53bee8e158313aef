"""StructVPR by commands: both branches, the weights of the samples, the student and its bundle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames, write_index
from vpr_core.retrieval.bundle import Bundle

CONFIG = Path(__file__).parents[2] / "config" / "structvpr"


@pytest.fixture
def labelled(tmp_path: Path, make_drive: Callable[..., Path]) -> Path:
    folder = make_drive(tmp_path / "drive", range(6), 1, clouds=False)
    drive, rng = Frames.load(folder), np.random.default_rng(0)
    (folder / "labels").mkdir()
    frames = [replace(frame, label=f"labels/{frame.index:06d}.png") for frame in drive.frames]
    for frame in frames:
        cv2.imwrite(str(folder / str(frame.label)), rng.integers(19, size=(48, 64)).astype(np.uint8))
    write_index(folder, frames, {name: value for name, value in drive.card.items() if name != "schema"})
    return folder


def test_from_frames_to_a_bundle(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--frames", labelled, "--image_height", 48, "--batch_size", 6, "--steps", 2, "--tensorboard", "false"]
    rgb, segmentation, student = (tmp_path / name for name in ("rgb", "segmentation", "student"))
    weights = tmp_path / "weights.npz"
    for arguments in (
        ["train", "--config", CONFIG / "town_rgb.yaml", "--out", rgb, *small],
        ["train", "--config", CONFIG / "town_segmentation.yaml", "--out", segmentation, *small],
        ["weigh", "--rgb", rgb, "--segmentation", segmentation, "--frames", labelled, "--out", weights,
         "--scheme", "8-4-1-0", "--groups", "D1", "D2"],
        ["distill", "--config", CONFIG / "town_student.yaml", "--teacher", segmentation,
         "--sample_weights", weights, "--out", student, *small],
        ["export", "--checkpoint", student, "--frames", labelled, "--out", tmp_path / "bundle"],
    ):  # fmt: skip
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if "%" in line] == ["D1", "D2", "D3", "D4", "x<=N_t", "y<=N_t", "y>N_t"]
    assert any(line.startswith(f"{weights}: 12 samples, mean weight") for line in shown)
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.dim == 448 and bundle.card["sample_weights"]["scheme"] == "8-4-1-0"


def test_help_and_errors() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vpr_core", "weigh", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    told = run("--help")
    assert told.returncode == 0 and "D1 = {x <= N_t < y}" in told.stdout and "--scheme" in told.stdout
    wrong = run("--rgb", "absent", "--segmentation", "absent", "--frames", "absent", "--out", "weights.npz")
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    assert wrong.stderr.strip().splitlines()[-1].startswith("vpr-distill: error: absent")
