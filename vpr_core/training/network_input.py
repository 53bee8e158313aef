"""What a network takes: images, clouds, both or label maps, as tensors made of a drive's frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.data.cloud_augmentation import CloudAugmentation, augment_clouds
from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.models.sparse import SparseTensor, batch_clouds, voxelize
from vpr_core.models.voxel_grid import CloudGrid
from vpr_core.training.distillation import Modality
from vpr_core.training.recipe import Recipe
from vpr_core.training.structvpr import LabelMaps

EMBEDDING = "embedding"
HEADS = (EMBEDDING, "cloud_embedding", "image_embedding")
"""Descriptors that a network gives: a teacher all of them, a student the first."""

SEGMENTATION = "segmentation"
"""What a multi-task network gives beside its descriptors."""

Inputs: TypeAlias = list[Tensor | list[Tensor]]
"""Images [B, 3, H, W], label maps [B, C, H, W], grids, or the occupied voxels [M_i, 3] of each cloud: what a batch is
before it is on a device.

Small beside what a network keeps of a batch, kernel maps and all.
"""


@dataclass(frozen=True)
class NetworkInput:
    """Sizes of what a network takes; what its modality does not need is None."""

    modality: Modality
    image_size: tuple[int, int] | None = None
    """Width and height [px]."""
    voxel_size_m: float | None = None
    max_range_m: float | None = None
    grid: CloudGrid | None = None
    """What a network of dense grids takes of a cloud."""
    labels: LabelMaps | None = None
    """How label images are taken: in place of images, or beside them."""

    @classmethod
    def of_recipe(cls, recipe: Recipe, drives: Sequence[Frames]) -> NetworkInput:
        """The input for training on these drives; raises RecipeError where they do not have it."""
        takes_labels = recipe.modality in ("labels", "segmented")
        labels = LabelMaps(recipe.class_table, recipe.label_encoding) if takes_labels else None
        check_sensors(recipe.modality, drives, labels)
        image_size = image_size_of(drives, recipe.image_height) if recipe.modality != "lidar" else None
        if recipe.modality == "camera" or takes_labels:
            return cls(recipe.modality, image_size, labels=labels)
        if recipe.architecture == "adafusion":
            return cls(recipe.modality, image_size, grid=recipe.grid)
        return cls(recipe.modality, image_size, recipe.voxel_size_m, recipe.max_range_m)

    @classmethod
    def from_json(cls, modality: Modality, values: dict[str, Any]) -> NetworkInput:
        size = values.get("image_size")
        image_size = (int(size[0]), int(size[1])) if size else None
        grid = CloudGrid.from_json(values["grid"]) if values.get("grid") else None
        labels = LabelMaps.from_json(values) if "label_encoding" in values else None
        return cls(modality, image_size, values.get("voxel_size_m"), values.get("max_range_m"), grid, labels)

    def as_json(self) -> dict[str, Any]:
        """{"image_size": [w, h]} for a camera, {"voxel_size_m", "max_range_m"} for a LiDAR, all of it for both.

        For a network of dense grids {"grid"} stands in place of the LiDAR's two; one on labels has image_size,
        class_table and label_encoding, with images beside them or without.
        """
        image = {"image_size": list(self.image_size)} if self.image_size else {}
        cloud = {"voxel_size_m": self.voxel_size_m, "max_range_m": self.max_range_m} if self.voxel_size_m else {}
        labels = self.labels.as_json() if self.labels else {}
        return image | labels | cloud | ({"grid": self.grid.as_json()} if self.grid else {})

    def batch(
        self,
        samples: Samples,
        indices: Sequence[int] | np.ndarray,
        augmentation: Augmentation | None = None,
        device: torch.device | str = "cpu",
    ) -> tuple[Tensor | SparseTensor, ...]:
        """The arguments of the network for these samples, on its device; they are read and changed on the CPU."""
        return arguments_of(self.read(samples, indices, augmentation), device)

    def read(
        self, samples: Samples, indices: Sequence[int] | np.ndarray, augmentation: Augmentation | None = None
    ) -> Inputs:
        """What `arguments_of` makes the network's arguments of, on the CPU. Label maps are not augmented."""
        inputs: list[Tensor | list[Tensor]] = []
        if self.image_size and self.modality != "labels":
            images = torch.from_numpy(samples.images(indices, self.image_size)).permute(0, 3, 1, 2).float() / 255
            inputs.append(augmentation.images(images) if augmentation else images)
        if self.image_size and self.labels:
            inputs.append(self.labels.read(samples, indices, self.image_size))
        if self.voxel_size_m or self.grid:
            clouds = samples.clouds(indices, self.max_range_m)
            inputs.append(self._clouds(augmentation.clouds(clouds) if augmentation else clouds))
        return inputs

    def _clouds(self, clouds: Sequence[np.ndarray]) -> Tensor | list[Tensor]:
        if self.grid:
            return torch.from_numpy(self.grid.batch(clouds))
        assert self.voxel_size_m
        return [voxelize(cloud[:, :3], self.voxel_size_m) for cloud in clouds]


def arguments_of(inputs: Inputs, device: torch.device | str) -> tuple[Tensor | SparseTensor, ...]:
    """The arguments of the network, on its device."""
    return tuple(
        value.to(device) if isinstance(value, Tensor) else batch_clouds([voxels.to(device) for voxels in value])
        for value in inputs
    )


@dataclass(frozen=True)
class Augmentation:
    """Changes to training samples, drawn from torch's random state for images and from `rng` for clouds."""

    images: Callable[[Tensor], Tensor]
    cloud_amount: CloudAugmentation
    rng: np.random.Generator

    def clouds(self, clouds: Sequence[np.ndarray]) -> list[np.ndarray]:
        return augment_clouds(clouds, self.cloud_amount, self.rng)


def heads(model: nn.Module, arguments: tuple[Tensor | SparseTensor, ...], normalize: bool) -> dict[str, Tensor]:
    """The network's descriptors [B, D] by name of HEADS, unit-length where `normalize`.

    In training a multi-task network gives its scores as well, [B, C * H * W], by the name SEGMENTATION.
    """
    output = model(*arguments)
    named = output if isinstance(output, dict) else {EMBEDDING: output}
    unit = [name for name in named if normalize and name != SEGMENTATION]
    return {name: functional.normalize(rows) if name in unit else rows.flatten(1) for name, rows in named.items()}


def check_sensors(modality: Modality, drives: Sequence[Frames], labels: LabelMaps | None = None) -> None:
    """Raise RecipeError where a drive lacks a sensor that the modality needs, or `labels`, saying what to do."""
    if labels:
        labels.check(drives)
    for drive in drives:
        for sensor, needed_by, other in (("image", "camera", "lidar"), ("cloud", "lidar", "camera")):
            if modality not in (needed_by, "fused") and (modality, sensor) != ("segmented", "image"):
                continue
            lacking = sum(getattr(frame, sensor) is None for frame in drive.frames)
            if lacking:
                otherwise = "" if modality in ("fused", "segmented") else f", or train with --modality {other}"
                raise RecipeError(
                    f"{lacking} of {len(drive)} frames of {drive.folder} have no {sensor}, which a network of modality "
                    f"{modality} needs: ingest the bag with --{sensor}_topic{otherwise}"
                )


def image_size_of(drives: Sequence[Frames], image_height: int) -> tuple[int, int]:
    """Width and height of the network's input [px]; raises RecipeError where the drives' cameras differ in aspect."""
    aspects = {round(width / height, 2) for width, height in (drive.image_size for drive in drives)}
    if len(aspects) != 1:
        listing = ", ".join(f"{drive.folder}: {drive.image_size}" for drive in drives)
        raise RecipeError(f"the drives' images differ in aspect ({listing or 'no drives given'}); train them apart")
    width, height = drives[0].image_size
    return round(image_height * width / height), image_height
