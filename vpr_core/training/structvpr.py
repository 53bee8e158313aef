"""What StructVPR's networks, and those of its Table 4, ask of a recipe and of drives: label maps beside images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.models.structvpr import Normalize
from vpr_core.models.structvpr_comparison import SCORES_STRIDE
from vpr_core.structvpr.slme import ENCODINGS, class_table, num_channels, weighted_one_hot

if TYPE_CHECKING:
    from vpr_core.training.recipe import Recipe

ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "structvpr": ("camera", "labels"),
    "structvpr_multi_task": ("camera",),
    "structvpr_concat_feat": ("segmented",),
    "structvpr_concat_input": ("segmented",),
}
"""The modalities that each is for."""
Mining = Literal["batch_hard", "pairs", "all"]


@dataclass(frozen=True)
class LabelMaps:
    """How a network takes the label images of frames, see `structvpr.slme.weighted_one_hot`."""

    class_table: str
    encoding: str

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LabelMaps:
        return cls(values["class_table"], values["label_encoding"])

    def as_json(self) -> dict[str, str]:
        return {"class_table": self.class_table, "label_encoding": self.encoding}

    def read(self, samples: Samples, indices: Sequence[int] | np.ndarray, image_size: tuple[int, int]) -> Tensor:
        """float32 [B, C, H, W]; raises InputError for a class that the table does not know."""
        labels = samples.labels(indices, image_size)
        return torch.from_numpy(weighted_one_hot(labels, self.class_table, self.encoding))

    def check(self, drives: Sequence[Frames]) -> None:
        """Raise RecipeError where a drive lacks labels, or says that they are of another class table."""
        for drive in drives:
            lacking = sum(frame.label is None for frame in drive.frames)
            if lacking:
                raise RecipeError(
                    f"{lacking} of {len(drive)} frames of {drive.folder} have no label, which a network of modality "
                    f"labels needs: label them with `vpr-distill segment --frames {drive.folder}`, or ingest the bag "
                    "with --label_topic"
                )
            self._check_classes(drive)

    def _check_classes(self, drive: Frames) -> None:
        told, own = drive.card.get("labels", {}), class_table(self.class_table)
        table, classes = told.get("table"), told.get("classes", own.classes)
        if table not in (None, own.name):
            raise RecipeError(
                f"the labels of {drive.folder} are of class table {table}, the network's of {self.class_table}: "
                f"train it with --class_table {table}, or label the frames again"
            )
        if len(classes) != len(own.classes):
            raise RecipeError(
                f"the labels of {drive.folder} are of {len(classes)} classes ({', '.join(classes[:3])}, ...), class "
                f"table {self.class_table} has {len(own.classes)}: write a CSV file of theirs with id, name, group, "
                "name it to `vpr-distill segment --table`, and train with it as --class_table"
            )


@dataclass(frozen=True)
class SegmentationTargets:
    """What a network is to say of the segmentation beside its descriptors."""

    labels: LabelMaps
    size: tuple[int, int]
    """Width and height of the network's scores."""

    @classmethod
    def of_recipe(
        cls, recipe: Recipe, drives: Sequence[Frames], image_size: tuple[int, int] | None
    ) -> SegmentationTargets | None:
        """Those of a multi-task network, none of another; raises RecipeError where a drive has no fitting labels."""
        if recipe.architecture != "structvpr_multi_task" or image_size is None:
            return None
        labels = LabelMaps(recipe.class_table, recipe.label_encoding)
        labels.check(drives)
        width, height = (-(-side // SCORES_STRIDE) for side in image_size)
        return cls(labels, (width, height))

    def read(self, samples: Samples, indices: Sequence[int] | np.ndarray) -> Tensor:
        """int64 [B, H, W]: the channel of each place's group, -1 where the class is to be ignored."""
        maps = self.labels.read(samples, indices, self.size)
        return torch.where(maps.any(dim=1), maps.argmax(dim=1), -1)


def segmentation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of scores [B, C * H * W] with groups [B, H, W]; places of -1 do not count. Inferred."""
    return functional.cross_entropy(scores.view(len(targets), -1, *targets.shape[1:]), targets, ignore_index=-1)


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError where the keys of StructVPR are unknown or do not fit the others."""
    named: tuple[tuple[str, str, Sequence[str]], ...] = (
        ("label_encoding", recipe.label_encoding, list(ENCODINGS)),
        ("normalize_levels", recipe.normalize_levels, get_args(Normalize)),
        ("mining", recipe.mining, get_args(Mining)),
    )
    for name, value, known in named:
        if value not in known:
            raise RecipeError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    modalities = ARCHITECTURES.get(recipe.architecture)
    if modalities and recipe.modality not in modalities:
        expected = " or ".join(modalities)
        raise RecipeError(
            f"architecture {recipe.architecture} is for modality {expected}, the recipe has {recipe.modality}"
        )
    if recipe.modality in ("labels", "segmented") and not modalities:
        fitting = " or ".join(name for name, known in ARCHITECTURES.items() if recipe.modality in known)
        raise RecipeError(
            f"modality {recipe.modality} is for architecture {fitting}, the recipe has {recipe.architecture}"
        )
    if modalities and recipe.dim is not None:
        raise RecipeError(
            f"dim is {recipe.dim}: the width of architecture {recipe.architecture} is that of its levels, leave it"
        )
    if recipe.modality in ("labels", "segmented") and recipe.distillation:
        raise RecipeError("a network on labels is a teacher: distillation is for modality camera or lidar")
    if recipe.segmentation_weight < 0:
        raise RecipeError(f"segmentation_weight is {recipe.segmentation_weight:g}, expected 0 or more")


def structvpr_spec(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `train.model_spec`; raises RecipeError for an unknown class table."""
    options: dict[str, Any] = {"normalize": recipe.normalize_levels}
    if recipe.modality == "labels":
        options["in_channels"] = num_channels(recipe.class_table, recipe.label_encoding)
        return {"name": "structvpr_segmentation", "options": options}, {}
    options["pretrained"] = False
    if recipe.architecture == "structvpr":
        return {"name": "structvpr_rgb", "options": options}, {"pretrained": recipe.pretrained}
    options["label_channels"] = num_channels(recipe.class_table, recipe.label_encoding)
    return {"name": recipe.architecture, "options": options}, {"pretrained": recipe.pretrained}
