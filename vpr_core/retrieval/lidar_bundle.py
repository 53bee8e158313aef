"""A LiDAR encoder as weights for torch, which is imported where such a bundle is loaded and nowhere before.

bundle/
  bundle.json         besides what every bundle has: model (name and options for `build_model`), voxel_size_m,
                      max_range_m (null: no limit); for a network of dense grids `grid`, and null for the two
  weights-<hash>.pt   state dict of the network
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpr_core.data.pointcloud import distance_m, within_range
from vpr_core.errors import BundleError, InputError, VprError
from vpr_core.files import read_checked
from vpr_core.models.factory import build_model
from vpr_core.models.sparse import SparseTensor, batch_clouds, voxelize
from vpr_core.models.voxel_grid import CloudGrid
from vpr_core.retrieval.bundle import MADE_BY, Bundle, identity, write_bundle

MIN_VOXELS = 10
"""A cloud of fewer occupied voxels shows no place: a covered sensor, or returns of the vehicle itself."""
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class LidarEncoder:
    """A network and how clouds are fed to it."""

    model: nn.Module
    """In eval mode."""
    voxel_size_m: float | None
    """None for a network of dense grids."""
    max_range_m: float | None
    """Points farther from the sensor than this are left out; None keeps all."""
    device: str = "cpu"
    grid: CloudGrid | None = None
    """What a network of dense grids takes of a cloud."""
    normalize: bool = True

    def encode(self, clouds: Sequence[np.ndarray]) -> np.ndarray:
        """Clouds [N, 3 or more] (x, y, z [m] in the LiDAR's frame first) to descriptors float32 [B, D].

        They have unit length where `normalize`.

        Raises InputError where a cloud cannot show a place: see `occupied_voxels` and `occupied_cells`.
        """
        batch = self._batch(clouds)
        with torch.inference_mode():
            descriptors = self.model(batch)
            if self.normalize:
                descriptors = nn.functional.normalize(descriptors)
        return np.asarray(descriptors.float().cpu().numpy())

    def _batch(self, clouds: Sequence[np.ndarray]) -> Tensor | SparseTensor:
        if self.grid:
            cells = np.stack([occupied_cells(cloud, self.grid) for cloud in clouds])
            return torch.from_numpy(cells).to(self.device)
        assert self.voxel_size_m
        return batch_clouds(
            [occupied_voxels(cloud, self.voxel_size_m, self.max_range_m).to(self.device) for cloud in clouds]
        )


@dataclass(frozen=True)
class LidarBundle(Bundle):
    """A LiDAR encoder ready to run."""

    modality = "lidar"
    input_keys = ("model", "voxel_size_m", "max_range_m")
    encoder: LidarEncoder

    @classmethod
    def read(cls, folder: Path, manifest: dict[str, Any], device: str, threads: int) -> LidarBundle:
        """As `Bundle.read`; `threads` above 0 is set for torch in the whole process."""
        _check_device(device)
        model = load_network(manifest["model"], read_checked(folder, manifest["encoder"], BundleError, MADE_BY))
        if threads:
            torch.set_num_threads(threads)
        grid = CloudGrid.from_json(manifest["grid"]) if "grid" in manifest else None
        encoder = LidarEncoder(model.to(device), manifest["voxel_size_m"], manifest["max_range_m"], device, grid)
        hash = identity(manifest, *cls.input_keys, *(["grid"] if grid else []))
        return cls(manifest["dim"], manifest["accept_similarity"], hash, manifest["card"], encoder)

    def encode(self, observations: Sequence[np.ndarray]) -> np.ndarray:
        """Clouds [N, 3 or more] in metres to unit descriptors float32 [B, D]; raises InputError."""
        return self.encoder.encode(observations)


def occupied_voxels(cloud: np.ndarray, voxel_size_m: float, max_range_m: float | None) -> Tensor:
    """Occupied voxels int32 [M, 3] of a cloud [N, 3 or more] (x, y, z [m] first), of its points within range.

    Points that are not finite are left out. Raises InputError, whose `kind` says which: "refused" (no cloud), "empty"
    (no finite point), "range" (none within `max_range_m`), "sparse" (fewer than MIN_VOXELS voxels).
    """
    points = _finite(cloud)
    near = within_range(points, max_range_m)  # the crop that training made
    if not len(near):
        nearest_m = float(distance_m(points).min())
        raise InputError(
            f"none of the cloud's {len(points)} points lies within {max_range_m:g} m, for which the model was made; "
            f"the nearest is at {nearest_m:.1f} m: are its coordinates metres in the sensor's own frame?",
            kind="range",
        )
    voxels = voxelize(near, voxel_size_m)
    if len(voxels) < MIN_VOXELS:
        raise InputError(
            f"the cloud's {len(near)} points occupy {len(voxels)} voxels of {voxel_size_m:g} m, expected "
            f"{MIN_VOXELS} or more: is the sensor covered?",
            kind="sparse",
        )
    return voxels


def occupied_cells(cloud: np.ndarray, grid: CloudGrid) -> np.ndarray:
    """The grid float32 [1, X, Y, Z] of a cloud [N, 3 or more] (x, y, z [m] first).

    Points that are not finite are left out. Raises InputError with the kinds of `occupied_voxels`, "range" where no
    point lies in the grid and "sparse" where fewer than MIN_VOXELS of its cells have one.
    """
    cells = grid.occupancy(_finite(cloud))
    if cells.sum() < MIN_VOXELS:
        raise InputError(
            f"the cloud's {len(cloud)} points occupy {cells.sum():.0f} cells of the grid, expected {MIN_VOXELS} or "
            "more: is the sensor covered?",
            kind="sparse",
        )
    return cells[None]


def _finite(cloud: np.ndarray) -> np.ndarray:
    """The finite points [M, 3] of a cloud; raises InputError where it is none or has none."""
    if cloud.ndim != 2 or cloud.shape[1] < 3 or not np.issubdtype(cloud.dtype, np.floating):
        raise InputError(f"point cloud is {cloud.dtype} {list(cloud.shape)}, expected float32 [N, 3] or wider: x, y, z")
    points = cloud[np.isfinite(cloud[:, :3]).all(axis=1), :3]
    if not len(points):
        raise InputError(f"point cloud has no finite point among its {len(cloud)}", kind="empty")
    return points


def load_network(spec: dict[str, Any], weights: bytes) -> nn.Module:
    """The network in eval mode of `spec` (name and options for `build_model`) and a state dict as `torch.save` writes.

    Raises BundleError where the two do not make one.
    """
    try:
        state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own words tell how to load it unsafely
        raise BundleError(
            f"the {len(weights)} bytes of weights are no state dict ({type(error).__name__}); run `{MADE_BY}` again"
        ) from error
    try:
        model = build_model(spec["name"], **spec["options"])
        model.load_state_dict(state)
    except (VprError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BundleError(f"no network {spec} can be made of the weights: {reason}; run `{MADE_BY}` again") from error
    return model.eval()


def write_lidar_bundle(
    folder: Path,
    weights: bytes,
    *,
    model: dict[str, Any],
    voxel_size_m: float | None,
    max_range_m: float | None,
    dim: int,
    accept_similarity: float | None,
    card: dict[str, Any],
    grid: CloudGrid | None = None,
) -> Path:
    """Write a LiDAR bundle; an older one stays whole until everything is on the disk."""
    input = {"model": model, "voxel_size_m": voxel_size_m, "max_range_m": max_range_m}
    if grid:
        input["grid"] = grid.as_json()
    return write_bundle(folder, "lidar", ("weights.pt", weights), input=input, dim=dim,
                        accept_similarity=accept_similarity, card=card)  # fmt: skip


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise BundleError(f"device is {device!r}, expected one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise BundleError("device is cuda, but this torch finds no GPU: install torch with CUDA, or use device cpu")
