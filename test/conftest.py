"""Fixtures shared by all tests: a short drive through a made-up town and what is made of it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# For torch here and in every process that a test starts: with one thread things are equal to the last bit, and in
# networks this small more of them only wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]
FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes
        session.config.workeroutput["figures"] = session.config.stash[FIGURES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of tests ended: what it measured is printed with the rest. One that was killed has no output."""
    node.config.stash[FIGURES].extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed after the run: what a test measured."""
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference numbers; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("VPR_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"VPR_SHARED: no folder {folder}")
    return folder


@dataclass(frozen=True)
class Kitti:
    """KITTI raw 2011_09_26_drive_0001: 107 m at 10 Hz, camera and LiDAR."""

    folder: Path

    def jpeg(self, index: int) -> bytes:
        return (self.folder / "image_02" / f"{index:010d}.jpg").read_bytes()

    def scan(self, index: int) -> np.ndarray:
        """float32 [N, 4]: x, y, z [m] in the LiDAR's frame, intensity."""
        stored = np.load(self.folder / "velodyne" / f"{index:010d}.npz")
        xyz = np.cumsum(stored["dxyz_cm"], axis=1, dtype=np.int16).T / 100.0
        return np.column_stack([xyz, stored["intensity"] / 255.0]).astype(np.float32)

    def stamps_ns(self, sensor: str) -> list[int]:
        """Of "image_02" or "velodyne"."""
        lines = (self.folder / sensor / "timestamps.txt").read_text().split("\n")
        return [int(np.datetime64(line.replace(" ", "T"), "ns").astype(np.int64)) for line in lines if line]

    @property
    def transforms(self) -> np.ndarray:
        """T_world_lidar [N, 3, 4] at the scans' stamps; the world is the LiDAR's frame at the first."""
        return np.loadtxt(self.folder / "poses_kiss_icp.txt").reshape(-1, 3, 4)


@pytest.fixture(scope="session")
def kitti(shared: Path) -> Kitti:
    folder = shared / "data" / "kitti_raw_2011_09_26_drive_0001"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return Kitti(folder)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a run share: what it takes a minute to draw is drawn once."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "workshop"
    folder.mkdir(exist_ok=True)
    return folder


def once(path: Path, make: Callable[[], object]) -> Path:
    """A path of the workshop that `make` makes, unless another process of this run has; it is nobody's to change."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = path.with_name(f"{path.name}.made")
        if not made.exists():
            shutil.rmtree(path, ignore_errors=True)  # what a process left that ended while it made this
            make()
            made.touch()
    return path


@pytest.fixture(scope="session")
def bag(workshop: Path) -> Path:
    """A drive of 80 m at noon, with camera, LiDAR and poses."""
    from vpr_core.synthetic.drive import record_drive

    path = workshop / "bag"
    return once(path, lambda: record_drive(path, town=3, condition="noon", route="loop", seed=1, max_length_m=80.0))


@pytest.fixture(scope="session")
def frames(workshop: Path, bag: Path) -> Path:
    from vpr_core.data.ingest import ingest

    path = workshop / "frames"
    return once(path, lambda: ingest(bag, path, pose_topic="/ground_truth/odom"))


@pytest.fixture(scope="session")
def bundle(workshop: Path, frames: Path) -> Path:
    """A network with ImageNet weights that was not trained further."""
    return _make_bundle(workshop / "pretrained", frames, pretrained=True)


@pytest.fixture(scope="session")
def place_map(workshop: Path, bundle: Path, frames: Path) -> Path:
    from vpr_core.retrieval.mapping import build_map

    path = workshop / "place_map"
    return once(path, lambda: build_map(bundle, frames, path))


@pytest.fixture(scope="session")
def other_map(workshop: Path, frames: Path) -> Path:
    """A map of the same drive, made with another bundle."""
    from vpr_core.retrieval.mapping import build_map

    path = workshop / "other_map"
    return once(path, lambda: build_map(_make_bundle(workshop / "random", frames, pretrained=False), frames, path))


@pytest.fixture(scope="session")
def lidar_bundle(workshop: Path) -> Path:
    """A small LiDAR network with random weights."""
    path = workshop / "lidar_bundle"
    return once(path, lambda: _make_lidar_bundle(path, seed=0))


@pytest.fixture(scope="session")
def lidar_map(workshop: Path, lidar_bundle: Path, frames: Path) -> Path:
    from vpr_core.retrieval.mapping import build_map

    path = workshop / "lidar_map"
    return once(path, lambda: build_map(lidar_bundle, frames, path))


def _make_lidar_bundle(folder: Path, seed: int) -> Path:
    import io

    import torch

    from vpr_core.models.factory import build_model
    from vpr_core.retrieval.lidar_bundle import write_lidar_bundle

    torch.manual_seed(seed)
    options = {"dim": 32, "planes": [8, 8, 16]}
    weights = io.BytesIO()
    torch.save(build_model("lidar", **options).state_dict(), weights)
    spec = {"name": "lidar", "options": options}
    return write_lidar_bundle(folder, weights.getvalue(), model=spec, voxel_size_m=1.0, max_range_m=60.0, dim=32,
                              accept_similarity=None, card={"seed": seed})  # fmt: skip


@pytest.fixture(scope="session")
def make_bundle() -> Callable[[Path, Path, bool], Path]:
    """Makes, in a folder, a bundle of a network as it is before any training on a drive's frames."""
    return _make_bundle


def _make_bundle(folder: Path, frames: Path, pretrained: bool) -> Path:
    """In a folder of the workshop or of a test's own."""
    from vpr_core.export import export
    from vpr_core.training.recipe import Recipe
    from vpr_core.training.train import train_encoder

    def make() -> None:
        train_encoder([frames], folder / "checkpoint", Recipe(pretrained=pretrained, steps=0))
        export(folder / "checkpoint", frames, folder / "bundle")

    folder.mkdir(parents=True, exist_ok=True)
    return once(folder / "bundle", make)


@pytest.fixture(scope="session")
def drives(workshop: Path) -> dict[str, Path]:
    """Frames folders of one town at noon and night: streets to train on, and others."""
    from vpr_core.data.ingest import ingest
    from vpr_core.synthetic.drive import Drive, record_drives

    bags, frames = workshop / "bags", workshop / "drives"
    planned = [
        Drive(bags / "noon", 3, "noon", "loop", 2, 400.0),
        Drive(bags / "night", 3, "night", "loop", 3, 400.0),
        Drive(bags / "other_noon", 3, "noon", "offmap", 4, 250.0),
        Drive(bags / "other_night", 3, "night", "offmap", 5, 400.0),
    ]

    def make() -> None:
        shutil.rmtree(bags, ignore_errors=True)
        bags.mkdir()
        record_drives(planned)
        for drive in planned:
            ingest(drive.out, frames / drive.out.name, pose_topic="/ground_truth/odom")

    once(frames, make)
    return {drive.out.name: frames / drive.out.name for drive in planned}


@pytest.fixture(scope="session")
def trained(workshop: Path, drives: dict[str, Path]) -> Path:
    """A bundle trained for about half a minute on two drives, with a threshold chosen on two others."""
    from vpr_core.export import export
    from vpr_core.training.recipe import Recipe
    from vpr_core.training.train import train_encoder

    folder = workshop / "trained"

    def make() -> None:
        recipe = Recipe(steps=50, batch_size=32, image_height=96, augment=False)
        train_encoder([drives["noon"], drives["night"]], folder / "checkpoint", recipe,
                      [drives["other_noon"], drives["other_night"]])  # fmt: skip
        export(folder / "checkpoint", drives["noon"], folder / "bundle")

    folder.mkdir(exist_ok=True)
    return once(folder / "bundle", make)


@pytest.fixture(scope="session")
def untrained(workshop: Path, drives: dict[str, Path]) -> Path:
    return _make_bundle(workshop / "untrained", drives["noon"], pretrained=True)
