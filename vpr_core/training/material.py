"""What a run learns from and is looked at with, read before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vpr_core.data.batching import PairSampler
from vpr_core.data.frames import Frames
from vpr_core.data.hard_pairs import HardPairs
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.training.distillation import RELATIONAL, STRUCTVPR
from vpr_core.training.network_input import EMBEDDING, NetworkInput
from vpr_core.training.positives import drawn_positives, weak_positives
from vpr_core.training.processes import Processes
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.structvpr import SegmentationTargets
from vpr_core.training.teacher import TeacherDescriptors, hash_of_drives, teacher_descriptors
from vpr_core.training.validate import Validation, describe_samples
from vpr_core.training.weigh import SampleWeights, load_sample_weights


@dataclass(frozen=True)
class Material:
    """The same in every process of a run, apart from the validation drives, which only the first has."""

    recipe: Recipe
    drives: list[Frames]
    samples: Samples
    network_input: NetworkInput
    examiner: Validation | None
    teacher: TeacherDescriptors | None
    sample_weights: SampleWeights | None
    targets: SegmentationTargets | None
    hard_pairs: HardPairs | None
    group: Processes

    @classmethod
    def gather(
        cls,
        frames: Sequence[str | Path],
        recipe: Recipe,
        validation: Sequence[str | Path],
        teacher: str | Path | None,
        cache: str | Path | None,
        group: Processes,
        sample_weights: str | Path | None = None,
        hard_pairs: str | Path | None = None,
    ) -> Material:
        """Raises what `train_encoder` does for its arguments of the same names."""
        if (recipe.distillation is None) != (teacher is None):
            raise RecipeError("a teacher and a recipe with distillation go together: only one of them was given")
        drives = [Frames.load(folder) for folder in frames]
        network_input = NetworkInput.of_recipe(recipe, drives)
        looks = validation and group.is_first
        examiner = Validation.load(validation, network_input, drives) if looks else None
        weights = _weights_for(recipe, drives, sample_weights) if sample_weights else None
        descriptors = _learnt_from(teacher, drives, cache, recipe, group) if teacher else None
        targets = SegmentationTargets.of_recipe(recipe, drives, network_input.image_size)
        hard = HardPairs.load(hard_pairs) if hard_pairs else None
        return cls(recipe, drives, Samples(drives), network_input, examiner, descriptors, weights, targets, hard, group)

    def sampler(self) -> PairSampler:
        """Raises RecipeError where too few frames show a place of another."""
        recipe, smallest = self.recipe, max(4, self.group.count)
        positives = drawn_positives(self.samples, recipe)
        if sum(len(found) > 0 for found in positives) < smallest:
            raise RecipeError(
                f"of {len(positives)} frames fewer than {smallest} have another within {recipe.positive_m:g} m: "
                "drive the same streets at least twice, or raise positive_m"
            )
        if recipe.batch_size < smallest:
            raise RecipeError(
                f"{self.group.count} processes cannot share batches of {recipe.batch_size} frames: raise batch_size or "
                "start fewer"
            )
        confused = self.hard_pairs.confused(self.drives) if self.hard_pairs else {}
        return PairSampler(positives, recipe.batch_size, recipe.seed, smallest, confused)

    def weak_positives(self, model: nn.Module) -> list[np.ndarray]:
        """`positives.weak_positives` by the network as it is, which describes every frame for it."""
        model.eval()

        def choose() -> list[np.ndarray]:
            rows = describe_samples(model, self.network_input, self.samples)[EMBEDDING]
            return weak_positives(drawn_positives(self.samples, self.recipe), rows)

        return self.group.from_first(choose)

    def identity(self, weights: str | None) -> dict[str, Any]:
        """What two starts must have in common to be one run; weights: hash of those that it starts from."""
        validation = self.examiner.drives if self.examiner else []
        files = {"sample_weights": self.sample_weights, "hard_pairs": self.hard_pairs}
        return {
            **as_json(self.recipe),
            "frames": hash_of_drives(self.drives),
            "validation": hash_of_drives(validation),
            "teacher": self.teacher.teacher if self.teacher else None,
            "weights": weights,
        } | {name: file.sha256 for name, file in files.items() if file}

    def card(self) -> dict[str, Any]:
        """What a checkpoint says of them."""
        drives = [
            {"session": drive.session, "frames": len(drive), "bag": drive.card["bag"]} for drive in self.drives
        ]  # fmt: skip
        weighed = {"sample_weights": self.sample_weights.card} if self.sample_weights else {}
        hard = {"hard_pairs": self.hard_pairs.card} if self.hard_pairs else {}
        return {"drives": drives} | ({"teacher": self.teacher.teacher} if self.teacher else {}) | weighed | hard


def _weights_for(recipe: Recipe, drives: Sequence[Frames], path: str | Path) -> SampleWeights:
    method = recipe.distillation.method if recipe.distillation else "none"
    if method not in (STRUCTVPR, *RELATIONAL):
        expected = ", ".join((STRUCTVPR, *RELATIONAL))
        raise RecipeError(f"sample weights are for distillation.method {expected}, the recipe has {method}")
    weights = load_sample_weights(path)
    weights.check(drives, recipe)
    return weights


def _learnt_from(
    teacher: str | Path, drives: Sequence[Frames], cache: str | Path | None, recipe: Recipe, group: Processes
) -> TeacherDescriptors:
    modality = recipe.distillation.teacher_modality if recipe.distillation else None
    return group.from_first(lambda: teacher_descriptors(teacher, drives, cache, group.device, modality))
