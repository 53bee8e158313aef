"""MinkLoc's cloud branch (128-d) on real clouds: forward, a training step, and what its parts take.

`maps_ms` is everything that depends on the sites alone; `gemm_ms` the matrix products over a kernel map, bare, which
no gather and scatter can beat. MinkowskiEngine is measured beside it where it is installed. The data lie in the
folder that VPR_SHARED names (default ../shared); cases whose data are absent are left out.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from timing import median_ms
from torch import Tensor, nn

from vpr_core.models.backbones import minkfpn
from vpr_core.models.minkloc import CloudBranch
from vpr_core.models.sparse import SparseConv, SparseConvTranspose, SparseTensor, batch_clouds, voxelize
from vpr_core.models.sparse.manager import TorchCoordinateManager

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("VPR_SHARED", ROOT.parent / "shared"))
KITTI = SHARED / "data" / "kitti_raw_2011_09_26_drive_0001" / "velodyne"
OXFORD = SHARED / "data" / "oxford_robotcar_submaps_dh3d" / "2015-03-10-14-18-10"
PRODUCT = tuple[int, Tensor]


def run(quick: bool) -> list[dict[str, object]]:
    torch.manual_seed(0)
    model = CloudBranch(minkfpn.build(128))
    rows = []
    for name, clouds in _cases([1] if quick else [1, 16]).items():
        rows.append(_measure(name, model, clouds, "torch", 3 if quick else 10))
        if importlib.util.find_spec("MinkowskiEngine"):
            rows.append(_measure(name, model, clouds, "minkowski", 3 if quick else 10))
    return rows


def _cases(batches: Sequence[int]) -> dict[str, list[Tensor]]:
    cases = {}
    for batch in batches:
        if KITTI.is_dir():
            cases[f"KITTI scans, 0.25 m, B={batch}"] = [_kitti(i) for i in range(batch)]
        if OXFORD.is_dir():
            cases[f"4096 points of Oxford, 0.2 m, B={batch}"] = [
                _oxford(path) for path in sorted(OXFORD.glob("*.bin"))[:batch]
            ]
    return cases


def _kitti(scan: int) -> Tensor:
    steps_cm = np.load(KITTI / f"{scan:010d}.npz")["dxyz_cm"]
    return voxelize(np.cumsum(steps_cm, axis=1, dtype=np.int16).T / 100.0, 0.25)


def _oxford(path: Path) -> Tensor:
    """A submap thinned to 4096 points; 0.2 m of its +-20 m are 0.01 of PointNetVLAD's [-1, 1]."""
    points = np.fromfile(path, "<f4").reshape(-1, 3)
    return voxelize(np.random.default_rng(0).permutation(points)[:4096], 0.2)


def _measure(name: str, model: CloudBranch, clouds: list[Tensor], engine: str, repeat: int) -> dict[str, object]:
    def forward() -> Tensor:
        descriptors: Tensor = model(batch_clouds(clouds, engine))
        return descriptors

    def inference() -> Tensor:
        with torch.no_grad():
            return forward()

    model.eval()
    row: dict[str, object] = {
        "cloud": name, "engine": engine, "voxels": sum(map(len, clouds)), "forward_ms": median_ms(inference, repeat, 1)
    }  # fmt: skip
    products = _products(model, clouds)
    gflop = sum(2e-9 * count * weights.numel() for count, weights in products)
    own = engine == "torch"
    row["maps_ms"] = median_ms(lambda: _maps(clouds), repeat, 1) if own else "-"
    row["gemm_ms"] = median_ms(lambda: _multiply(products), repeat, 1) if own else "-"
    model.train()
    row["train_step_ms"] = median_ms(lambda: forward().sum().backward(), max(repeat // 3, 1), 1)
    return row | {"GFLOP": round(gflop, 2)}


def _maps(clouds: list[Tensor]) -> None:
    """Sites and kernel maps of the whole network."""
    manager = batch_clouds(clouds).manager
    assert isinstance(manager, TorchCoordinateManager)
    manager.occupancy(1)
    for stride in (1, 2, 4):
        manager.kernel_map(2, stride, 2 * stride)
        manager.kernel_map(3, 2 * stride, 2 * stride)


def _products(model: CloudBranch, clouds: list[Tensor]) -> list[PRODUCT]:
    """(rows, weights) of every matrix product in a forward pass. The first convolution is a look-up and has none."""
    products: list[PRODUCT] = []

    def note(module: nn.Module, inputs: tuple[SparseTensor], output: SparseTensor) -> None:
        (x,) = inputs
        assert isinstance(module, SparseConv | SparseConvTranspose) and isinstance(x.manager, TorchCoordinateManager)
        kernel = module.kernel.detach()
        if module.kernel_size == 1:
            products.append((len(x.features), kernel))
        elif kernel.shape[1] > 1:
            kernel_map = x.manager.kernel_map(module.kernel_size, *sorted((x.stride, output.stride)))
            products.extend(zip(kernel_map.counts, kernel, strict=True))

    convs = [module for module in model.modules() if isinstance(module, SparseConv | SparseConvTranspose)]
    handles = [conv.register_forward_hook(note) for conv in convs]
    with torch.no_grad():
        model(batch_clouds(clouds))
    for handle in handles:
        handle.remove()
    return products


def _multiply(products: list[PRODUCT]) -> None:
    most = max(count for count, _ in products)
    features = {width: torch.ones(most, width) for width in {weights.shape[0] for _, weights in products}}
    for count, weights in products:
        features[weights.shape[0]][:count] @ weights


if __name__ == "__main__":
    from vpr_core.evaluation.evaluate import table_text

    measured = run(quick=False)
    print(table_text(measured, list(measured[0])) if measured else f"no clouds under {SHARED}")
