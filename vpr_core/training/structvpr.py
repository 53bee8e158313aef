"""What StructVPR's networks ask of a recipe and of drives: label maps beside images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.models.structvpr import Normalize
from vpr_core.structvpr.slme import ENCODINGS, class_table, num_channels, weighted_one_hot

if TYPE_CHECKING:
    from vpr_core.training.recipe import Recipe

Mining = Literal["batch_hard", "pairs"]


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
    is_structvpr = recipe.architecture == "structvpr"
    if is_structvpr and recipe.modality not in ("camera", "labels"):
        raise RecipeError(f"architecture structvpr is for modality camera or labels, the recipe has {recipe.modality}")
    if recipe.modality == "labels" and not is_structvpr:
        raise RecipeError(f"modality labels is for architecture structvpr, the recipe has {recipe.architecture}")
    if is_structvpr and recipe.dim is not None:
        raise RecipeError(f"dim is {recipe.dim}: the width of architecture structvpr is that of its levels, leave it")
    if recipe.modality == "labels" and recipe.distillation:
        raise RecipeError("a network on labels is a teacher: distillation is for modality camera or lidar")


def structvpr_spec(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `train.model_spec`; raises RecipeError for an unknown class table."""
    if recipe.modality == "labels":
        channels = num_channels(recipe.class_table, recipe.label_encoding)
        options = {"in_channels": channels, "normalize": recipe.normalize_levels}
        return {"name": "structvpr_segmentation", "options": options}, {}
    options = {"pretrained": False, "normalize": recipe.normalize_levels}
    return {"name": "structvpr_rgb", "options": options}, {"pretrained": recipe.pretrained}
