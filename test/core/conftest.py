"""Toy drives: every place has a pattern for the camera and a shape for the LiDAR, and every visit its own noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.data.frames import Frame, write_index
from vpr_core.training.recipe import Recipe

WIDTH, HEIGHT = 64, 48
VISITS = 2
PLACE_M = 60.0

MakeDrive = Callable[..., Path]


@pytest.fixture(scope="session")
def make_drive() -> MakeDrive:
    """make(folder, places, seed, clouds=True): a frames folder that passes the places in order, each a few times."""

    def make(folder: Path, places: range, seed: int, clouds: bool = True) -> Path:
        rng = np.random.default_rng([99, seed])
        for name in ("images", "clouds"):
            (folder / name).mkdir(parents=True)
        frames = []
        for place in places:
            for visit in range(VISITS):
                index = len(frames)
                image, cloud = f"images/{index:06d}.png", f"clouds/{index:06d}.npy" if clouds else None
                cv2.imwrite(str(folder / image), _picture(place, rng))
                if cloud:
                    np.save(folder / cloud, _shape(place, rng))
                position = [repr(value) for value in (place * PLACE_M + visit, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)]
                frames.append(Frame(index, seed * 10**12 + index * 10**9, image, cloud, None, _pose(position)))
        card = {"session": folder.name, "bag": "toy", "topics": {}, "map_frame": "map", "image_size": [WIDTH, HEIGHT]}
        write_index(folder, frames, {**card, "counts": {"frames": len(frames)}, "drops": {}})
        return folder

    return make


def _pose(cells: list[str]) -> object:
    from vpr_core.types import Pose

    return Pose.from_cells(cells)


def _picture(place: int, rng: np.random.Generator) -> np.ndarray:
    pattern = np.random.default_rng([7, place]).uniform(0, 255, (4, 6, 3)).astype(np.float32)
    picture = cv2.resize(pattern, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    return (picture * rng.uniform(0.6, 1.0) + rng.normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)


def _shape(place: int, rng: np.random.Generator) -> np.ndarray:
    """Walls of their own lengths and heights around the sensor."""
    own = np.random.default_rng([8, place])
    walls = []
    for _ in range(5):
        begin, end, height = own.uniform(-15, 15, 2), own.uniform(-15, 15, 2), own.uniform(2, 9)
        along, up = rng.random(80)[:, None], rng.random(80)[:, None] * height
        walls.append(np.hstack([begin + along * (end - begin), up, np.zeros((80, 1))]))
    points = np.concatenate(walls)
    points[:, :3] += rng.normal(0, 0.05, (len(points), 3))
    return points.astype(np.float32)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, make_drive: MakeDrive) -> dict[str, Path]:
    """Two drives past places to train on, two past others for validation."""
    folder = tmp_path_factory.mktemp("toy")
    trained, others = range(0, 12), range(20, 32)
    return {
        "first": make_drive(folder / "first", trained, 1),
        "second": make_drive(folder / "second", trained, 2),
        "database": make_drive(folder / "database", others, 3),
        "queries": make_drive(folder / "queries", others, 4),
    }


@pytest.fixture(scope="session")
def toy_recipe() -> Callable[..., Recipe]:
    """A recipe that takes a second or two on the toy drives, with what is to differ."""

    def make(modality: str, **options: object) -> Recipe:
        values: dict[str, object] = {
            "modality": modality,
            "pretrained": False,
            "image_height": 48,
            "dim": 24,
            "cloud_dim": 16,
            "planes": [8, 8, 16],
            "batch_size": 12,
            "steps": 4,
            "augment": False,
        }
        return Recipe.from_json({**values, **options})

    return make


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, toy: dict[str, Path], toy_recipe: Callable[..., Recipe]) -> Path:
    """A teacher of 40 dimensions, barely trained."""
    from vpr_core.training.train import train_encoder

    return train_encoder([toy["first"], toy["second"]], tmp_path_factory.mktemp("teacher"), toy_recipe("fused"))
