"""A training recipe: every choice of a run, saved with each checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from vpr_core.data.cloud_augmentation import CloudAugmentation
from vpr_core.errors import RecipeError
from vpr_core.models.encoder import Aggregator
from vpr_core.models.structvpr import Normalize
from vpr_core.models.voxel_grid import CloudGrid
from vpr_core.training.aggregation import check_aggregator
from vpr_core.training.distillation import Distillation, Modality
from vpr_core.training.positives import Positives, check_positives
from vpr_core.training.structvpr import Mining, check_recipe

Architecture = Literal[
    "minkloc", "adafusion", "structvpr", "structvpr_multi_task", "structvpr_concat_feat", "structvpr_concat_input"
]
Precision = Literal["32", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained by triplets, as MinkLoc++, DistilVPR and StructVPR train.

    Args:
        modality: camera, lidar, fused for a teacher of both, labels for one of the classes of pixels, or segmented for
            one of images and these classes.
        architecture: minkloc; adafusion, which takes clouds as dense grids and is trained from random weights;
            structvpr, whose branches are camera and labels; or what its Table 4 compares them with:
            structvpr_multi_task of a camera, structvpr_concat_feat and structvpr_concat_input of segmented images.
        class_table: of labels, ade20k_150, cityscapes_19 or a CSV file with id, name, group.
        label_encoding: what labels become, see vpr_core.structvpr.slme: paper, unweighted, three, inverse, unclustered.
        normalize_levels: of structvpr, what has unit length: levels and then the whole, global the whole alone, none.
        backbone: of minkloc's image branch, a file name in vpr_core/models/backbones.
        width_factor: adafusion's image branch alone has so many times its published number of channels.
        attention_gradient: adafusion's branches learn from its weights too, as its paper says and its code does not.
        grid: what adafusion takes of a cloud, in place of voxel_size_m and max_range_m.
        dim: width of the descriptor, in a teacher of its image half; null keeps the backbone's own (of netvlad that
            times clusters), for lidar the last of planes. A fused adafusion always has 256.
        aggregator: of minkloc's camera network, what makes a descriptor of the backbone's map: gem, max or netvlad.
        clusters: of netvlad, how many; they begin at those of local features of the training images.
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
        batch_limit: batches grow up to so many frames, as MinkLoc++'s do from 8 to 160; null keeps batch_size.
        batch_growth: how many times larger they become.
        batch_grows_below: after an epoch in which fewer of the triplets than this share violated the margin.
        split_batch: so many frames pass through the network at a time, while the losses are over the whole batch:
            large batches in little memory for a second forward pass; null takes the batch at once.
        precision: "32"; bf16-mixed or 16-mixed run the network in half precision where it bears it, the losses never.
        steps: optimiser steps, where epochs is null; 0 leaves the network as it begins.
        epochs: so many times over all frames, instead of steps.
        learning_rate: of Adam for the image branch; it falls to a tenth at decay_at.
        cloud_learning_rate: the same for the cloud branch.
        decay_at: below 1 a share of the run, from 1 up a number of epochs (of steps, where epochs is null); null is two
            thirds of the run.
        weight_decay: of Adam.
        margin: of the triplet.
        mining: batch_hard, each frame's farthest positive and nearest negative of the batch; pairs, a frame, the one
            drawn with it and the nearest negative of the batch, on rows of unit length, as StructVPR compares them; or
            all, with every negative of the batch instead, from which random weights learn what the nearest hide.
        task_weights: of the triplet loss on the descriptor, on a teacher's cloud half and on its image half.
        segmentation_weight: of structvpr_multi_task's cross-entropy beside the triplet loss.
        positive_m: frames this near show the same place [m].
        negative_m: frames farther apart than this are different places [m].
        positives: frames drawn with a frame, of those within positive_m: distance, any; field_of_view, the one whose
            view overlaps most, as StructVPR has it for MSLS; weak, the one that is nearest by descriptors, as NetVLAD
            mines them, chosen again in every epoch. The last two are not for mining batch_hard.
        fov_deg: of field_of_view, how wide a camera sees [deg], and
        fov_reach_m: how far [m].
        fov_overlap: the share of a view that its positive has to see at the least.
        augment: colour jitter and erased rectangles in images, cloud_augmentation in clouds.
        cloud_augmentation: how much clouds are changed.
        validate_every: epochs (steps, where epochs is null) between two looks at the validation drives, of which the
            best is kept; 0 keeps the last.
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
    batch_limit: int | None = None
    batch_growth: float = 1.4
    batch_grows_below: float = 0.7
    split_batch: int | None = None
    precision: Precision = "32"
    steps: int = 140
    epochs: int | None = None
    learning_rate: float = 1e-3
    cloud_learning_rate: float = 1e-3
    decay_at: float | None = None
    weight_decay: float = 1e-4
    margin: float = 0.2
    task_weights: tuple[float, float, float] = (0.5, 0.5, 0.0)
    positive_m: float = 10.0
    negative_m: float = 50.0
    positives: Positives = "distance"
    fov_deg: float = 90.0
    fov_reach_m: float = 50.0
    fov_overlap: float = 0.5
    augment: bool = True
    cloud_augmentation: CloudAugmentation = CloudAugmentation()
    validate_every: int = 0
    distillation: Distillation | None = None
    seed: int = 0
    class_table: str = "ade20k_150"
    label_encoding: str = "paper"
    normalize_levels: Normalize = "levels"
    mining: Mining = "batch_hard"
    segmentation_weight: float = 1.0
    aggregator: Aggregator = "gem"
    clusters: int = 64

    def __post_init__(self) -> None:
        if self.batch_size < 4 or self.batch_size % 2:
            raise RecipeError(
                f"batch_size is {self.batch_size}, expected an even number from 4 up: frames come in pairs"
            )
        if self.image_height < 32 or min(self.learning_rate, self.cloud_learning_rate) <= 0:
            raise RecipeError("image_height must be 32 or more, learning rates above 0")
        self._check_length()
        self._check_batches()
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
        check_recipe(self)
        check_positives(self)
        check_aggregator(self)

    def _check_length(self) -> None:
        if self.steps < 0 or (self.epochs is not None and self.epochs < 0):
            raise RecipeError("steps and epochs must be 0 or more")
        if self.decay_at is not None and self.decay_at <= 0:
            raise RecipeError(f"decay_at is {self.decay_at}, expected a share of the run or a number of epochs above 0")

    def _check_batches(self) -> None:
        if self.batch_limit is not None:
            if self.batch_limit < self.batch_size:
                raise RecipeError(f"batch_limit {self.batch_limit} must not be under batch_size {self.batch_size}")
            if int(self.batch_size * self.batch_growth) <= self.batch_size or not 0 < self.batch_grows_below <= 1:
                raise RecipeError(
                    f"batches of {self.batch_size} cannot grow by batch_growth {self.batch_growth} below a share of "
                    f"{self.batch_grows_below}: expected a factor that adds a frame or more, and a share up to 1"
                )
        if self.split_batch is not None and self.split_batch < 1:
            raise RecipeError(f"split_batch is {self.split_batch}, expected 1 frame or more, or null")
        if self.precision not in get_args(Precision):
            raise RecipeError(f"precision is {self.precision!r}, expected {' or '.join(get_args(Precision))}")

    @property
    def length(self) -> int:
        """Epochs where they are given, steps otherwise."""
        return self.steps if self.epochs is None else self.epochs

    @property
    def trains(self) -> bool:
        """Whether the network learns at all."""
        return self.steps > 0 and self.length > 0

    @property
    def decays_after(self) -> int:
        """Epochs or steps, as `length` counts them, after which the learning rates fall to a tenth."""
        if self.decay_at is None:
            return max(self.length * 2 // 3, 1)
        return max(round(self.decay_at * self.length if self.decay_at < 1 else self.decay_at), 1)

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
        if "precision" in values:
            values["precision"] = str(values["precision"])  # YAML reads 32 as a number
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


_SINCE = {
    name: getattr(Recipe, name)
    for name in (
        *("architecture", "width_factor", "attention_gradient", "grid"),
        *("positives", "fov_deg", "fov_reach_m", "fov_overlap"),
        *("batch_limit", "batch_growth", "batch_grows_below", "split_batch", "precision", "epochs", "decay_at"),
        *("class_table", "label_encoding", "normalize_levels", "mining", "segmentation_weight"),
        *("aggregator", "clusters"),
    )
}


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
