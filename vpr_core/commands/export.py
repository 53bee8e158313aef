"""`vpr-distill export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser


def define(command: ArgumentParser) -> None:
    """Export a checkpoint to a bundle, compared with it on real frames: ONNX for a camera, weights for a LiDAR."""
    command.add_argument("--checkpoint", type=Path, required=True, help="folder written by `train`")
    command.add_argument("--frames", type=Path, required=True, help="frames folder to compare on")
    command.add_argument("--out", type=Path, required=True, help="bundle folder to write")


def run(options: dict[str, Any]) -> None:
    from vpr_core.export import export

    print(export(**options))
