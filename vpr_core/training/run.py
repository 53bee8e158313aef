"""Everything that changes while a network is trained, stored so that a killed run goes on as if nothing had been."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import MultiStepLR

from vpr_core.data.batching import PairSampler
from vpr_core.errors import RecipeError
from vpr_core.files import write_atomic
from vpr_core.training.objective import Distiller
from vpr_core.training.recipe import Recipe, differences

STATE = "state.pt"
_LATEST = 10


@dataclass
class Best:
    """The weights that did best on the validation drives so far."""

    step: int
    recall_at_1: dict[str, float]
    """By head."""
    weights: dict[str, Tensor]


@dataclass
class Run:
    """A network in training, its step and its random state."""

    model: nn.Module
    distiller: Distiller | None
    optimiser: Adam
    schedule: MultiStepLR
    sampler: PairSampler
    cloud_rng: np.random.Generator
    step: int = 0
    losses: list[float] = field(default_factory=list)
    """Of the latest steps."""
    seconds: float = 0.0
    best: Best | None = None

    @classmethod
    def begin(cls, model: nn.Module, distiller: Distiller | None, recipe: Recipe, sampler: PairSampler) -> Run:
        optimiser = Adam(parameter_groups(model, distiller, recipe), weight_decay=recipe.weight_decay)
        schedule = MultiStepLR(optimiser, [max(recipe.steps * 2 // 3, 1)], gamma=0.1)
        return cls(model, distiller, optimiser, schedule, sampler, np.random.default_rng([recipe.seed, 1]))

    def update(self, loss: Tensor, shown: float) -> None:
        """One optimiser step down `loss`; `shown` is kept among the latest losses."""
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        self.losses = [*self.losses, shown][-_LATEST:]

    def consider(self, recall_at_1: dict[str, float], head: str) -> None:
        """Keep these weights if none did better on that head; of equals the later ones."""
        if self.best is None or recall_at_1[head] >= self.best.recall_at_1[head]:
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best = Best(self.step, recall_at_1, weights)

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write the file in one atomic step. identity: what a later start must agree on to go on from here."""
        state = {
            "identity": json.dumps(identity),
            "model": self.model.state_dict(),
            "distiller": self.distiller.state_dict() if self.distiller else {},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "sampler": self.sampler.state_dict(),
            "cloud_random": json.dumps(self.cloud_rng.bit_generator.state),
            "torch_random": torch.get_rng_state(),
            "progress": {"step": self.step, "losses": self.losses, "seconds": self.seconds},
            "best": vars(self.best) if self.best else None,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())

    def resume(self, path: Path, identity: dict[str, Any]) -> None:
        """Go on from the file, where there is one; raises RecipeError where it is of another run, or damaged."""
        if not path.exists():
            return
        state = _read(path)
        stored = json.loads(state["identity"])
        if changed := differences(stored, identity):
            raise RecipeError(
                f"{path} is of a run that was not finished, with another recipe ({'; '.join(changed)}): start it again "
                "with that recipe, choose another folder, or remove the file"
            )
        self.model.load_state_dict(state["model"])
        if self.distiller:
            self.distiller.load_state_dict(state["distiller"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.sampler.load_state_dict(state["sampler"])
        self.cloud_rng.bit_generator.state = json.loads(state["cloud_random"])
        torch.set_rng_state(state["torch_random"])
        self.step, self.losses, self.seconds = (state["progress"][name] for name in ("step", "losses", "seconds"))
        self.best = Best(**state["best"]) if state["best"] else None


def parameter_groups(model: nn.Module, distiller: Distiller | None, recipe: Recipe) -> list[dict[str, Any]]:
    """Each branch with its own learning rate; what a distillation loss learns goes with the student's."""
    extra = list(distiller.parameters()) if distiller else []
    if recipe.modality == "lidar":
        return [{"params": [*model.parameters(), *extra], "lr": recipe.cloud_learning_rate}]
    if recipe.modality == "camera":
        return [{"params": [*model.parameters(), *extra], "lr": recipe.learning_rate}]
    clouds: list[nn.Parameter] = model.cloud_parameters()  # type: ignore[operator]  # every fused network has it
    of_clouds = {id(parameter) for parameter in clouds}
    images = [parameter for parameter in model.parameters() if id(parameter) not in of_clouds]
    return [{"params": clouds, "lr": recipe.cloud_learning_rate}, {"params": images, "lr": recipe.learning_rate}]


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise what the damage happens to make of the bytes
        raise RecipeError(
            f"{path} cannot be read ({type(error).__name__}): remove it to start from the first step"
        ) from error
