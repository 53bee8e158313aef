"""A training recipe: every choice of a run, saved with each checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from vpr_core.data.cloud_augmentation import CloudAugmentation
from vpr_core.errors import RecipeError
from vpr_core.models.voxel_grid import CloudGrid

Modality = Literal["camera", "lidar", "fused"]
Architecture = Literal["minkloc", "adafusion"]
Manifold = Literal["euc", "cos", "hyp"]
_MODALITIES = ", ".join(get_args(Modality))
RELATIONAL = ("S", "C", "SC")
"""Methods that are DistilVPR's; every other one is a name of `vpr_core.losses.baselines.METHODS`."""


@dataclass(frozen=True)
class Distillation:
    """What a student learns from a teacher beside the task.

    Args:
        method: S, C or SC of DistilVPR, or kd, afd, epc_net, rkd, csd, lsd_net, mkd and the *_original of those.
        weight: of the whole distillation loss beside the task loss.
        warmup_steps: so many steps train on the task loss alone first.
        weight_self: of DistilVPR's self-agent terms; 10 on Oxford, 1 on Boreas.
        weight_cross: of each of its cross-agent terms.
        mode: code is what the authors ran, paper the equations as printed.
        angle: the self term on the sphere, three_point angles or pairwise cosine.
        curvature: of the Poincaré ball.
        manifolds: of DistilVPR's terms, some of euc, cos and hyp (Table 5).
        weight_tt_ts: of each term that compares the teacher's relations with those across (Table 4); 0 leaves them out.
        options: of a baseline, such as temperature.
        teacher_modality: the teacher that the recipe is for: fused, camera for a bigger camera network, or lidar;
            null takes any.
    """

    method: str = "SC"
    weight: float = 1.0
    warmup_steps: int = 0
    weight_self: float = 10.0
    weight_cross: float = 0.1
    mode: Literal["code", "paper"] = "code"
    angle: Literal["three_point", "cosine"] = "three_point"
    curvature: float = 0.1
    manifolds: tuple[Manifold, ...] = get_args(Manifold)
    weight_tt_ts: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    teacher_modality: Modality | None = None

    def __post_init__(self) -> None:
        if self.teacher_modality not in (None, *get_args(Modality)):
            raise RecipeError(f"distillation: teacher_modality is {self.teacher_modality!r}, expected {_MODALITIES}")
        if not self.manifolds or not set(self.manifolds) <= set(get_args(Manifold)):
            expected = ", ".join(get_args(Manifold))
            raise RecipeError(f"distillation: manifolds is {list(self.manifolds)}, expected some of {expected}")
        weights = (self.weight, self.weight_self, self.weight_cross, self.weight_tt_ts)
        if min(*weights, self.warmup_steps) < 0 or self.curvature <= 0:
            raise RecipeError("distillation: weights and warmup_steps must be 0 or more, curvature above 0")
        if self.options and self.method in RELATIONAL:
            raise RecipeError(f"distillation: options are for baselines, method {self.method} has its own keys")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Distillation:
        """As `Recipe.from_json`; raises RecipeError for a key that no distillation has."""
        if unknown := sorted(set(values) - {known.name for known in fields(cls)}):
            raise RecipeError(f"a distillation has no {', '.join(unknown)}")
        return cls(**values | ({"manifolds": tuple(values["manifolds"])} if "manifolds" in values else {}))

    def as_json(self) -> dict[str, Any]:
        """As `as_json` of a recipe: without the keys of _DISTILLATION_SINCE at their defaults."""
        values = {
            name: value
            for name, value in asdict(self).items()
            if name not in _DISTILLATION_SINCE or value != _DISTILLATION_SINCE[name]
        }
        return values | ({"manifolds": list(self.manifolds)} if "manifolds" in values else {})


_DISTILLATION_SINCE = {name: getattr(Distillation, name) for name in ("teacher_modality", "manifolds", "weight_tt_ts")}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained by batch-hard triplet, as MinkLoc++ and DistilVPR train.

    Args:
        modality: camera, lidar, or fused for a teacher of both.
        architecture: minkloc, or adafusion, which takes clouds as dense grids and is trained from random weights.
        backbone: of minkloc's image branch, a file name in vpr_core/models/backbones.
        width_factor: adafusion's image branch alone has so many times its published number of channels.
        attention_gradient: adafusion's branches learn from its weights too, as its paper says and its code does not.
        grid: what adafusion takes of a cloud, in place of voxel_size_m and max_range_m.
        dim: width of the descriptor, in a teacher of its image half; null keeps the backbone's own, for lidar the
            last of planes. A fused adafusion always has 256.
        pretrained: start the image branch from ImageNet weights.
        normalize: unit-length descriptors in training; retrieval compares unit descriptors in any case.
        image_height: network input [px]; the width follows from the camera's aspect.
        cloud_dim: width of a teacher's cloud half.
        planes: widths of the cloud branch's levels.
        layers: residual blocks of each of its levels.
        num_top_down: levels that it goes up again.
        voxel_size_m: edge of a voxel [m].
        max_range_m: points farther from the sensor are left out [m]; null keeps all.
        batch_size: frames in a batch, half as many places.
        steps: optimiser steps.
        learning_rate: of Adam for the image branch; it falls to a tenth after two thirds of the steps.
        cloud_learning_rate: the same for the cloud branch.
        weight_decay: of Adam.
        margin: of the triplet.
        task_weights: of the triplet loss on the descriptor, on a teacher's cloud half and on its image half.
        positive_m: frames this near show the same place [m].
        negative_m: frames farther apart than this are different places [m].
        augment: colour jitter and erased rectangles in images, cloud_augmentation in clouds.
        cloud_augmentation: how much clouds are changed.
        validate_every: steps between two looks at the validation drives, of which the best is kept; 0 keeps the last.
        distillation: what a student learns from its teacher; none for the task alone.
        seed: of weights, batches and augmentation.
    """

    modality: Modality = "camera"
    architecture: Architecture = "minkloc"
    backbone: str = "efficientnet_lite0"
    width_factor: int = 1
    attention_gradient: bool = False
    grid: CloudGrid = CloudGrid()
    dim: int | None = None
    pretrained: bool = True
    normalize: bool = False
    image_height: int = 120
    cloud_dim: int = 128
    planes: tuple[int, ...] = (32, 64, 128)
    layers: tuple[int, ...] = (1, 1, 1)
    num_top_down: int = 0
    voxel_size_m: float = 1.0
    max_range_m: float | None = None
    batch_size: int = 48
    steps: int = 140
    learning_rate: float = 1e-3
    cloud_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    margin: float = 0.2
    task_weights: tuple[float, float, float] = (0.5, 0.5, 0.0)
    positive_m: float = 10.0
    negative_m: float = 50.0
    augment: bool = True
    cloud_augmentation: CloudAugmentation = CloudAugmentation()
    validate_every: int = 0
    distillation: Distillation | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 4 or self.batch_size % 2:
            raise RecipeError(
                f"batch_size is {self.batch_size}, expected an even number from 4 up: frames come in pairs"
            )
        if self.steps < 0 or self.image_height < 32 or min(self.learning_rate, self.cloud_learning_rate) <= 0:
            raise RecipeError("steps must be 0 or more, image_height 32 or more, learning rates above 0")
        if not 0 < self.positive_m <= self.negative_m:
            raise RecipeError(
                f"positive_m {self.positive_m} must be above 0 and not above negative_m {self.negative_m}"
            )
        if self.voxel_size_m <= 0 or (self.max_range_m is not None and self.max_range_m <= 0):
            raise RecipeError("voxel_size_m and max_range_m must be above 0")
        if self.validate_every < 0 or min(self.task_weights) < 0:
            raise RecipeError("validate_every and task_weights must be 0 or more")
        if self.modality == "fused" and self.distillation:
            raise RecipeError("a fused network is a teacher: distillation is for modality camera or lidar")
        if self.architecture not in get_args(Architecture):
            expected = " or ".join(get_args(Architecture))
            raise RecipeError(f"architecture is {self.architecture!r}, expected {expected}")
        if self.width_factor != 1 and (self.architecture, self.modality) != ("adafusion", "camera"):
            raise RecipeError(
                f"width_factor {self.width_factor} is for architecture adafusion and modality camera, the recipe has "
                f"{self.architecture} and {self.modality}"
            )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """The recipe of `asdict`, read back from JSON or YAML; raises RecipeError for a key that no recipe has."""
        unknown = sorted(set(values) - {known.name for known in fields(cls)})
        if unknown:
            raise RecipeError(f"a recipe has no {', '.join(unknown)}")
        values = dict(values)
        for name in ("planes", "layers", "task_weights"):
            if name in values:
                values[name] = tuple(values[name])
        if "cloud_augmentation" in values:
            values["cloud_augmentation"] = CloudAugmentation(**values["cloud_augmentation"])
        if "grid" in values:
            values["grid"] = CloudGrid.from_json(values["grid"])
        if values.get("distillation"):
            values["distillation"] = Distillation.from_json(values["distillation"])
        return cls(**values)


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Lines such as "steps: 140 there, 200 here", over the keys of two nested dictionaries."""
    flat_there, flat_here = dict(_flat(there)), dict(_flat(here))
    names = [*flat_there, *(name for name in flat_here if name not in flat_there)]
    return [
        f"{name}: {flat_there.get(name)} there, {flat_here.get(name)} here"
        for name in names
        if flat_there.get(name) != flat_here.get(name)
    ]


_SINCE = {name: getattr(Recipe, name) for name in ("architecture", "width_factor", "attention_gradient", "grid")}


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as what JSON gives back: lists for tuples.

    Keys that recipes did not always have are left out at their defaults: tables of results and checkpoints name a
    recipe by the hash of this.
    """
    values = {name: value for name, value in vars(recipe).items() if name not in _SINCE or value != _SINCE[name]}
    if recipe.distillation:
        values["distillation"] = recipe.distillation.as_json()
    values["cloud_augmentation"] = asdict(recipe.cloud_augmentation)
    if "grid" in values:
        values["grid"] = recipe.grid.as_json()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
