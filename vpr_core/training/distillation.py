"""What a student's recipe says of its distillation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from vpr_core.errors import RecipeError

Modality = Literal["camera", "lidar", "fused", "labels", "segmented"]
Manifold = Literal["euc", "cos", "hyp"]
_MODALITIES = ", ".join(get_args(Modality))
STRUCTVPR = "structvpr"
"""The method that is StructVPR's."""
RELATIONAL = ("S", "C", "SC")
"""Methods that are DistilVPR's; every other one but STRUCTVPR is a name of `vpr_core.losses.baselines.METHODS`."""


@dataclass(frozen=True)
class Distillation:
    """What a student learns from a teacher beside the task.

    Args:
        method: S, C or SC of DistilVPR, structvpr, or kd, afd, epc_net, rkd, csd, lsd_net, mkd and the *_original of
            those.
        weight: of the whole distillation loss beside the task loss.
        warmup_steps: so many steps train on the task loss alone first.
        weight_self: of DistilVPR's self-agent terms; 10 on Oxford, 1 on Boreas.
        weight_cross: of each of its cross-agent terms.
        mode: code is what the authors ran, paper the equations as printed.
        angle: the self term on the sphere, three_point angles or pairwise cosine.
        curvature: of the Poincaré ball.
        manifolds: of DistilVPR's terms, some of euc, cos and hyp (Table 5).
        weight_tt_ts: of each term that compares the teacher's relations with those across (Table 4); 0 leaves them out.
        divide_by_mean: of DistilVPR's methods, sample weights are divided by their mean over the batch.
        options: of a baseline, such as temperature; of structvpr side and divide_by_mean.
        teacher_modality: the teacher that the recipe is for: fused, camera for a bigger camera network, lidar or
            labels; null takes any.
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
    divide_by_mean: bool = False
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
        if self.divide_by_mean and self.method not in RELATIONAL:
            raise RecipeError(
                f"distillation: divide_by_mean is for {', '.join(RELATIONAL)}; method {self.method} has it among its "
                "options, where it has it"
            )
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


_DISTILLATION_SINCE = {
    name: getattr(Distillation, name) for name in ("teacher_modality", "manifolds", "weight_tt_ts", "divide_by_mean")
}
